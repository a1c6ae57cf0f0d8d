//! The HTTP server and clients that ask for what it cannot give, or are rude: each gets an error in OpenAI's shape.

use std::{io::Write, sync::Arc, time::Duration};

use serde_json::{Value, json};
use xtask::ServerSettings;

use crate::common::{
    http::{Answer, Running, post, read_answer, until},
    scripted_engine::ScriptedEngine,
};

const COMPLETIONS: &str = "/v1/completions";
const CHAT: &str = "/v1/chat/completions";

fn start(settings: ServerSettings) -> Running {
    Running::start(Arc::new(ScriptedEngine::default()), settings)
}

#[track_caller]
fn refused(answer: &Answer, status: u16, message: &str) -> Value {
    assert_eq!(answer.status, status, "{answer:?}");
    let error = &answer.json()["error"];
    assert!(error["message"].as_str().unwrap().contains(message), "{answer:?}");
    let kind = match status {
        401 => "authentication_error",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    };
    assert_eq!(error["type"], kind);
    error.clone()
}

#[test]
fn a_field_that_cannot_be_is_named() {
    let server = start(ServerSettings { max_tokens: 100, max_completions: 4, ..ServerSettings::default() });
    let fields = [
        ("prompt", json!(7), "is of another type"),
        ("prompt", json!([]), "is of another type"),
        ("prompt", json!(["a", 7]), "is of another type"),
        ("prompt", json!([1.5]), "is of another type"),
        ("prompt", json!([-1]), "is of another type"),
        ("prompt", json!(""), "has no token"),
        ("prompt", json!(null), "is missing"),
        ("prompt", json!("x".repeat(999)), "has 999 tokens, and 16 new ones"),
        ("prompt", json!(["a", "b", "c", "d", "e"]), "5 prompts; allowed: at most 4"),
        ("max_tokens", json!(0), "is 0; allowed: a whole number from 1 to 100"),
        ("max_tokens", json!(101), "is 101; allowed"),
        ("max_tokens", json!("9"), "is \"9\"; allowed"),
        ("max_tokens", json!(-1), "is -1; allowed"),
        ("max_tokens", json!(1e30), "is 1e+30; allowed"),
        ("min_tokens", json!(20), "is 20; allowed: at most `max_tokens`, 16"),
        ("temperature", json!(-0.1), "is -0.1; allowed"),
        ("temperature", json!("hot"), "is \"hot\"; allowed"),
        ("top_p", json!(0), "is 0; allowed"),
        ("top_p", json!(1.1), "is 1.1; allowed"),
        ("top_k", json!(-2), "is -2; allowed"),
        ("top_k", json!(1.5), "is 1.5; allowed"),
        ("repetition_penalty", json!(0), "is 0; allowed"),
        ("n", json!(5), "is 5; allowed: a whole number from 1 to 4"),
        ("n", json!(0), "is 0; allowed"),
        ("best_of", json!(3), "is 3; allowed: 1"),
        ("seed", json!(1.5), "is 1.5; allowed"),
        ("logprobs", json!(21), "is 21; allowed"),
        ("logprobs", json!(true), "is true; allowed"),
        ("echo", json!("yes"), "is \"yes\"; allowed: true or false"),
        ("stream", json!(1), "is 1; allowed: true or false"),
        ("stream_options", json!([]), "is []; allowed"),
        ("stop", json!(""), "is \"\"; allowed"),
        ("stop", json!([1]), "is [1]; allowed"),
        ("stop", json!(vec!["x"; 17]), "allowed: a string, or at most 16"),
        ("presence_penalty", json!(0.5), "is 0.5; allowed: 0"),
        ("logit_bias", json!({"5": 100}), "allowed: {}"),
        ("suffix", json!("end"), "is \"end\"; allowed: null"),
        ("max_token", json!(5), "is no field of this request"),
        ("model", json!(5), "is 5; allowed: a string"),
    ];
    for (field, value, message) in fields {
        let mut asked = json!({"prompt": "p"});
        asked[field] = value;
        let error = refused(&server.post(COMPLETIONS, &asked), 400, message);
        assert_eq!(error["param"], field, "{error}");
    }
    for (field, value, message) in [
        ("messages", json!([]), "allowed: a list, not empty"),
        ("messages", json!("hello"), "allowed: a list, not empty"),
        ("messages", json!([{"role": "user"}]), "allowed: a list, not empty"),
        ("messages", json!([{"role": "user", "content": [{"type": "image_url"}]}]), "allowed: a list"),
        ("messages", json!(null), "is missing"),
        ("top_logprobs", json!(3), "`logprobs` is not true"),
        ("tools", json!([{"type": "function"}]), "allowed: []"),
        ("response_format", json!({"type": "json_object"}), "allowed: {\"type\": \"text\"}"),
        ("prompt", json!("p"), "is no field of this request"),
        ("max_completion_tokens", json!(0), "is 0; allowed"),
    ] {
        let mut asked = json!({"messages": [{"role": "user", "content": "?"}]});
        asked[field] = value;
        let error = refused(&server.post(CHAT, &asked), 400, message);
        assert_eq!(error["param"], field, "{error}");
    }
    let unknown = server.post(COMPLETIONS, &json!({"prompt": "p", "model": "gpt-5"}));
    assert_eq!(
        refused(&unknown, 404, "there is no model `gpt-5`; there is: disco")["code"],
        "model_not_found"
    );
    let outside = server.post(COMPLETIONS, &json!({"prompt": [999]}));
    refused(&outside, 400, "token id 999 is not in the vocabulary");
}

#[test]
fn what_is_no_request_is_refused() {
    let server = start(ServerSettings { max_body: 1000, ..ServerSettings::default() });
    refused(&server.say(&post(COMPLETIONS, "{")), 400, "the body is no JSON");
    refused(&server.say(&post(COMPLETIONS, "")), 400, "the body is no JSON");
    refused(&server.say(&post(COMPLETIONS, "[]")), 400, "the body is no JSON object");
    refused(&server.say(&post(COMPLETIONS, &"[".repeat(900))), 400, "the body is no JSON");
    refused(&server.say(&post(COMPLETIONS, "\u{0}{}")), 400, "the body is no JSON");
    let text = post(COMPLETIONS, "{}").replace("application/json", "text/plain");
    refused(&server.say(&text), 415, "is not `application/json`");
    refused(&server.get("/v1/other"), 404, "there is no such path");
    refused(&server.get(COMPLETIONS), 405, "another method");
    refused(&server.say(&post(COMPLETIONS, &" ".repeat(1001))), 413, "larger than 1000 bytes");
    // Larger than it says, in chunks without an end.
    let chunks = format!("{:x}\r\n{}\r\n", 900, " ".repeat(900)).repeat(3);
    let endless = post(COMPLETIONS, &chunks)
        .replace(&format!("Content-Length: {}", chunks.len()), "Transfer-Encoding: chunked");
    refused(&server.say(&endless), 413, "larger than 1000 bytes");
    assert_eq!(server.say("nothing of HTTP\r\n\r\n").status, 400);
    assert_eq!(server.say(&format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20))).status / 100, 4);
    // After all this it still answers.
    assert_eq!(server.post(COMPLETIONS, &json!({"prompt": "p"})).status, 200);
}

#[test]
fn a_slow_client_is_not_waited_for() {
    let server = start(ServerSettings {
        reading_time: Duration::from_millis(100),
        max_connections: 2,
        ..ServerSettings::default()
    });
    let mut body = server.connect();
    let begun = post(COMPLETIONS, "{}").replace("Content-Length: 2", "Content-Length: 900");
    body.write_all(begun.as_bytes()).unwrap();
    let mut head = server.connect();
    head.write_all(b"POST /v1/completions HTTP/1.1\r\n").unwrap();
    // Both places are taken until their time is over.
    assert_eq!(server.get("/health").status, 200);
    refused(&read_answer(&mut body), 408, "the body took longer than 0.1 seconds");
    assert!(read_answer(&mut head).body.is_empty());
}

#[test]
fn a_request_without_the_token_is_refused() {
    let server = start(ServerSettings { token: Some("open-sesame".into()), ..ServerSettings::default() });
    assert_eq!(server.get("/health").status, 200);
    for path in ["/v1/models", "/metrics", "/v1/other"] {
        refused(&server.get(path), 401, "is missing or wrong");
    }
    let with_token = |token: &str| {
        let text = post(COMPLETIONS, "{\"prompt\": \"p\"}");
        server.say(&text.replace("Host: here", &format!("Host: here\r\nAuthorization: {token}")))
    };
    for wrong in
        ["Bearer open-sesam", "Bearer open-sesame!", "Bearer", "Basic open-sesame", "Bearer open-sesamE"]
    {
        assert_eq!(refused(&with_token(wrong), 401, "missing or wrong")["code"], "invalid_api_key");
    }
    assert_eq!(with_token("Bearer open-sesame").status, 200);
}

#[test]
fn a_busy_server_says_so() {
    let engine = Arc::new(ScriptedEngine { most: Some(1), ..ScriptedEngine::default() });
    let server = Running::start(engine.clone(), ServerSettings::default());
    let asked = json!({"prompt": "slow", "max_tokens": 200, "min_tokens": 200, "stream": true});
    let mut first = server.connect();
    first.write_all(post(COMPLETIONS, &asked.to_string()).as_bytes()).unwrap();
    until(|| engine.running.load(std::sync::atomic::Ordering::Relaxed) == 1);
    let second = server.post(COMPLETIONS, &asked);
    refused(&second, 429, "enough");
    assert!(second.head.to_ascii_lowercase().contains("retry-after: 1"), "{second:?}");
}

#[test]
fn a_request_that_takes_too_long_is_ended() {
    let engine = Arc::new(ScriptedEngine::default());
    let settings = ServerSettings { request_time: Duration::from_millis(100), ..ServerSettings::default() };
    let server = Running::start(engine.clone(), settings);
    let asked = json!({"prompt": "slow", "max_tokens": 900, "min_tokens": 900});
    refused(&server.post(COMPLETIONS, &asked), 504, "longer than 0.1 seconds");
    let mut streamed = asked;
    streamed["stream"] = true.into();
    let answer = server.post(COMPLETIONS, &streamed);
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("longer than 0.1 seconds") && !answer.body.contains("[DONE]"), "{answer:?}");
    until(|| engine.running.load(std::sync::atomic::Ordering::Relaxed) == 0);
}
