//! Models on servers: their samples, scores and runs, against a small model whose probabilities are known.

use std::path::Path;

use disco_core::{Distribution, Scorer, Streams};
use xtask::{
    BaseModel, ModelRecord, ModelSource, ModelSpec, RemoteModel, RemoteSample, ServerDialect, TextContext,
    TextScorers, Untuned, read_spec, run_untuned_workflow,
};

use crate::common::{
    language_server::{Fault, Kind, PART, PLAIN, Settings, language_server, log_prob},
    speech::control,
};

const KINDS: [Kind; 2] = [Kind::Vllm, Kind::LlamaCpp];
/// Numbers of JSON, and sums in another order.
const ROUNDING: f64 = 1e-9;

/// The model on a server, changed by `change`.
pub(crate) fn model(url: &str, change: impl FnOnce(&mut ModelSpec)) -> ModelSpec {
    let text = "[model]\nsource = \"embedded\"\n[contexts]\nlist = [\"Once\"]\n[[features]]\nname = \"w\"\nkind = \"contains\"\n\
                text = \"w1\"\nmean = 0.5\n";
    let mut model = read_spec("test.toml", text, Path::new("")).unwrap().model;
    model.source = ModelSource::Server(url.into());
    model.max_new_tokens = 12;
    model.server.timeout = 30.0;
    model.server.tries = 1;
    change(&mut model);
    model
}

fn close(one: f64, other: f64) -> bool {
    (one - other).abs() < ROUNDING
}

#[test]
fn samples_have_their_log_probabilities_in_each_dialect() {
    for kind in KINDS {
        let url = language_server(kind, Fault::None);
        let remote = RemoteModel::connect(&model(&url, |_| {}), "Once").unwrap();
        let contexts: Vec<TextContext> = ["Once", "upon"].map(TextContext::from).to_vec();
        let streams = [Streams::new(1, 60), Streams::new(2, 40)];
        let drawn = remote.sample_each(&contexts.iter().collect::<Vec<_>>(), &streams).unwrap();
        assert_eq!(drawn.iter().map(Vec::len).collect::<Vec<_>>(), [60, 40]);
        for (context, drawn) in contexts.iter().zip(&drawn) {
            for sample in drawn {
                let exact = log_prob(context.text(), &sample.value.ids, &PLAIN);
                assert!(close(sample.log_prob, exact), "{kind:?}: {sample:?}, {exact}");
                assert_eq!(sample.value.tokens, sample.value.ids.len());
            }
        }
        let all: Vec<&RemoteSample> = drawn.iter().flatten().map(|sample| &sample.value).collect();
        // Both ends of a sample are among them, and in llama.cpp's dialect tokens whose probability is left out.
        assert!(all.iter().any(|sample| sample.finished) && all.iter().any(|sample| !sample.finished));
        assert!(all.iter().any(|sample| sample.ids.contains(&PART)));
    }
}

#[test]
fn samples_depend_neither_on_the_number_of_connections_nor_on_the_request() {
    for kind in KINDS {
        let url = language_server(kind, Fault::None);
        let draw = |connections: usize, streams: &[Streams]| {
            let change = |model: &mut ModelSpec| model.server.connections = connections;
            let remote = RemoteModel::connect(&model(&url, change), "Once").unwrap();
            let draw = |streams: &Streams| remote.sample(&"Once".into(), streams).unwrap();
            streams.iter().flat_map(draw).collect::<Vec<_>>()
        };
        let whole = Streams::new(5, 30);
        let expected = draw(1, std::slice::from_ref(&whole));
        assert_eq!(draw(7, &whole.chunks(4).collect::<Vec<_>>()), expected);
    }
}

#[test]
fn settings_are_part_of_the_distribution_in_each_dialect() {
    let settings = Settings { temperature: 0.7, top_k: 9, min_p: 0.1 };
    for kind in KINDS {
        let url = language_server(kind, Fault::WholeCharacters);
        let change = |model: &mut ModelSpec| {
            (model.temperature, model.top_k, model.min_p) = (0.7, Some(9), Some(0.1));
        };
        let remote = RemoteModel::connect(&model(&url, change), "Once").unwrap();
        let context = TextContext::from("Once");
        let drawn = remote.sample(&context, &Streams::new(1, 40)).unwrap();
        for sample in &drawn {
            let exact = log_prob("Once", &sample.value.ids, &settings);
            assert!(close(sample.log_prob, exact), "{kind:?}: {sample:?}, {exact}");
        }
        // Its own samples have the log-probabilities with which they were drawn. Others cannot be scored.
        let own = remote.log_probs(&context, &drawn.iter().map(|sample| &sample.value).collect::<Vec<_>>());
        assert_eq!(own.unwrap(), drawn.iter().map(|sample| sample.log_prob).collect::<Vec<_>>());
        let other = RemoteSample { text: " w1".into(), ids: vec![1], tokens: 1, finished: false };
        let error = remote.log_probs(&context, &[&other]).unwrap_err().to_string();
        assert!(error.contains("temperature 1, no truncation and no penalty"), "{error}");
        assert!(!remote.scores_samples());
    }
}

#[test]
fn samples_of_others_are_scored_by_their_ids() {
    for kind in KINDS {
        let url = language_server(kind, Fault::None);
        let remote = RemoteModel::connect(&model(&url, |_| {}), "Once").unwrap();
        let sample = |ids: &[u32]| RemoteSample {
            text: "any".into(),
            ids: ids.to_vec(),
            tokens: ids.len(),
            finished: false,
        };
        for ids in [&[3][..], &[3, PART, 59], &[PART], &[40, 40, 40, 2]] {
            let scores = remote.log_scores(&"upon".into(), &[&sample(ids)]).unwrap();
            let (found, exact) = (*scores[0].as_ref().unwrap(), log_prob("upon", ids, &PLAIN));
            assert!(close(found, exact), "{kind:?} {ids:?}: {found}, {exact}");
        }
        let error = remote.log_scores(&"upon".into(), &[&sample(&[])]).unwrap_err().to_string();
        assert!(error.contains("by the ids of its tokens, and this one has none"), "{error}");
    }
}

#[test]
fn the_kind_of_server_is_found_unless_it_is_given() {
    for (kind, found, other) in
        [(Kind::Vllm, "vllm", ServerDialect::LlamaCpp), (Kind::LlamaCpp, "llama.cpp", ServerDialect::Vllm)]
    {
        let url = language_server(kind, Fault::None);
        let facts = RemoteModel::connect(&model(&url, |_| {}), "Once").unwrap().facts();
        assert_eq!((facts["dialect"].as_str(), facts["server"].as_str()), (found, url.as_str()));
        let wrong = model(&url, |model| model.server.dialect = Some(other));
        let error = RemoteModel::connect(&wrong, "Once").unwrap_err().to_string();
        assert!(error.contains("404 Not Found"), "{error}");
    }
}

/// A run whose model is on a server: every stage but tuning, with samples that are never scored by the server.
#[test]
fn a_run_fits_and_samples_on_a_server() {
    for kind in KINDS {
        let folder = tempfile::tempdir().unwrap();
        let text = "[model]\nsource = \"embedded\"\ntemperature = 0.9\nmax_new_tokens = 8\n[contexts]\nlist = [\"Once\", \"upon\"]\n\
                    [[features]]\nname = \"w\"\nkind = \"contains\"\ntext = \"w1\"\nmean = 0.7\n[fit]\nsamples = 400\n\
                    [sample]\ncount = 400\nacceptance_rate = 0.5\n";
        let mut spec = read_spec("test.toml", text, Path::new("")).unwrap();
        let url = language_server(kind, Fault::WholeCharacters);
        spec.model.source = ModelSource::Server(url.clone());
        spec.tune.steps = 0;
        let load = || {
            let base = RemoteModel::connect(&spec.model, "Once")?;
            let record = ModelRecord { name: url.clone(), facts: base.facts() };
            Ok(Untuned { base: BaseModel::new(base), scorers: TextScorers::new(), record })
        };
        let out = folder.path().join("out");
        let control = control(xtask::StartMode::New);
        let (_, record) = run_untuned_workflow(&spec, &out, &control, load).unwrap();
        let qrs = record.qrs.unwrap();
        let mean = qrs.means[0];
        assert!((mean.value - 0.7).abs() < 5.0 * mean.std_error.max(0.02), "{kind:?}: {mean:?}");
        assert!(record.tuning.is_none());
        for file in ["target.json", "report.html", "samples.jsonl", "summary.json"] {
            assert!(out.join(file).is_file(), "{file}");
        }
        assert!(!out.join(xtask::WEIGHTS).exists());
    }
}
