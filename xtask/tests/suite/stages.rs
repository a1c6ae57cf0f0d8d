//! The stages that need no model, as commands, on the samples of a model whose texts can be listed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use xtask::{BaseModel, Fitted, ProgressTarget, RunPlan, Spec, TextScorers, fit, measure, read_spec};

use crate::common::speech::base;

const SPEC: &str = r#"
seed = 5
[model]
source = "embedded"
[contexts]
list = ["calm", "stormy"]
[[features]]
name = "king"
kind = "contains"
text = "king"
mean = 0.5
[[features]]
name = "stops"
kind = "count"
text = "."
mean = 0.9
[fit]
samples = 2000
[sample]
count = 500
acceptance_rate = 0.6
"#;

/// A folder with the run file, a file of samples of the base, and the fit of a run in this process.
struct Stored {
    folder: tempfile::TempDir,
    fitted: Fitted<crate::common::speech::Speech>,
}

impl Stored {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("spec.toml"), SPEC).unwrap();
        let spec = spec();
        let plan = RunPlan::new(&spec, &TextScorers::new(), ProgressTarget::Hidden).unwrap();
        let base = base(&spec.contexts.items);
        let measured = measure(&plan, &BaseModel::new(disco_tuner::Policy::freeze(&base).unwrap())).unwrap();
        let mut indices = [0, 0];
        let mut lines = String::new();
        for sample in &measured.record.samples {
            let index = &mut indices[usize::from(sample.context == "stormy")];
            let line = json!({
                "context": sample.context, "index": *index, "log_prob": sample.log_prob, "log_base": sample.log_prob,
                "sample": {"text": sample.text, "tokens": sample.tokens, "finished": sample.finished},
                "features": {"king": sample.features[0], "stops": sample.features[1]},
            });
            *index += 1;
            lines.push_str(&format!("{line}\n"));
        }
        fs::write(folder.path().join("samples.jsonl"), lines).unwrap();
        Self { folder, fitted: fit(&plan, &measured).unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a command in the folder; its exit code, and all that it prints.
    fn run(&self, arguments: &[&str]) -> (i32, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(arguments)
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        let printed = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(printed).unwrap())
    }

    /// The command "fit", with the samples of a file.
    fn fit(&self, samples: &str, more: &[&str]) -> (i32, String) {
        self.run(&[&["fit", "spec.toml", "--samples", samples, "--out", "fitted"], more].concat())
    }

    /// The samples with a line changed.
    fn change(&self, line: usize, change: impl FnOnce(&mut Value)) {
        let text = fs::read_to_string(self.path("samples.jsonl")).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let mut value: Value = serde_json::from_str(&lines[line - 1]).unwrap();
        change(&mut value);
        lines[line - 1] = value.to_string();
        fs::write(self.path("changed.jsonl"), lines.join("\n")).unwrap();
    }
}

fn spec() -> Spec {
    read_spec("spec.toml", SPEC, Path::new("")).unwrap()
}

#[test]
fn a_fit_of_stored_samples_is_that_of_the_run_to_the_byte() {
    let stored = Stored::new();
    let (code, printed) = stored.fit("samples.jsonl", &[]);
    assert_eq!(code, 0, "{printed}");
    let expected = stored.path("expected.json");
    stored.fitted.fit.save(&expected).unwrap();
    let target = fs::read(stored.path("fitted/target.json")).unwrap();
    assert!(target == fs::read(expected).unwrap());
    // Once more: nothing is to be done, unless it is asked for, or an input is another.
    assert!(stored.fit("samples.jsonl", &[]).1.contains("nothing to do"));
    assert!(!stored.fit("samples.jsonl", &["--force"]).1.contains("nothing to do"));
    assert!(!stored.fit("samples.jsonl", &["--seed", "6"]).1.contains("nothing to do"));
    fs::write(stored.path("fitted/target.json"), "{}").unwrap();
    let (code, printed) = stored.fit("samples.jsonl", &["--seed", "6"]);
    assert!(code == 1 && !printed.contains("nothing to do"), "a changed folder is nobody's: {printed}");
}

#[test]
fn bare_lines_of_other_programs_are_fitted() {
    let stored = Stored::new();
    let text = fs::read_to_string(stored.path("samples.jsonl")).unwrap();
    let bare = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let mine = json!({"prompt": line["context"], "completion": line["sample"]["text"], "log_prob": line["log_prob"], "mine": [1]});
        mine.to_string()
    };
    let lines: Vec<String> = text.lines().map(bare).collect();
    fs::write(stored.path("bare.jsonl"), lines.join("\r\n")).unwrap();
    let (code, printed) = stored.fit("bare.jsonl", &[]);
    assert_eq!(code, 0, "{printed}");
    let expected = stored.path("expected.json");
    stored.fitted.fit.save(&expected).unwrap();
    assert!(fs::read(stored.path("fitted/target.json")).unwrap() == fs::read(expected).unwrap());
}

#[test]
fn lines_that_no_model_can_have_drawn_are_named() {
    let stored = Stored::new();
    let set = |field: &'static str, value: Value| move |line: &mut Value| line[field] = value;
    type Change = Box<dyn FnOnce(&mut Value)>;
    let cases: [(Change, &str); 9] = [
        (Box::new(set("log_prob", json!(0.5))), "`log_prob` is 0.5; allowed: a finite number, at most 0"),
        (Box::new(set("log_prob", json!("-inf"))), "`log_prob` is -inf"),
        (Box::new(set("log_prob", json!(null))), "there is no `log_prob`"),
        (Box::new(set("log_prob", json!(-1e-9))), "sum to 1."),
        (Box::new(set("context", json!("rainy"))), "the context \"rainy\" is none of the 2 contexts"),
        (Box::new(set("sample", json!(3))), "did not match any variant"),
        (Box::new(set("text", json!("twice"))), "both `sample` and `text`"),
        (
            Box::new(set("features", json!({"king": 7.0}))),
            "`king` is 7, but its definition in the run file gives",
        ),
        (Box::new(set("log_base", json!(null))), "there is no `log_base`, which other lines have"),
    ];
    for (change, expected) in cases {
        stored.change(3, change);
        let (code, printed) = stored.fit("changed.jsonl", &[]);
        assert!(code == 1 && printed.contains(expected), "{expected}: {printed}");
        assert!(printed.contains("changed.jsonl"), "{printed}");
        assert!(!stored.path("fitted").exists());
    }
    for (content, expected) in
        [("", "there is no sample in this file"), ("[1]\n", "changed.jsonl"), ("{\n", "EOF")]
    {
        fs::write(stored.path("changed.jsonl"), content).unwrap();
        let (code, printed) = stored.fit("changed.jsonl", &[]);
        assert!(code == 1 && printed.contains(expected), "{expected}: {printed}");
    }
    assert!(stored.fit("nowhere.jsonl", &[]).1.contains("nowhere.jsonl"));
}

#[test]
fn shards_become_the_file_of_one_process() {
    let stored = Stored::new();
    let whole = fs::read_to_string(stored.path("samples.jsonl")).unwrap();
    let mut by_context = String::new();
    for context in ["calm", "stormy"] {
        let own = whole.lines().filter(|line| line.contains(&format!("\"context\":\"{context}\"")));
        own.for_each(|line| by_context.push_str(&format!("{line}\n")));
    }
    let part = |parity: u64| -> String {
        let is_in = |line: &&str| {
            serde_json::from_str::<Value>(line).unwrap()["index"].as_u64().unwrap() % 2 == parity
        };
        by_context.lines().filter(is_in).map(|line| format!("{line}\n")).collect()
    };
    fs::write(stored.path("a.jsonl"), part(0)).unwrap();
    fs::write(stored.path("b.jsonl"), part(1)).unwrap();
    let (code, printed) = stored.run(&["merge", "a.jsonl", "b.jsonl", "--out", "all.jsonl"]);
    assert_eq!(code, 0, "{printed}");
    assert!(fs::read_to_string(stored.path("all.jsonl")).unwrap() == by_context);
    for (files, expected) in [
        (["a.jsonl", "a.jsonl"], "is there twice: the shards overlap"),
        (["b.jsonl", "bare.jsonl"], "there is no `index`"),
    ] {
        fs::write(stored.path("bare.jsonl"), r#"{"context": "calm", "sample": "x", "log_prob": -1}"#)
            .unwrap();
        let (code, printed) = stored.run(&["merge", files[0], files[1], "--out", "other.jsonl"]);
        assert!(code == 1 && printed.contains(expected), "{expected}: {printed}");
    }
    let (code, printed) = stored.run(&["merge", "b.jsonl", "--out", "other.jsonl"]);
    assert!(code == 1 && printed.contains("a shard is missing"), "{printed}");
    assert!(!stored.path("other.jsonl").exists());
    fs::write(stored.path("mine.txt"), "mine").unwrap();
    assert_eq!(stored.run(&["merge", "a.jsonl", "b.jsonl", "--out", "mine.txt"]).0, 1);
    assert_eq!(fs::read_to_string(stored.path("mine.txt")).unwrap(), "mine");
}

#[test]
fn a_diagnosis_has_the_numbers_of_the_fit() {
    let stored = Stored::new();
    assert_eq!(stored.fit("samples.jsonl", &[]).0, 0);
    let diagnose = |more: &[&str]| {
        let fixed =
            ["diagnose", "--target", "fitted/target.json", "--spec", "spec.toml", "--out", "numbers.json"];
        stored.run(&[&fixed, more].concat())
    };
    let (code, printed) = diagnose(&["--samples", "samples.jsonl"]);
    assert_eq!(code, 0, "{printed}");
    let numbers: Value = serde_json::from_slice(&fs::read(stored.path("numbers.json")).unwrap()).unwrap();
    let record = &stored.fitted.record;
    for (found, expected) in numbers[0]["distances"].as_array().unwrap().iter().zip(&record.base_distances) {
        let value = found["estimate"]["value"].as_f64().unwrap();
        assert!(
            (value - expected.value).abs() <= 1e-12 * (1.0 + expected.value.abs()),
            "{found} {expected:?}"
        );
    }
    for (found, expected) in numbers[0]["features"].as_array().unwrap().iter().zip([0.5, 0.9]) {
        let value = found["target"]["value"].as_f64().unwrap();
        // The coefficients were fitted on three quarters of these samples.
        assert!((value - expected).abs() < 5.0 * found["target"]["std_error"].as_f64().unwrap(), "{found}");
    }
    assert_eq!(numbers[0]["samples"], 2000);
    assert_eq!(numbers[0]["contexts"].as_array().unwrap().len(), 2);
    stored.change(3, |line| line["log_base"] = json!(null));
    let (code, printed) = diagnose(&["--samples", "changed.jsonl"]);
    assert!(code == 1 && printed.contains("there is no `log_base`"), "{printed}");
    let (code, printed) = diagnose(&["--samples", "changed.jsonl", "--from-base"]);
    assert_eq!(code, 0, "{printed}");
    let (code, printed) = stored.run(&["diagnose", "--target", "spec.toml", "--samples", "samples.jsonl"]);
    assert!(code == 1 && printed.contains("spec.toml"), "{printed}");
}

#[test]
fn samples_that_would_count_twice_and_numbers_of_tokens_that_cannot_be_are_refused() {
    let stored = Stored::new();
    assert_eq!(stored.fit("samples.jsonl", &[]).0, 0);
    let text = fs::read_to_string(stored.path("samples.jsonl")).unwrap();
    fs::write(stored.path("copy.jsonl"), &text).unwrap();
    let first = text.lines().next().unwrap();
    fs::write(stored.path("doubled.jsonl"), format!("{text}{first}\n")).unwrap();
    let diagnose = ["diagnose", "--target", "fitted/target.json", "--spec", "spec.toml"];
    let fit = ["fit", "spec.toml", "--out", "refused"];
    for command in [&diagnose[..], &fit] {
        for (files, expected) in [
            (&["samples.jsonl", "copy.jsonl"][..], "samples.jsonl and copy.jsonl have the same samples"),
            (&["samples.jsonl", "samples.jsonl"], "have the same samples"),
            (
                &["doubled.jsonl"],
                "doubled.jsonl, line 2001: the sample with `index` 0 of this context is in line 1",
            ),
        ] {
            let samples: Vec<&str> = files.iter().flat_map(|file| ["--samples", *file]).collect();
            let (code, printed) = stored.run(&[command, &samples].concat());
            assert!(code == 1 && printed.contains(expected), "{command:?}: {printed}");
        }
    }
    stored.change(7, |line| line["sample"]["tokens"] = 1_000_000_000_000_000_u64.into());
    let (code, printed) = stored.fit("changed.jsonl", &["--force"]);
    assert!(
        code == 1 && printed.contains("changed.jsonl, line 7") && printed.contains("at most 1000000000"),
        "{printed}"
    );
    assert!(!stored.path("refused").exists());
}

#[test]
fn a_stage_replaces_none_of_its_inputs_and_no_results_of_another_stage() {
    let stored = Stored::new();
    assert_eq!(stored.fit("samples.jsonl", &[]).0, 0);
    fs::create_dir(stored.path("inner")).unwrap();
    fs::copy(stored.path("samples.jsonl"), stored.path("inner/samples.jsonl")).unwrap();
    let read = |name: &str| fs::read(stored.path(name)).unwrap();
    let (samples, target) = (read("samples.jsonl"), read("fitted/target.json"));
    let (fit, own) = (["fit", "spec.toml", "--force", "--samples"], "is read for them");
    let diagnose =
        ["diagnose", "--target", "fitted/target.json", "--spec", "spec.toml", "--samples", "samples.jsonl"];
    for (command, out, expected) in [
        (&["merge", "samples.jsonl"][..], "./inner/../samples.jsonl", own),
        (&["score", "--model", "embedded", "--samples", "samples.jsonl"], "samples.jsonl", own),
        (&diagnose, "samples.jsonl", own),
        (&diagnose, "fitted/new.json", "lists all its files"),
        (&[&fit[..], &["inner/samples.jsonl"]].concat(), "inner", own),
        (&[&fit[..], &["fitted/target.json"]].concat(), "fitted", own),
        (&["measure", "spec.toml", "--force"], "fitted", "it has the results of the stage `fit`"),
        (&["tune", "spec.toml", "--target", "fitted/target.json"], "fitted", own),
        (&["run", "spec.toml"], "fitted", "it has the results of the stage `fit`"),
    ] {
        let (code, printed) = stored.run(&[command, &["--out", out]].concat());
        let is_told = printed.contains(&format!("results cannot go to {out}")) && printed.contains(expected);
        assert!(code == 1 && is_told, "{command:?}: {printed}");
        assert!(read("samples.jsonl") == samples && read("fitted/target.json") == target, "{command:?}");
        assert!(read("inner/samples.jsonl") == samples, "{command:?}");
    }
    assert_eq!(stored.fit("samples.jsonl", &["--force"]).0, 0);
}
