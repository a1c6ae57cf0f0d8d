//! Models on servers that do not keep to what they say: refused before anything counts, or an error of the request.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use disco_core::{Distribution, Streams};
use xtask::{ModelSpec, RemoteModel, ServerDialect};

use crate::{
    common::{
        language_server::{Fault, Kind, Server, language_server},
        loopback::{flood, send, serve},
    },
    remote_model::model,
};

fn refused(url: &str, change: impl FnOnce(&mut ModelSpec)) -> String {
    RemoteModel::connect(&model(url, change), "Once").unwrap_err().to_string()
}

#[test]
fn a_server_whose_samples_are_not_those_of_its_log_probabilities_is_refused() {
    let plain: fn(&mut ModelSpec) = |_| {};
    let warm: fn(&mut ModelSpec) = |model| model.temperature = 0.6;
    let truncated: fn(&mut ModelSpec) = |model| model.top_k = Some(5);
    let cases = [
        (Kind::Vllm, Fault::RawLogProbs, warm, "--logprobs-mode processed_logprobs"),
        (Kind::Vllm, Fault::RawLogProbs, truncated, "--logprobs-mode processed_logprobs"),
        (Kind::Vllm, Fault::OtherScores, plain, "when it is drawn and"),
        (
            Kind::Vllm,
            Fault::HiddenTemperature,
            plain,
            "it does not sample what it gives log-probabilities of",
        ),
        (Kind::Vllm, Fault::AboveZero, plain, "which is above 0"),
        (Kind::Vllm, Fault::TwoChoices, plain, "2 choices where one was asked for"),
        (Kind::Vllm, Fault::Cut, plain, "`max_new_tokens` is 12"),
        (Kind::LlamaCpp, Fault::OwnDefaults, plain, "it uses temperature = 0.8 where 1 was asked for"),
        (
            Kind::LlamaCpp,
            Fault::OwnDefaults,
            |model| model.temperature = 0.8,
            "it uses top_k = 40 where 0 was asked",
        ),
        (
            Kind::LlamaCpp,
            Fault::HiddenDefaults,
            |model| model.temperature = 0.8,
            "--top-k 0 --top-p 1 --min-p 0",
        ),
        (Kind::LlamaCpp, Fault::HiddenDefaults, plain, "are not those at temperature 1"),
        (
            Kind::LlamaCpp,
            Fault::HiddenTemperature,
            plain,
            "it does not sample what it gives log-probabilities of",
        ),
        (Kind::LlamaCpp, Fault::RawLogProbs, warm, "those at temperature 1, and not those at 0.6"),
        (Kind::LlamaCpp, Fault::MassAboveOne, plain, "sum to 1.22"),
        (Kind::LlamaCpp, Fault::Cut, plain, "`max_new_tokens` is 12"),
    ];
    for (kind, fault, change, told) in cases {
        let url = language_server(kind, fault);
        let error = refused(&url, change);
        assert!(error.contains(told) && error.contains(&url), "{kind:?} {fault:?}: {error}");
    }
}

#[test]
fn settings_that_a_server_cannot_honour_are_refused_by_name() {
    type Change = fn(&mut ModelSpec);
    let cases: [(Kind, Change, &str); 7] = [
        (Kind::Vllm, |model| model.typical_p = Some(0.9), "model.typical_p"),
        (Kind::Vllm, |model| model.forbidden_tokens = vec![3], "model.forbidden_tokens"),
        (Kind::Vllm, |model| (model.min_p, model.top_p) = (Some(0.1), Some(0.9)), "model.min_p"),
        (
            Kind::Vllm,
            |model| (model.repetition_penalty, model.penalize_context) = (1.2, false),
            "model.penalize_context",
        ),
        (Kind::LlamaCpp, |model| model.repetition_penalty = 1.2, "model.repetition_penalty"),
        (Kind::LlamaCpp, |model| model.min_new_tokens = 2, "model.min_new_tokens"),
        (Kind::LlamaCpp, |model| model.server.name = Some("other".into()), "allowed: \"small.gguf\""),
    ];
    for (kind, change, told) in cases {
        let error = refused(&language_server(kind, Fault::None), change);
        assert!(error.contains(told), "{kind:?}: {error}");
    }
}

/// The answer to the samples of a run, after the requests of the checks at the beginning.
type Answer = fn(&mut std::net::TcpStream);

#[test]
fn a_server_that_fails_between_two_samples_is_one_clear_error() {
    let cases: [(Answer, &str, f64); 6] = [
        (|_| {}, "the server http://", 30.0),
        (
            |stream| send(stream, "500 Internal Server Error", b"out of memory"),
            "500 Internal Server Error: \"out of memory\"",
            30.0,
        ),
        (
            |stream| send(stream, "400 Bad Request", b"{\"error\": {\"message\": \"too long\"}}"),
            "too long",
            30.0,
        ),
        (flood, "more than 16 MiB", 30.0),
        (|_| thread::sleep(Duration::from_secs(8)), "timeout", 2.0),
        (|stream| send(stream, "200 OK", b"{\"choices\": 3}"), "its answer to ", 30.0),
    ];
    for kind in [Kind::Vllm, Kind::LlamaCpp] {
        for (fail, told, timeout) in cases {
            let healthy = Arc::new(AtomicUsize::new(usize::MAX));
            let left = Arc::clone(&healthy);
            let server = Server { kind, fault: Fault::None };
            let url = serve(move |request, stream| {
                let before =
                    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
                match before {
                    Ok(_) => server.answer(request, stream),
                    Err(_) => fail(stream),
                }
            });
            let remote =
                RemoteModel::connect(&model(&url, |model| model.server.timeout = timeout), "Once").unwrap();
            healthy.store(10, Ordering::SeqCst);
            let start = Instant::now();
            let error = remote.sample(&"Once".into(), &Streams::new(1, 200)).unwrap_err().to_string();
            assert!(error.contains(told) && error.contains(&url), "{kind:?}: {error}");
            assert!(start.elapsed() < Duration::from_secs(6), "{kind:?} {told}: {:?}", start.elapsed());
        }
    }
}

#[test]
fn a_server_that_is_busy_for_a_moment_costs_nothing() {
    for kind in [Kind::Vllm, Kind::LlamaCpp] {
        let server = Server { kind, fault: Fault::None };
        // Every third request is turned away.
        let url = serve(move |request, stream| match request.number % 3 {
            0 => send(stream, "503 Service Unavailable\r\nRetry-After: 0", b"busy"),
            _ => server.answer(request, stream),
        });
        let change = |model: &mut ModelSpec| (model.server.tries, model.server.connections) = (20, 4);
        let remote = RemoteModel::connect(&model(&url, change), "Once").unwrap();
        let steady =
            RemoteModel::connect(&model(&language_server(kind, Fault::None), |_| {}), "Once").unwrap();
        let draw = |remote: &RemoteModel| remote.sample(&"Once".into(), &Streams::new(4, 50)).unwrap();
        assert_eq!(draw(&remote), draw(&steady));
    }
}

/// The error of the checks, or of 200 samples.
fn error_of(url: &str, change: impl FnOnce(&mut ModelSpec)) -> String {
    let remote = RemoteModel::connect(&model(url, change), "Once").map_err(|error| error.to_string());
    let draw = |remote: RemoteModel| {
        remote.sample(&"Once".into(), &Streams::new(1, 200)).map_err(|error| error.to_string())
    };
    remote.and_then(draw).unwrap_err()
}

#[test]
fn an_end_token_without_its_log_probability_is_an_error() {
    for kind in [Kind::Vllm, Kind::LlamaCpp] {
        let truncated = |model: &mut ModelSpec| model.temperature = 0.9;
        let url = language_server(kind, Fault::WithoutEnd);
        let error = error_of(&url, truncated);
        assert!(
            error.contains("probabilities for the") || error.contains("no token, or none"),
            "{kind:?}: {error}"
        );
    }
}

#[test]
fn a_token_that_cannot_be_drawn_is_an_error() {
    for kind in [Kind::Vllm, Kind::LlamaCpp] {
        let change = |model: &mut ModelSpec| model.top_k = Some(9);
        let error = error_of(&language_server(kind, Fault::Substitutes), change);
        assert!(error.contains("it drew a token to which it gives the probability 0"), "{kind:?}: {error}");
    }
}

#[test]
fn what_is_no_server_of_a_known_kind_says_so() {
    let of = |answer: &'static str| serve(move |_, stream| send(stream, "200 OK", answer.as_bytes()));
    let error = refused(&of(r#"{"data": [{"id": "m"}]}"#), |_| {});
    assert!(error.contains("give `dialect`, one of \"vllm\", \"llama.cpp\", \"disco\""), "{error}");
    let error = refused(&of(r#"{"data": [{"id": "m"}, {"id": "n"}]}"#), |_| {});
    assert!(error.contains("has 2 models: choose one by `name`, of \"m, n\""), "{error}");
    let error = refused(&of(r#"{"data": []}"#), |_| {});
    assert!(error.ends_with("it has no model"), "{error}");
    let error = refused(&of("<html>"), |model| model.server.dialect = Some(ServerDialect::Vllm));
    assert!(error.contains("its answer to /v1/models is not as documented"), "{error}");
    let error = refused("http://127.0.0.1:1/v1", |_| {});
    assert!(error.contains("the server http://127.0.0.1:1/v1: "), "{error}");
}

/// `transformers serve` of 5.23, as it answers with a model in the hub's cache, without one, and where there is no cache.
#[test]
fn transformers_serve_is_refused_with_the_reason() {
    const LISTED: &str = r#"{"object":"list","data":[{"owned_by":"HuggingFaceTB","id":"HuggingFaceTB/SmolLM2-135M-Instruct","object":"model","created":1795838981.9930432}]}"#;
    const NONE: &str = r#"{"object":"list","data":[]}"#;
    const INTERFACE: &str = r#"{"openapi":"3.1.0","info":{"title":"FastAPI","version":"0.1.0"},"paths":{"/v1/chat/completions":{},"/v1/completions":{},"/v1/responses":{},"/v1/systemone":{},"/v1/audio/transcriptions":{},"/load_model":{},"/reset":{},"/v1/models":{},"/health":{}}}"#;
    for (head, models) in
        [("200 OK", LISTED), ("200 OK", NONE), ("500 Internal Server Error", "Internal Server Error")]
    {
        let url = serve(move |request, stream| match request.path.as_str() {
            "/v1/models" => send(stream, head, models.as_bytes()),
            "/openapi.json" => send(stream, "200 OK", INTERFACE.as_bytes()),
            _ => send(stream, "404 Not Found", br#"{"detail":"Not Found"}"#),
        });
        for dialect in [None, Some(ServerDialect::Vllm)] {
            let error = refused(&url, |model| model.server.dialect = dialect);
            assert!(error.contains("`transformers serve`, which gives no log-probabilities"), "{error}");
        }
    }
}
