//! The HTTP server: answers in the shapes of OpenAI's API, whole and as streams, whatever else is asked meanwhile.

use std::{
    io::{Read, Write},
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use xtask::ServerSettings;

use crate::common::{
    http::{Answer, Running, post, read_answer, until},
    scripted_engine::ScriptedEngine,
};

const COMPLETIONS: &str = "/v1/completions";
const CHAT: &str = "/v1/chat/completions";

fn start() -> Running {
    Running::start(Arc::new(ScriptedEngine::default()), ServerSettings::default())
}

fn with(mut body: Value, more: &Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[test]
fn completions_have_the_shape_of_openais() {
    let server = start();
    let asked = json!({
        "model": "disco", "prompt": ["one", [116, 119, 111]], "n": 2, "seed": 7, "max_tokens": 9, "logprobs": 2, "echo": true,
        "return_token_ids": true, "user": "me", "presence_penalty": 0, "stop": null,
    });
    let answer = server.post(COMPLETIONS, &asked);
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = answer.json();
    assert_eq!(answer["object"], "text_completion");
    assert_eq!(answer["model"], "disco");
    assert_eq!(answer["seed"], 7);
    let choices = answer["choices"].as_array().unwrap();
    assert_eq!(choices.len(), 4);
    let mut completion_tokens = 0;
    for (index, choice) in choices.iter().enumerate() {
        assert_eq!(choice["index"], index);
        let prompt = ["one", "two"][index / 2];
        assert!(choice["text"].as_str().unwrap().starts_with(prompt));
        let ids = choice["token_ids"].as_array().unwrap();
        completion_tokens += ids.len();
        let is_cut = ids.last().unwrap() != 256;
        assert_eq!(choice["finish_reason"], if is_cut { "length" } else { "stop" });
        let logprobs = &choice["logprobs"];
        for field in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
            assert_eq!(logprobs[field].as_array().unwrap().len(), 3 + ids.len(), "{field}");
        }
        assert!(logprobs["token_logprobs"][0].is_null());
        assert_eq!(logprobs["token_logprobs"][3], -ids[0].as_f64().unwrap() / 100.0);
        assert_eq!(logprobs["tokens"][3], format!("<{}>", ids[0]));
        // The token itself, and two others or one that is the same.
        assert!((2..=3).contains(&logprobs["top_logprobs"][3].as_object().unwrap().len()));
        assert_eq!(choice["disco"]["acceptance_rate"], 0.25);
    }
    assert_ne!(choices[0]["token_ids"], choices[1]["token_ids"]);
    let usage = json!({
        "prompt_tokens": 6, "completion_tokens": completion_tokens, "total_tokens": 6 + completion_tokens,
    });
    assert_eq!(answer["usage"], usage);

    let models = server.get("/v1/models").json();
    assert_eq!(models["data"][0]["id"], "disco");
    assert_eq!(server.get("/v1/models/disco").json()["max_model_len"], 1000);
    assert_eq!(server.get("/v1/models/other").status, 404);
    assert_eq!(server.get("/health").json()["status"], "ok");
    let metrics = server.get("/metrics").body;
    for line in [
        "disco_answers_total{path=\"/v1/completions\",status=\"200\"} 1",
        "disco_prompt_tokens_total 6",
        &format!("disco_completion_tokens_total {completion_tokens}"),
        "disco_request_seconds_count 1",
        "disco_requests_running 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }
}

/// A prompt is scored without anything drawn, as lm-evaluation-harness asks for it. An impossible token has the number that OpenAI's API
/// has for it, since JSON has no infinity.
#[test]
fn a_prompt_is_scored() {
    let server = start();
    let asked =
        json!({"prompt": [97, 0, 98], "max_tokens": 0, "echo": true, "logprobs": 1, "temperature": 0});
    let answer = server.post(COMPLETIONS, &asked).json();
    let choice = &answer["choices"][0];
    assert_eq!(choice["text"], "a\0b");
    assert_eq!(choice["logprobs"]["token_logprobs"], json!([null, -9999.0, -0.98]));
    assert_eq!(choice["finish_reason"], "length");
    assert_eq!(answer["usage"]["completion_tokens"], 0);
    let echoed = server.post(COMPLETIONS, &json!({"prompt": "abc", "max_tokens": 0, "echo": true})).json();
    assert_eq!(echoed["choices"][0]["text"], "abc");
}

#[test]
fn answers_in_a_chat_have_the_shape_of_openais() {
    let server = start();
    let messages = json!([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Who "}, {"type": "text", "text": "are you?"}]},
    ]);
    let asked = json!({"messages": messages, "logprobs": true, "top_logprobs": 2, "max_completion_tokens": 5, "seed": 3});
    let answer = server.post(CHAT, &asked).json();
    assert_eq!(answer["object"], "chat.completion");
    let choice = &answer["choices"][0];
    assert_eq!(choice["message"]["role"], "assistant");
    let content = choice["logprobs"]["content"].as_array().unwrap();
    assert_eq!(content.len(), answer["usage"]["completion_tokens"].as_u64().unwrap() as usize);
    assert_eq!(content[0]["top_logprobs"][1]["logprob"], -1.5);
    let prompt = "system: Be brief.\nuser: Who are you?\n".len();
    assert_eq!(answer["usage"]["prompt_tokens"], prompt);
    let streamed = server.post(CHAT, &with(asked, &json!({"stream": true}))).chunks();
    assert_eq!(streamed[0]["choices"][0]["delta"]["role"], "assistant");
    let text: String =
        streamed.iter().map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().unwrap()).collect();
    assert_eq!(choice["message"]["content"], text);
}

/// A stream in one piece has the same texts, tokens and ends as the answer in one piece; characters of several bytes and beginnings of
/// stops are held back until they are certain.
#[test]
fn a_stream_says_what_the_whole_answer_says() {
    let server = start();
    let all = [
        json!({"n": 3}),
        json!({"stop": "stop"}),
        json!({"stop": ["\n", "日", "bab"], "n": 4}),
        json!({"echo": true, "logprobs": 1}),
        json!({"echo": true, "max_tokens": 0}),
        json!({"prompt": ["x", "y"], "n": 2, "max_tokens": 1}),
        json!({"logprobs": 0, "return_token_ids": true, "return_tokens_as_token_ids": true}),
    ];
    for (more, seed) in all.iter().flat_map(|more| (0..5).map(move |seed| (more, seed))) {
        let asked = with(json!({"prompt": "p", "max_tokens": 60, "seed": seed}), more);
        let whole = server.post(COMPLETIONS, &asked).json();
        let options = json!({"stream": true, "stream_options": {"include_usage": true}});
        let mut chunks = server.post(COMPLETIONS, &with(asked, &options)).chunks();
        assert_eq!(chunks.pop().unwrap()["usage"], whole["usage"], "{more}");
        for choice in whole["choices"].as_array().unwrap() {
            let of_choice: Vec<&Value> = chunks
                .iter()
                .map(|chunk| &chunk["choices"][0])
                .filter(|one| one["index"] == choice["index"])
                .collect();
            let text: String = of_choice.iter().map(|one| one["text"].as_str().unwrap()).collect();
            assert_eq!(choice["text"], text, "{more}");
            let ends: Vec<&Value> =
                of_choice.iter().map(|one| &one["finish_reason"]).filter(|end| !end.is_null()).collect();
            assert_eq!(ends, [&choice["finish_reason"]], "{more}");
            for field in ["tokens", "token_logprobs"] {
                let lists = of_choice.iter().filter_map(|one| one["logprobs"][field].as_array());
                let joined: Vec<Value> = lists.flatten().cloned().collect();
                let expected = choice["logprobs"][field].as_array().cloned().unwrap_or_default();
                assert_eq!(joined, expected, "{more}");
            }
            assert!(
                !text.contains(char::REPLACEMENT_CHARACTER) || choice["finish_reason"] == "length",
                "{text}"
            );
            for stop in more["stop"]
                .as_str()
                .into_iter()
                .chain(more["stop"].as_array().into_iter().flatten().filter_map(Value::as_str))
            {
                assert!(!text.contains(stop), "{text:?} contains {stop:?}");
            }
        }
    }
}

/// 64 clients ask 256 times at once: each answer is that of its seed, and none is lost.
#[test]
fn a_seed_gives_the_same_completion_whatever_the_load() {
    let server = start();
    let ask = |seed: usize| {
        let answer = server.post(COMPLETIONS, &json!({"prompt": "p", "seed": seed % 8, "max_tokens": 30}));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["choices"][0]["text"].clone()
    };
    let alone: Vec<Value> = (0..8).map(ask).collect();
    let found: Vec<Vec<Value>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..64)
            .map(|client| scope.spawn(move || (0..4).map(|one| ask(client + one)).collect()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (client, found) in found.iter().enumerate() {
        for (one, found) in found.iter().enumerate() {
            assert_eq!(found, &alone[(client + one) % 8]);
        }
    }
    // Without a seed, each request has one of its own, by which it can be asked again.
    let drawn: Vec<Value> =
        (0..3).map(|_| server.post(COMPLETIONS, &json!({"prompt": "p"})).json()).collect();
    assert_ne!(drawn[0]["seed"], drawn[1]["seed"]);
    let again = server.post(COMPLETIONS, &json!({"prompt": "p", "seed": drawn[2]["seed"]})).json();
    assert_eq!(again["choices"], drawn[2]["choices"]);
}

#[test]
fn a_client_that_goes_away_is_not_drawn_for() {
    let engine = Arc::new(ScriptedEngine::default());
    let server = Running::start(engine.clone(), ServerSettings::default());
    for stream in [true, false] {
        let asked = json!({"prompt": "slow", "max_tokens": 900, "min_tokens": 900, "stream": stream});
        let mut client = server.connect();
        // The end of a connection that is to be closed anyway is not looked for.
        let kept = post(COMPLETIONS, &asked.to_string()).replace("Connection: close\r\n", "");
        client.write_all(kept.as_bytes()).unwrap();
        if stream {
            client.read_exact(&mut [0; 20]).unwrap();
        }
        until(|| engine.running.load(Ordering::Relaxed) == 1);
        drop(client);
        // 900 tokens would take 9 seconds.
        let begun = std::time::Instant::now();
        until(|| {
            server.get("/metrics").body.contains(&format!("abandoned_total {}", 1 + usize::from(!stream)))
        });
        until(|| engine.running.load(Ordering::Relaxed) == 0);
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn a_server_that_is_told_to_stop_finishes_what_it_has_begun() {
    let mut server = start();
    let asked = json!({"prompt": "slow", "max_tokens": 20, "min_tokens": 20, "stream": true}).to_string();
    let mut client = server.connect();
    client.write_all(post(COMPLETIONS, &asked).as_bytes()).unwrap();
    client.read_exact(&mut [0; 17]).unwrap();
    server.stop();
    let rest = read_answer(&mut client);
    assert!(rest.head.contains("[DONE]") || rest.body.contains("[DONE]"), "{rest:?}");
    server.join();
    assert!(std::net::TcpStream::connect(server.address).is_err());
}

#[test]
fn an_engine_that_fails_is_an_error_of_the_server() {
    let server = start();
    let asked = json!({"prompt": "fail", "max_tokens": 9, "min_tokens": 9});
    let Answer { status, body, .. } = server.post(COMPLETIONS, &asked);
    assert_eq!(status, 500);
    assert!(body.contains("the script says so") && body.contains("server_error"), "{body}");
    let streamed = server.post(COMPLETIONS, &with(asked, &json!({"stream": true})));
    assert_eq!(streamed.status, 200);
    assert!(
        streamed.body.contains("the script says so") && !streamed.body.contains("[DONE]"),
        "{streamed:?}"
    );
}
