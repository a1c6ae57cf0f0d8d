//! A target behind the HTTP server: completions are samples of it, and say how they were found.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
    thread,
};

use serde_json::{Value, json};

use crate::{
    common::http::{Client, until},
    stages_of_a_model::{run, succeed},
};

const COMPLETIONS: &str = "/v1/completions";
const CHAT: &str = "/v1/chat/completions";
const ROMEO: &str = "ROMEO:\n";

/// Four texts, of which "No" is to come half of the time, so that the target is known.
const LISTED: &str = r#"
seed = 5
[model]
source = "embedded"
choices = ["Yes", "No", "Maybe", "Never"]
max_new_tokens = 8
[contexts]
list = ["ROMEO:\n"]
[[features]]
name = "no"
kind = "contains"
text = "No"
mean = 0.5
"#;

/// Texts of the model, with a target that holds in each context by itself.
const FREE: &str = r#"
seed = 2
[model]
source = "embedded"
max_new_tokens = 8
[contexts]
list = ["ROMEO:\n", "GREMIO:\n"]
[[features]]
name = "comma"
kind = "contains"
text = ","
mean = 0.6
per_context = true
[fit]
samples = 600
[sample]
total_variation = 0.05
"#;

/// A server of a target, as a process of its own.
struct TargetServer {
    child: Child,
    client: Client,
    _said: BufReader<ChildStderr>,
}

impl TargetServer {
    /// Fits the target of a run file, and serves it.
    fn start(at: &Path, spec: &str, arguments: &[&str]) -> Self {
        fs::write(at.join("s.toml"), spec).unwrap();
        succeed(at, &["measure", "s.toml", "--out", "measured"]);
        succeed(at, &["fit", "s.toml", "--samples", "measured/measured.jsonl", "--out", "fitted"]);
        let serve = ["serve", "--model", "embedded", "--target", "fitted/target.json", "--port", "0"];
        let mut child = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(serve)
            .args(arguments)
            .current_dir(at)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("http://") {
            line.clear();
            assert_ne!(said.read_line(&mut line).unwrap(), 0, "the server has ended");
        }
        let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap();
        Self { child, client: Client { address: address.parse().unwrap() }, _said: said }
    }

    fn post(&self, path: &str, body: &Value) -> crate::common::http::Answer {
        self.client.post(path, body)
    }

    /// Tells it to stop; its exit status.
    fn stop(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for TargetServer {
    fn drop(&mut self) {
        // It has ended, or a test has failed.
        let _ = self.child.kill();
    }
}

/// n = 2,000 completions of one seed, against the probabilities that the target has by definition (chi-square, alpha = 1e-4).
#[test]
fn completions_are_samples_of_the_target() {
    let folder = tempfile::tempdir().unwrap();
    let server = TargetServer::start(folder.path(), LISTED, &["--max-completions", "2000"]);
    let measured = fs::read_to_string(folder.path().join("measured/measured.jsonl")).unwrap();
    let lines = measured.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let base: BTreeMap<String, f64> = lines
        .map(|line| {
            (line["sample"]["text"].as_str().unwrap().to_owned(), line["log_base"].as_f64().unwrap().exp())
        })
        .collect();
    let others: f64 = base.iter().filter(|(text, _)| *text != "No").map(|(_, mass)| mass).sum();

    let answer = server.post(COMPLETIONS, &json!({"prompt": ROMEO, "n": 2000, "seed": 3}));
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = answer.json();
    let mut counts: BTreeMap<&str, f64> = BTreeMap::new();
    for choice in answer["choices"].as_array().unwrap() {
        *counts.entry(choice["text"].as_str().unwrap()).or_default() += 1.0;
        assert_eq!((&choice["finish_reason"], &choice["disco"]["exact"]), (&json!("stop"), &json!(true)));
    }
    let mut chi_square = 0.0;
    for (text, mass) in &base {
        let expected = 2000.0 * if text == "No" { 0.5 } else { 0.5 * mass / others };
        let found = counts.remove(text.as_str()).unwrap_or(0.0);
        chi_square += (found - expected).powi(2) / expected;
    }
    assert!(counts.is_empty(), "{counts:?}");
    // Three degrees of freedom.
    assert!(chi_square < 21.1, "{chi_square}");
    // The rate that was expected, and the one that was found: each within 5 of its standard errors.
    let facts = &answer["choices"][0]["disco"];
    let proposals: u64 = answer["choices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["disco"]["proposals"].as_u64().unwrap())
        .sum();
    let found = 2000.0 / proposals as f64;
    let expected = facts["acceptance_rate"]["value"].as_f64().unwrap();
    let error = facts["acceptance_rate"]["std_error"].as_f64().unwrap();
    let own = found * ((1.0 - found) / 2000.0).sqrt();
    assert!((found - expected).abs() < 5.0 * error.hypot(own), "{found} {expected} {error}");
    assert_eq!(server.stop(), Some(0));
}

/// A seed gives the same completions whatever else is asked, whole and as a stream, and a shorter one is the beginning of a longer one.
#[test]
fn a_seed_gives_the_same_samples_of_a_target() {
    let folder = tempfile::tempdir().unwrap();
    let server = TargetServer::start(folder.path(), FREE, &[]);
    let asked = |seed: u64| {
        let prompt = [ROMEO, "GREMIO:\n"][seed as usize % 2];
        json!({"prompt": prompt, "n": 3, "seed": seed})
    };
    let texts = |answer: &Value| -> Vec<String> {
        let choices = answer["choices"].as_array().unwrap();
        choices.iter().map(|choice| choice["text"].as_str().unwrap().to_owned()).collect()
    };
    let alone: Vec<Vec<String>> =
        (0..6).map(|seed| texts(&server.post(COMPLETIONS, &asked(seed)).json())).collect();
    let together: Vec<Vec<String>> = thread::scope(|scope| {
        let (server, asked) = (&server, &asked);
        let ask = |seed| scope.spawn(move || texts(&server.post(COMPLETIONS, &asked(seed)).json()));
        let threads: Vec<_> = (0..6).map(ask).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(alone, together);
    assert_ne!(alone[0], alone[2]);

    let with = |seed: u64, field: &str, value: Value| {
        let mut asked = asked(seed);
        asked[field] = value;
        server.post(COMPLETIONS, &asked)
    };
    let mut streamed: BTreeMap<u64, String> = BTreeMap::new();
    for chunk in with(4, "stream", true.into()).chunks() {
        let choice = &chunk["choices"][0];
        let text = choice["text"].as_str().unwrap();
        streamed.entry(choice["index"].as_u64().unwrap()).or_default().push_str(text);
    }
    assert_eq!(alone[4], streamed.into_values().collect::<Vec<_>>());
    let cut = with(4, "max_tokens", 2.into()).json();
    for (text, whole) in texts(&cut).iter().zip(&alone[4]) {
        assert!(whole.starts_with(text.as_str()) && text.len() < whole.len(), "{text} {whole}");
    }
    assert_eq!(cut["choices"][0]["finish_reason"], "length");
    // A stop ends the text, and the facts are of the whole sample.
    let first = alone[4][0].chars().next().unwrap().to_string();
    let stopped = with(4, "stop", first.into()).json();
    assert_eq!(stopped["choices"][0]["text"], "");
    assert_eq!(stopped["choices"][0]["disco"], cut["choices"][0]["disco"]);
    assert!(cut["choices"][0]["disco"]["whole_sample"]["tokens"].as_u64().unwrap() > 2);
    assert_eq!(cut["usage"]["completion_tokens"], 6);
    // The ids of a text are the text.
    let ids = with(4, "return_token_ids", true.into()).json()["choices"][0]["prompt_token_ids"].clone();
    assert_eq!(texts(&with(4, "prompt", ids).json()), alone[4]);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_request_that_a_target_cannot_answer_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = TargetServer::start(folder.path(), FREE, &["--proposals", "1", "--pilot", "64"]);
    let messages = json!([{"role": "user", "content": "Who?"}]);
    let chat = server.post(CHAT, &json!({"messages": messages}));
    assert!(chat.status == 400 && chat.body.contains("/v1/completions"), "{chat:?}");
    let refused = [
        ("temperature", json!(0), "`temperature` is 0; allowed: 1, or nothing"),
        ("temperature", json!(0.7), "`temperature` is 0.7; allowed: 1"),
        ("top_p", json!(0.9), "`top_p` is 0.9"),
        ("top_k", json!(40), "`top_k` is 40"),
        ("min_tokens", json!(1), "`min_tokens` is 1"),
        ("repetition_penalty", json!(1.1), "`repetition_penalty` is 1.1"),
        ("logprobs", json!(0), "`logprobs` is given; allowed: nothing"),
        ("prompt", json!("JULIET:\n"), "JULIET"),
        ("prompt", json!(""), "was not fitted"),
        ("prompt", json!([99_999_999]), "99999999"),
        ("max_tokens", json!(1000), "`prompt` has"),
    ];
    for (field, value, message) in refused {
        let mut asked = json!({"prompt": ROMEO});
        asked[field] = value;
        let answer = server.post(COMPLETIONS, &asked);
        assert_eq!(answer.status, 400, "{field}: {answer:?}");
        let error = &answer.json()["error"];
        assert!(error["message"].as_str().unwrap().contains(message), "{field}: {answer:?}");
        assert_eq!(error["type"], "invalid_request_error");
    }
    // Another decoding would be another base.
    let other = ["--accept", "2", "--temperature", "0.5", "--out", "other.jsonl"];
    let sample = ["sample", "--model", "embedded", "--target", "fitted/target.json"];
    let (_, said) = run(folder.path(), &[&sample[..], &other].concat());
    assert!(said.contains("`--temperature` is given with --target"), "{said}");
    // One proposal is allowed for each of 64 samples, and nearly all would have to be accepted.
    let few = server.post(COMPLETIONS, &json!({"prompt": ROMEO, "n": 64, "seed": 1}));
    assert_eq!(few.status, 422, "{few:?}");
    assert!(few.body.contains("of 64 samples of the target were found in 64 proposals"), "{few:?}");
    assert_eq!(server.stop(), Some(0));
}

/// A pilot that would take minutes ends with the server, and where its client has gone.
#[test]
fn a_long_pilot_keeps_no_server_alive() {
    let folder = tempfile::tempdir().unwrap();
    let server = TargetServer::start(folder.path(), FREE, &["--pilot", "1000000", "--grace", "0"]);
    let body = crate::common::http::post(COMPLETIONS, &json!({"prompt": ROMEO}).to_string());
    let mut stream = server.client.connect();
    stream.write_all(body.as_bytes()).unwrap();
    until(|| server.client.get("/metrics").body.contains("disco_requests_running 1"));
    drop(stream);
    until(|| server.client.get("/metrics").body.contains("disco_requests_running 0"));
    let mut stream = server.client.connect();
    stream.write_all(body.as_bytes()).unwrap();
    until(|| server.client.get("/metrics").body.contains("disco_requests_running 1"));
    assert_eq!(server.stop(), Some(0));
}
