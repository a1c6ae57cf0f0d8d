//! Workflows on real language models, as a user runs them. Compiled with a backend only.

// The hub of disco-lm's own tests.
#[allow(dead_code, reason = "its faults are tested there")]
#[path = "../../../disco-lm/tests/suite/hub_server.rs"]
mod hub_server;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use disco_core::Empirical;
use disco_lm::{Classifier, Completion, LabelValue, Overlong};
use hub_server::{COMMIT, HubServer};
use serde_json::Value;
use tempfile::TempDir;
use xtask::workspace_root;

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    // A hub without TLS, which takes no feature: it is never asked.
    command.args(arguments).env("HF_ENDPOINT", "http://127.0.0.1:1").env("HF_HUB_OFFLINE", "1");
    command
}

fn xtask(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

#[track_caller]
fn succeeds(arguments: &[&str]) -> String {
    let output = xtask(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn fails(arguments: &[&str]) -> String {
    let output = xtask(arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && output.stdout.is_empty(), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn golden(name: &str) -> PathBuf {
    let root =
        std::env::var_os("DISCO_GOLDEN").map_or_else(|| workspace_root().join("golden"), PathBuf::from);
    root.join(name)
}

/// A tokenizer of characters for the golden classifier, which comes without one.
fn classifier(place: &Path) {
    let folder = golden("distilbert-classifier");
    let target = place.join("classifier");
    fs::create_dir(&target).unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(folder.join(name), target.join(name)).unwrap();
    }
    let config: Value = serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap();
    let size = config["vocab_size"].as_u64().unwrap();
    let characters = (0..size - 1).map(|id| (char::from(b' ' + id as u8).to_string(), id));
    let vocabulary: BTreeMap<String, u64> = characters.chain([("[UNK]".to_string(), size - 1)]).collect();
    let tokenizer = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(?s)."}, "behavior": "Isolated", "invert": false},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[UNK]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"[UNK]": {"id": "[UNK]", "ids": [size - 1], "tokens": ["[UNK]"]}},
        },
        "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    });
    fs::write(target.join("tokenizer.json"), tokenizer.to_string()).unwrap();
}

/// A small run of the embedded model; `features` and `tune` are what differs.
fn spec(features: &str, tune: &str) -> String {
    format!(
        "seed = 5\n[model]\nsource = \"embedded\"\nmax_new_tokens = 6\ntop_k = 200\n[contexts]\nlist = [\"KING:\\n\", \"No\"]\n\
         {features}\n[fit]\nsamples = 400\n[tune]\nsteps = 3\nsamples_per_step = 32\n{tune}\n\
         [sample]\ncount = 64\nshown = 2\n"
    )
}

/// Runs a spec; gives the folder of its results and their summary.
fn run(place: &TempDir, spec: &str) -> (PathBuf, Value) {
    let (path, out) = (place.path().join("spec.toml"), place.path().join("out"));
    fs::write(&path, spec).unwrap();
    succeeds(&["run", path.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    let summary = serde_json::from_slice(&fs::read(out.join("summary.json")).unwrap()).unwrap();
    (out, summary)
}

#[test]
fn a_classifier_is_a_feature_from_spec_to_report() {
    let place = tempfile::tempdir().unwrap();
    classifier(place.path());
    let config: Value =
        serde_json::from_slice(&fs::read(place.path().join("classifier/config.json")).unwrap()).unwrap();
    let label = config["id2label"]["1"].as_str().unwrap();
    let device = disco_lm::Backend::Flex.device().unwrap();
    let loaded = Classifier::load(place.path().join("classifier"), &device, Overlong::Truncate).unwrap();
    let liked = loaded.feature("liked", label, LabelValue::Probability, 1.0).unwrap();
    // The means that can be reached depend on the golden model: a fifth of the way from the mean to the largest value can.
    let common =
        ["sample", "--model", "embedded", "--max-new-tokens", "6", "--top-k", "200", "--count", "200"];
    let drawn = lines(&succeeds(&[&common[..], &["--context", "KING:\n", "--context", "No"]].concat()));
    let texts: Vec<&str> = drawn.iter().map(|line| line["sample"]["text"].as_str().unwrap()).collect();
    let values = liked.of(&texts).unwrap();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let asked = mean + 0.2 * (values.iter().copied().fold(mean, f64::max) - mean);
    let features = format!(
        "[[features]]\nname = \"liked\"\nkind = \"classifier\"\nmodel = \"classifier\"\nlabel = \"{label}\"\n\
         truncate = true\nmean = {asked}\n"
    );
    let (out, summary) = run(&place, &spec(&features, "learning_rate = 0.0001"));
    let fitted = summary["features"][0]["fitted"]["value"].as_f64().unwrap();
    assert!((fitted - asked).abs() < 1e-6, "{fitted} for {asked}");
    let samples = lines(&fs::read_to_string(out.join("samples.jsonl")).unwrap());
    let values: Vec<f64> = samples.iter().map(|sample| sample["features"][0].as_f64().unwrap()).collect();
    let texts: Vec<&str> = samples.iter().map(|sample| sample["text"].as_str().unwrap()).collect();
    for (text, (value, expected)) in texts.iter().zip(values.into_iter().zip(liked.of(&texts).unwrap())) {
        assert!((value - expected).abs() < 1e-5, "{text:?}: {value}, the classifier says {expected}");
    }
}

#[test]
fn an_adapter_is_tuned_kept_and_drawn_from() {
    let place = tempfile::tempdir().unwrap();
    let features = "[[features]]\nname = \"a\"\nkind = \"contains\"\ntext = \"a\"\nmean = 0.9\n";
    let adapter =
        "learning_rate = 0.01\nadapter = { rank = 2, alpha = 4, target_modules = [\"q_proj\", \"v_proj\"] }";
    let (out, summary) = run(&place, &spec(features, adapter));
    assert_eq!(summary["spec"]["tune"]["adapter"]["rank"], 2);
    assert!(out.join("adapter").join("adapter_model.safetensors").is_file());
    // The merged weights, and the adapter beside those of the base, are one model.
    let (merged, beside) = (out.to_str().unwrap(), out.join("adapter"));
    let draw = |arguments: &[&str]| {
        let common =
            ["sample", "--context", "KING:\n", "--count", "3", "--seed", "4", "--max-new-tokens", "6"];
        lines(&succeeds(&[&common[..], arguments].concat()))
    };
    let merged = draw(&["--model", merged]);
    let beside = draw(&["--model", "embedded", "--top-k", "200", "--adapter", beside.to_str().unwrap()]);
    let base = draw(&["--model", "embedded", "--top-k", "200"]);
    let log_probs = |lines: &[Value]| -> Vec<f64> {
        lines.iter().map(|line| line["log_prob"].as_f64().unwrap()).collect()
    };
    assert_eq!(merged.len(), 3);
    for (merged, beside) in log_probs(&merged).into_iter().zip(log_probs(&beside)) {
        assert!((merged - beside).abs() < 1e-4, "{merged} and {beside}");
    }
    assert_ne!(log_probs(&merged), log_probs(&base), "nothing was tuned");
}

#[test]
fn samples_are_read_back_with_their_log_probabilities() {
    let place = tempfile::tempdir().unwrap();
    let (file, contexts) = (place.path().join("samples.jsonl"), place.path().join("contexts.txt"));
    fs::write(&contexts, "ROMEO:\nJULIET:\n").unwrap();
    let (path, contexts) = (file.to_str().unwrap(), contexts.to_str().unwrap());
    let common = ["sample", "--model", "embedded", "--max-new-tokens", "5", "--contexts", contexts];
    let draw = |seed: &str| {
        let said = succeeds(
            &[&common[..], &["--count", "20", "--seed", seed, "--temperature", "0.7", "--out", path]]
                .concat(),
        );
        assert!(said.is_empty(), "{said}");
        fs::read_to_string(&file).unwrap()
    };
    let first = draw("1");
    assert_eq!(draw("1"), first);
    assert_ne!(draw("2"), first);
    let read = Empirical::<String, Completion>::from_json_lines(&file).unwrap();
    assert_eq!(read.contexts(), ["ROMEO:", "JULIET:"]);
    assert_eq!(read.samples(&"JULIET:".to_string()).unwrap().len(), 20);

    // The most probable completion is one, and a beam finds one at least as probable as step by step.
    let greedy = lines(&succeeds(&[&common[..], &["--greedy"]].concat()));
    let beam =
        lines(&succeeds(&[&common[..], &["--beam", "6", "--count", "2", "--length-penalty", "0"]].concat()));
    assert_eq!((greedy.len(), beam.len()), (2, 4));
    for (greedy, beam) in greedy.iter().zip(beam.chunks(2)) {
        let [greedy, best, next] =
            [greedy, &beam[0], &beam[1]].map(|line| line["log_prob"].as_f64().unwrap());
        assert!(best >= next && best >= greedy - 1e-6, "{best}, {next}, {greedy}");
        assert_eq!(beam[0]["score"], beam[0]["log_prob"]);
    }
    assert!(greedy[0].get("score").is_none());
}

#[cfg(unix)]
#[test]
fn a_file_of_samples_is_for_whoever_may_read_other_files() {
    use std::os::unix::fs::PermissionsExt;
    let place = tempfile::tempdir().unwrap();
    let (out, other) = (place.path().join("samples.jsonl"), place.path().join("other"));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let draw = || {
        let common =
            ["sample", "--model", "embedded", "--context", "No", "--count", "1", "--max-new-tokens", "1"];
        succeeds(&[&common[..], &["--out", out.to_str().unwrap()]].concat());
        mode(&out)
    };
    fs::write(&other, "").unwrap();
    assert_eq!(draw(), mode(&other), "that of any new file");
    for kept in [0o600, 0o640, 0o664] {
        fs::set_permissions(&out, fs::Permissions::from_mode(kept)).unwrap();
        assert_eq!(draw(), kept, "that of the file it replaces");
    }
}

#[test]
fn what_only_the_model_knows_is_said_without_a_trace() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("samples.jsonl");
    let common = ["sample", "--model", "embedded", "--context", "No", "--out", out.to_str().unwrap()];
    for (arguments, expected) in [
        (&["--max-new-tokens", "9999"][..], "exceed the model's"),
        (&["--chat"], "no chat template"),
        (&["--adapter", "org/adapter"], "the hub is offline (HF_HUB_OFFLINE"),
    ] {
        let said = fails(&[&common[..], arguments].concat());
        assert!(said.contains(expected), "{said}");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "{arguments:?}");
    }
}

#[test]
fn an_id_of_the_hub_that_the_environment_names_is_as_good_as_a_folder() {
    let embedded = workspace_root().join("models").join("tiny-shakespeare");
    let names = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"];
    let server = HubServer::of_folder("org/tiny", &embedded, names);
    let home = tempfile::tempdir().unwrap();
    let draw = |model: &str, offline: &str| {
        let arguments =
            ["sample", "--model", model, "--context", "KING:\n", "--count", "3", "--max-new-tokens", "5"];
        let mut command = command(&arguments);
        command
            .env("HF_ENDPOINT", &server.endpoint)
            .env("HF_HOME", home.path())
            .env("HF_HUB_OFFLINE", offline);
        let output = command.output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (local, _) = draw("embedded", "1");
    let (_, said) = draw("org/tiny", "1");
    assert!(said.contains("lacks config.json, tokenizer.json, model.safetensors"), "{said}");
    let (fetched, said) = draw("org/tiny", "0");
    assert_eq!(fetched, local, "{said}");
    assert!(said.contains("fetch"), "{said}");
    server.requests();
    assert_eq!(draw(&format!("org/tiny@{COMMIT}"), "1").0, local);
    assert_eq!(server.requests(), Vec::<String>::new());
    // `bench` names models as `sample` does.
    let mut command =
        command(&["bench", "lm", "--model", "org/tiny", "--only", "load", "--repetitions", "1", "--json"]);
    let output = command.env("HF_HOME", home.path()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("org/tiny"), "{said}");
    let row: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(row["value"].as_f64().unwrap() > 0.0, "{row}");
    let (nothing, said) = draw("org/other", "0");
    assert!(nothing.is_empty() && said.contains("there is no such model, or it is private"), "{said}");
    assert!(said.contains(&server.endpoint), "{said}");
}
