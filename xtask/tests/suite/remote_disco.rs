//! disco's own server as the place of a model: what `serve` gives is what the model gives here.

use std::{fs, path::Path, process::Command, sync::Arc};

use disco_core::{Distribution, Streams};
use disco_lm::{Completion, Decoding, Generation, LanguageModel, ServiceLimits};
use serde_json::{Value, json};
use xtask::{
    Asked, DrawRequest, Drawing, Engine, EngineLoad, LanguageModelEngine, ModelSpec, OnEvent, Prompt,
    Refusal, RemoteModel, RemoteSample, SamplingSettings, ServerSettings, TextContext, workspace_root,
};

use crate::{
    common::{
        http::Running,
        language_server::{Fault, Kind, language_server},
    },
    remote_model::model as on_server,
};

const CONTEXTS: [&str; 2] = ["KING RICHARD III:\n", "GREMIO:\n"];
/// Between a sequence in a batch and a pass over all of its tokens, in f32, for a sample of some tokens.
const TOLERANCE: f64 = 1e-4;

fn here(generation: Generation) -> LanguageModel {
    let device = "flex".parse::<disco_lm::Backend>().unwrap().device().unwrap();
    LanguageModel::load(workspace_root().join("models/tiny-shakespeare"), &device, generation).unwrap()
}

fn engine() -> LanguageModelEngine {
    LanguageModelEngine::start(here(Generation::default()), ServiceLimits::default()).unwrap()
}

fn start(engine: impl Engine) -> (Running, String) {
    let running = Running::start(Arc::new(engine), ServerSettings::default());
    let url = format!("http://{}/v1", running.address);
    (running, url)
}

/// The sample as the model here knows it.
fn completion(sample: &RemoteSample) -> Completion {
    Completion { tokens: sample.ids.clone(), text: sample.text.clone(), finished: sample.finished }
}

#[test]
fn samples_on_the_server_have_the_log_probabilities_of_the_model_here() {
    type Change = fn(&mut ModelSpec);
    let plain = Decoding::default();
    let cases: [(Change, Decoding); 2] = [
        (|_| {}, plain.clone()),
        (
            |model| {
                (model.temperature, model.top_p, model.typical_p) = (0.8, Some(0.9), Some(0.95));
                (model.repetition_penalty, model.penalize_context, model.min_new_tokens) = (1.2, true, 3);
            },
            Decoding {
                temperature: 0.8,
                top_p: 0.9,
                typical_p: 0.95,
                repetition_penalty: 1.2,
                min_new_tokens: 3,
                ..plain
            },
        ),
    ];
    let (_running, url) = start(engine());
    for (change, decoding) in cases {
        let model = here(Generation { decoding, max_new_tokens: 12, ..Generation::default() });
        let draw = |connections: usize| {
            let settings = on_server(&url, |model| {
                change(model);
                model.server.connections = connections;
            });
            let remote = RemoteModel::connect(&settings, CONTEXTS[0]).unwrap();
            let contexts = CONTEXTS.map(TextContext::from);
            let streams = [Streams::new(1, 40), Streams::new(2, 40)];
            let drawn = remote.sample_each(&contexts.iter().collect::<Vec<_>>(), &streams).unwrap();
            (remote, drawn)
        };
        let (remote, drawn) = draw(8);
        for (context, drawn) in CONTEXTS.iter().zip(&drawn) {
            let own: Vec<Completion> = drawn.iter().map(|sample| completion(&sample.value)).collect();
            let found = model.log_probs(context, &own.iter().collect::<Vec<_>>()).unwrap();
            for (sample, here) in drawn.iter().zip(found) {
                assert!((sample.log_prob - here).abs() < TOLERANCE, "{context}: {sample:?}, {here}");
            }
            assert!(own.iter().any(|sample| sample.finished) && own.iter().any(|sample| !sample.finished));
        }
        // The texts and the log-probabilities of a seed, to the bit, however many requests are under way.
        assert_eq!(draw(2).1, drawn);
        if !remote.scores_samples() {
            continue;
        }
        for context in CONTEXTS {
            let own = model.sample(context, &Streams::new(5, 20)).unwrap();
            let told = |Completion { tokens, text, finished }: &Completion| RemoteSample {
                text: text.clone(),
                ids: tokens.clone(),
                tokens: tokens.len(),
                finished: *finished,
            };
            let samples: Vec<RemoteSample> = own.iter().map(|sample| told(&sample.value)).collect();
            let scores = remote.log_probs(&context.into(), &samples.iter().collect::<Vec<_>>()).unwrap();
            for (score, sample) in scores.iter().zip(&own) {
                assert!((score - sample.log_prob).abs() < TOLERANCE, "{context}: {sample:?}, {score}");
            }
        }
    }
}

/// A model behind something that changes the settings of requests.
struct Overridden {
    engine: LanguageModelEngine,
    change: fn(&mut SamplingSettings),
}

impl Engine for Overridden {
    fn positions(&self) -> usize {
        self.engine.positions()
    }

    fn read(&self, asked: Asked) -> Result<Prompt, Refusal> {
        self.engine.read(asked)
    }

    fn text_after(&self, before: &[u32], tokens: &[u32]) -> Result<String, Refusal> {
        self.engine.text_after(before, tokens)
    }

    fn token_text(&self, id: u32) -> String {
        self.engine.token_text(id)
    }

    fn draw(&self, mut request: DrawRequest, on_event: OnEvent) -> Result<Box<dyn Drawing>, Refusal> {
        (self.change)(&mut request.sampling);
        self.engine.draw(request, on_event)
    }

    fn load(&self) -> EngineLoad {
        self.engine.load()
    }

    fn close(&self) {
        self.engine.close();
    }
}

#[test]
fn a_server_whose_settings_are_not_those_that_are_asked_for_is_refused() {
    type Override = fn(&mut SamplingSettings);
    let cases: [(f64, Override, &str); 4] = [
        (1.0, |sampling| sampling.top_k = 40, "something cuts tokens off"),
        (1.0, |sampling| sampling.top_p = 0.95, "something cuts tokens off"),
        (1.0, |sampling| sampling.min_p = 0.05, "something cuts tokens off"),
        (0.7, |sampling| sampling.temperature = 1.0, "those at temperature 1, and not those at 0.7"),
    ];
    for (temperature, change, told) in cases {
        let (_running, url) = start(Overridden { engine: engine(), change });
        let model = on_server(&url, |model| model.temperature = temperature);
        let error = RemoteModel::connect(&model, CONTEXTS[0]).unwrap_err().to_string();
        assert!(error.contains(told) && error.contains(&url), "{error}");
    }
}

/// Runs a command in a folder; its exit code, its standard output, and its standard error.
fn run(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_xtask")).args(arguments).current_dir(folder).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[track_caller]
fn lines(folder: &Path, arguments: &[&str]) -> Vec<Value> {
    let (code, printed, said) = run(folder, arguments);
    assert_eq!(code, 0, "{arguments:?}: {said}");
    printed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn spec(source: &str) -> String {
    format!(
        "seed = 2\n[model]\nsource = \"{source}\"\nmax_new_tokens = 8\n[contexts]\nlist = [\"KING RICHARD III:\\n\", \"GREMIO:\\n\"]\n\
         [[features]]\nname = \"comma\"\nkind = \"contains\"\ntext = \",\"\nmean = 0.6\n[fit]\nsamples = 100\n[sample]\ncount = \
         64\nacceptance_rate = 0.7\n"
    )
}

#[test]
fn stages_on_the_server_are_those_of_the_model_here() {
    let (_running, url) = start(engine());
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("server.toml"), spec(&url)).unwrap();
    fs::write(at.join("here.toml"), spec("embedded")).unwrap();
    lines(at, &["measure", "server.toml", "--out", "measured"]);
    lines(at, &["fit", "server.toml", "--samples", "measured/measured.jsonl", "--out", "fitted"]);
    let number =
        |line: &Value, field: &str| line[field].as_f64().unwrap_or_else(|| panic!("{field}: {line}"));
    let target = ["--target", "fitted/target.json", "--samples", "measured/measured.jsonl"];
    let there = lines(at, &[&["score", "--model", &url], &target[..]].concat());
    let here = lines(at, &[&["score", "--model", "embedded", "--spec", "here.toml"], &target[..]].concat());
    let measured = fs::read_to_string(at.join("measured/measured.jsonl")).unwrap();
    let measured: Vec<Value> = measured.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((measured.len(), there.len(), here.len()), (100, 100, 100));
    for ((measured, there), here) in measured.iter().zip(&there).zip(&here) {
        for scored in [there, here] {
            assert!((number(scored, "log_prob") - number(measured, "log_prob")).abs() < TOLERANCE);
            assert!((number(scored, "log_target") - number(here, "log_target")).abs() < TOLERANCE);
            assert_eq!(scored["features"], measured["features"]);
        }
    }

    let drawn = lines(
        at,
        &["sample", "--model", &url, "--context", CONTEXTS[1], "--count", "6", "--max-new-tokens", "8"],
    );
    assert_eq!(drawn.len(), 6);
    let mut file = String::new();
    for line in &drawn {
        file.push_str(&format!("{line}\n"));
    }
    fs::write(at.join("drawn.jsonl"), file).unwrap();
    let target = ["--target", "fitted/target.json", "--spec", "here.toml", "--samples", "drawn.jsonl"];
    let scored = lines(at, &[&["score", "--model", "embedded"], &target[..]].concat());
    for (drawn, scored) in drawn.iter().zip(&scored) {
        assert!((number(drawn, "log_prob") - number(scored, "log_prob")).abs() < TOLERANCE);
    }
    // By their ids on the server; and a text without ids, as the tokens of the running text.
    let text = json!({"context": CONTEXTS[1], "text": "No, sir.", "finished": false});
    fs::write(at.join("text.jsonl"), format!("{text}\n")).unwrap();
    let files = ["--samples", "drawn.jsonl", "--samples", "text.jsonl"];
    let scored = lines(at, &[&["score", "--model", &url], &files[..]].concat());
    for (drawn, scored) in drawn.iter().zip(&scored) {
        assert!((number(drawn, "log_prob") - number(scored, "log_prob")).abs() < TOLERANCE);
    }
    assert_eq!((scored.len(), &scored[6]["sample"]["text"]), (7, &json!("No, sir.")));
    let ended = json!({"context": CONTEXTS[1], "text": "No, sir."});
    fs::write(at.join("ended.jsonl"), format!("{ended}\n")).unwrap();
    let (code, _, said) = run(at, &["score", "--model", &url, "--samples", "ended.jsonl"]);
    assert!(code == 1 && said.contains("ended.jsonl, line 1: there are no token ids"), "{said}");

    let accepted = lines(at, &["sample", "--model", &url, "--target", "fitted/target.json", "--accept", "8"]);
    assert_eq!(accepted.len(), 16);
    let strange = language_server(Kind::Vllm, Fault::None);
    let (code, _, said) =
        run(at, &["sample", "--model", &strange, "--target", "fitted/target.json", "--accept", "8"]);
    assert!(code == 1 && said.contains("the tokens of its model are not those of the model at"), "{said}");
    // Another server, whose model has the same tokens, proposes.
    let (_other, other) = start(engine());
    let accepted =
        lines(at, &["sample", "--model", &other, "--target", "fitted/target.json", "--accept", "8"]);
    assert_eq!(accepted.len(), 16);
}

#[test]
fn commands_that_need_weights_say_so() {
    let (_running, url) = start(engine());
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("server.toml"), spec(&url)).unwrap();
    fs::write(at.join("here.toml"), format!("{}[tune]\nsteps = 2\n", spec("embedded"))).unwrap();
    lines(at, &["measure", "server.toml", "--out", "measured"]);
    lines(at, &["fit", "server.toml", "--samples", "measured/measured.jsonl", "--out", "fitted"]);
    let weights = "needs the model's weights here, and a server does not give them";
    let target = "fitted/target.json";
    for (arguments, told) in [
        (&["tune", "server.toml", "--target", target][..], "tuning needs its weights here"),
        (
            &["tune", "server.toml", "--set", "tune.steps=2", "--target", target],
            "tuning needs its weights here",
        ),
        (&["tune", "here.toml", "--policy", &url, "--target", target], weights),
        (&["serve", "--model", &url, "--port", "0"], weights),
        (&["bench", "lm", "--model", &url], weights),
        (
            &["sample", "--model", &url, "--context", "a", "--greedy"],
            "`--greedy` is not for a model on a server",
        ),
        (
            &["sample", "--model", &url, "--context", "a", "--beam", "3"],
            "`--beam` is not for a model on a server",
        ),
        (&["sample", "--model", &url, "--context", "a", "--chat"], "`--chat` is not for a model on a server"),
        (
            &["sample", "--model", "embedded", "--target", target, "--accept", "1"],
            "the base of the target runs on a server",
        ),
        (
            &["sample", "--model", &url, "--target", target, "--accept", "1", "--spec", "here.toml"],
            "the base of the target, \"embedded\", runs here",
        ),
    ] {
        let (code, printed, said) = run(at, arguments);
        let errors = said.lines().filter(|line| line.starts_with("error: ")).count();
        assert!(code == 1 && said.contains(told) && errors == 1, "{arguments:?}: {said}");
        assert!(printed.is_empty(), "{arguments:?}: {printed}");
    }
    assert_eq!(crate::common::names(at), ["fitted", "here.toml", "measured", "server.toml"]);
}
