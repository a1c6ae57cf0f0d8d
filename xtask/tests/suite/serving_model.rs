//! The embedded model behind the HTTP server: what clients get is what the model draws and scores.

use std::{
    collections::BTreeMap,
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use disco_core::{Distribution, Streams};
use disco_lm::{Decoding, Generation, LanguageModel, ServiceLimits};
use serde_json::{Value, json};
use xtask::{Engine, LanguageModelEngine, ServerSettings, workspace_root};

use crate::common::http::{Running, until};

const COMPLETIONS: &str = "/v1/completions";
const CONTEXT: &str = "ROMEO:\n";
/// Between a sequence in a batch and a pass over all of its tokens, in f32.
const TOLERANCE: f64 = 1e-4;

fn model(generation: Generation) -> LanguageModel {
    let device = "flex".parse::<disco_lm::Backend>().unwrap().device().unwrap();
    LanguageModel::load(workspace_root().join("models/tiny-shakespeare"), &device, generation).unwrap()
}

fn start(batch: usize, limits: ServiceLimits) -> (Running, Arc<LanguageModelEngine>) {
    let engine = LanguageModelEngine::start(model(Generation { batch, ..Generation::default() }), limits);
    let engine = Arc::new(engine.unwrap());
    (Running::start(engine.clone(), ServerSettings::default()), engine)
}

/// Whatever else is asked, a seed gives the completions that the model draws with it, with their log-probabilities.
#[test]
fn a_completion_is_the_sample_of_its_seed() {
    let (server, _) = start(16, ServiceLimits::default());
    let asked = |seed: u64| json!({"prompt": CONTEXT, "seed": seed, "n": 2, "max_tokens": 12 + seed, "temperature": 0.8, "top_p": 0.9, "logprobs": 0});
    let answers: Vec<Value> = thread::scope(|scope| {
        let ask = |seed| server.post(COMPLETIONS, &asked(seed)).json();
        let threads: Vec<_> = (0..12).map(|seed| scope.spawn(move || ask(seed))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (seed, answer) in (0..).zip(&answers) {
        let decoding = Decoding { temperature: 0.8, top_p: 0.9, ..Decoding::default() };
        let generation = Generation { decoding, max_new_tokens: 12 + seed as usize, ..Generation::default() };
        let expected = model(generation).sample(CONTEXT, &Streams::new(seed, 2)).unwrap();
        let choices = answer["choices"].as_array().unwrap();
        for (choice, expected) in choices.iter().zip(&expected) {
            assert_eq!(choice["text"], expected.value.text, "seed {seed}");
            let log_probs = choice["logprobs"]["token_logprobs"].as_array().unwrap();
            let sum: f64 = log_probs.iter().map(|log_prob| log_prob.as_f64().unwrap()).sum();
            assert_eq!(sum, expected.log_prob, "to the bit, seed {seed}");
        }
    }
    let mut streamed = asked(3);
    streamed["stream"] = true.into();
    let mut texts: BTreeMap<u64, String> = BTreeMap::new();
    for chunk in server.post(COMPLETIONS, &streamed).chunks() {
        let choice = &chunk["choices"][0];
        texts
            .entry(choice["index"].as_u64().unwrap())
            .or_default()
            .push_str(choice["text"].as_str().unwrap());
    }
    let whole = answers[3]["choices"].as_array().unwrap();
    assert_eq!(
        whole.iter().map(|choice| choice["text"].as_str().unwrap()).collect::<Vec<_>>(),
        texts.into_values().collect::<Vec<_>>()
    );
}

/// Echoed log-probabilities of a prompt and a completion are the model's scores, as a client computes them that only scores.
#[test]
fn an_echoed_prompt_has_the_scores_of_the_model() {
    let (server, _) = start(16, ServiceLimits::default());
    let model = model(Generation { max_new_tokens: 20, ..Generation::default() });
    let context = model.encode(CONTEXT).unwrap();
    let drawn = model.sample(CONTEXT, &Streams::new(5, 4)).unwrap();
    for sample in drawn {
        let ids = [context.clone(), sample.value.tokens.clone()].concat();
        let asked = json!({"prompt": ids, "max_tokens": 1, "temperature": 0, "logprobs": 1, "echo": true, "seed": 1234});
        let answer = server.post(COMPLETIONS, &asked).json();
        let logprobs = &answer["choices"][0]["logprobs"];
        let scores = logprobs["token_logprobs"].as_array().unwrap();
        assert_eq!(scores.len(), ids.len() + 1);
        let sum: f64 = scores[context.len()..ids.len()].iter().map(|score| score.as_f64().unwrap()).sum();
        assert!((sum - sample.log_prob).abs() < TOLERANCE, "{sum} {}", sample.log_prob);
        // The greedy choice is told by the names of tokens.
        let logits = model.tokens().logits(&ids).unwrap();
        for (at, row) in logits.iter().enumerate().take(ids.len() - 1) {
            let best = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let name = logprobs["tokens"][at + 1].as_str().unwrap();
            let top = logprobs["top_logprobs"][at + 1].as_object().unwrap();
            let found =
                top.iter().max_by(|a, b| a.1.as_f64().unwrap().total_cmp(&b.1.as_f64().unwrap())).unwrap();
            assert_eq!(found.0 == name, row[ids[at + 1] as usize] == best);
        }
    }
}

#[test]
fn a_request_that_the_model_cannot_answer_is_refused() {
    let (server, _) = start(1, ServiceLimits { waiting: 1, ..ServiceLimits::default() });
    let long = server.post(COMPLETIONS, &json!({"prompt": CONTEXT, "max_tokens": 1000}));
    assert_eq!((long.status, &long.json()["error"]["code"]), (400, &json!("context_length_exceeded")));
    let outside = server.post(COMPLETIONS, &json!({"prompt": [99_999_999]}));
    assert_eq!(outside.status, 400, "{outside:?}");
    let messages = json!([{"role": "user", "content": "Who?"}]);
    let chat = server.post("/v1/chat/completions", &json!({"messages": messages}));
    assert_eq!(chat.status, 400);
    assert!(chat.body.contains("the model has no chat template"), "{chat:?}");
}

/// The `openai` package and lm-evaluation-harness, if `DISCO_CLIENTS_PYTHON` names a Python that has them: `cargo xtask ci --only clients`
/// makes one.
#[test]
fn official_clients_are_served() {
    let Some(python) = std::env::var_os("DISCO_CLIENTS_PYTHON") else { return };
    let (server, _) = start(16, ServiceLimits::default());
    let script = workspace_root().join("xtask/tests/serving/clients.py");
    let mut command = Command::new(python);
    command
        .arg(script)
        .arg(format!("http://{}", server.address))
        .arg(workspace_root().join("models/tiny-shakespeare"));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("openai") && said.contains("lm_eval ok"), "{said}");
    eprintln!("{said}");
}

/// 64 clients ask 1,000 times, on two cores beside one request at a time: none is lost. The numbers are printed, for BENCHMARKS.md.
#[test]
#[ignore = "half a minute; its numbers say something on a quiet machine only"]
fn sweep_64_clients_lose_nothing() {
    const CLIENTS: usize = 64;
    const REQUESTS: usize = 1000;
    let (server, engine) = start(64, ServiceLimits::default());
    let ask = |seed: usize| {
        let begun = Instant::now();
        let asked = json!({"prompt": CONTEXT, "seed": seed, "max_tokens": 40, "min_tokens": 40});
        let answer = server.post(COMPLETIONS, &asked);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["usage"]["completion_tokens"], 40);
        begun.elapsed()
    };
    let show = |name: &str, mut times: Vec<Duration>, all: Duration| {
        times.sort();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        let rate = times.len() as f64 / all.as_secs_f64();
        eprintln!(
            "{name}: {} requests, {rate:.1}/s, p50 {:.0} ms, p99 {:.0} ms",
            times.len(),
            at(0.5),
            at(0.99)
        );
    };
    let begun = Instant::now();
    let alone: Vec<Duration> = (0..100).map(ask).collect();
    show("one at a time", alone, begun.elapsed());
    let begun = Instant::now();
    let client = |client: usize| (client..REQUESTS).step_by(CLIENTS).map(ask).collect::<Vec<_>>();
    let times: Vec<Duration> = thread::scope(|scope| {
        let client = &client;
        let threads: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || client(number))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(times.len(), REQUESTS);
    show("64 clients", times, begun.elapsed());
    until(|| engine.load().running == 0);
}
