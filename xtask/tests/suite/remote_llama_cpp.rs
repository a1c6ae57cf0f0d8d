//! The server of llama.cpp itself, where `DISCO_LLAMA_SERVER` names its program and `DISCO_LLAMA_GGUF` a model.

use std::{
    env,
    fs::File,
    io::Write,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use disco_core::{Distribution, Sampled, Streams};
use serde_json::{Value, json};
use xtask::{ModelSpec, RemoteModel, RemoteSample, TextContext};

use crate::{
    common::loopback::{send, serve},
    remote_model::model,
};

/// The difference of two log-probabilities of a token that llama.cpp computes in f32, for one request and for several at once, in nats.
const TOKEN: f64 = 1e-3;

/// A server that ends with the test.
struct Running {
    child: Child,
    root: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server with its own defaults: top_k 40, top_p 0.95, min_p 0.05, temperature 0.8. `None` where there is none.
fn start() -> Option<Running> {
    let named = |variable| env::var_os(variable).map(PathBuf::from);
    let (Some(program), Some(gguf)) = (named("DISCO_LLAMA_SERVER"), named("DISCO_LLAMA_GGUF")) else {
        eprintln!(
            "left out: DISCO_LLAMA_SERVER and DISCO_LLAMA_GGUF do not name a server of llama.cpp and a model"
        );
        return None;
    };
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let arguments = ["--host", "127.0.0.1", "--parallel", "2", "--ctx-size", "1024", "--threads", "2"];
    let exact = ["--cache-type-k", "f32", "--cache-type-v", "f32", "--flash-attn", "off"];
    let child = Command::new(program)
        .arg("--model")
        .arg(gguf)
        .args(["--port", &port.to_string()])
        .args(arguments)
        .args(exact)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let running = Running { child, root: format!("http://127.0.0.1:{port}") };
    let start = Instant::now();
    while ureq::get(format!("{}/health", running.root)).call().is_err() {
        assert!(start.elapsed() < Duration::from_secs(120), "the server does not start");
        thread::sleep(Duration::from_millis(200));
    }
    Some(running)
}

/// A proxy that drops settings from requests.
fn forgetful(root: &str, dropped: &'static [&'static str]) -> String {
    let root = root.to_owned();
    serve(move |request, stream| {
        let mut body = request.body.clone();
        dropped.iter().for_each(|field| drop(body.as_object_mut().map(|body| body.remove(*field))));
        let url = format!("{root}{}", request.path);
        let answer = match body {
            Value::Null => ureq::get(url).call(),
            body => ureq::post(url).content_type("application/json").send(body.to_string()),
        };
        let answer = answer.unwrap().body_mut().read_to_vec().unwrap();
        send(stream, "200 OK", &answer);
    }) + "/v1"
}

#[test]
fn llama_cpp_gives_the_log_probabilities_of_its_samples() {
    let Some(running) = start() else { return };
    let url = format!("{}/v1", running.root);
    let connect = |url: &str| {
        let change = |model: &mut ModelSpec| {
            (model.server.connections, model.server.timeout, model.max_new_tokens) = (2, 120.0, 8);
        };
        RemoteModel::connect(&model(url, change), "It was a cold and stormy night")
    };
    let contexts: Vec<TextContext> =
        ["It was a cold and stormy night", "😀😃😄😁"].map(TextContext::from).to_vec();
    let contexts: Vec<&TextContext> = contexts.iter().collect();
    let streams = [Streams::new(1, 4), Streams::new(2, 4)];
    let remote = connect(&url).unwrap();
    let drawn = remote.sample_each(&contexts, &streams).unwrap();
    write(&contexts, &drawn);
    for (context, drawn) in contexts.iter().zip(&drawn) {
        for sample in drawn {
            // A sample that was drawn is not asked again: this one has the same tokens, and was not drawn.
            let other = RemoteSample { text: format!("not {}", sample.value.text), ..sample.value.clone() };
            let scored = remote.log_probs(context, &[&other]).unwrap()[0];
            let difference = (sample.log_prob - scored).abs();
            assert!(difference < TOKEN * sample.value.tokens as f64, "{sample:?}: {scored}");
        }
    }
    let cases: [(&[&str], &str); 3] = [
        (&["temperature"], "uses temperature = 0.8 where 1 was asked for"),
        (&["top_k"], "uses top_k = 40 where 0 was asked for"),
        (&["min_p"], "uses min_p = 0.05"),
    ];
    for (dropped, told) in cases {
        let error = connect(&forgetful(&running.root, dropped)).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
}

/// Writes samples to the file that `DISCO_LLAMA_SAMPLES` names, if it names one.
fn write(contexts: &[&TextContext], drawn: &[Vec<Sampled<RemoteSample>>]) {
    let Some(path) = env::var_os("DISCO_LLAMA_SAMPLES") else { return };
    let mut file = File::create(path).unwrap();
    for (context, drawn) in contexts.iter().zip(drawn) {
        for Sampled { value, log_prob } in drawn {
            writeln!(file, "{}", json!({"context": context, "sample": value, "log_prob": log_prob})).unwrap();
        }
    }
}
