//! `--dry-run`: what it says of a run, what it refuses, and that it leaves nothing behind; and the lines of `[log.console]`.

use std::{fs, path::Path, process::Command};

use disco_tuner::LockFile;
use serde_json::Value;

use crate::common::{
    language_server::{Fault, Kind, language_server},
    names,
};

const SPEC: &str = r#"
seed = 2
[model]
source = "embedded"
max_new_tokens = 8
[contexts]
list = ["KING RICHARD III:\n", "GREMIO:\n"]
[[features]]
name = "comma"
kind = "contains"
text = ","
mean = 0.6
[fit]
samples = 600
[tune]
steps = 4
samples_per_step = 32
learning_rate = 0.01
[sample]
count = 64
acceptance_rate = 0.7
"#;

/// Runs a command in a folder; gives its exit code, what it prints, and what it says.
fn run(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    // A hub that cannot be reached, with an empty cache.
    command.env("HF_ENDPOINT", "http://127.0.0.1:9").env("HF_HOME", folder.join("hub"));
    command.env_remove("HF_HUB_CACHE").env_remove("HUGGINGFACE_HUB_CACHE");
    let output = command.args(arguments).current_dir(folder).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap().replace('\u{202f}', "");
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The number of samples in the row of a stage.
fn samples(table: &str, stage: &str) -> Option<usize> {
    let row = table.lines().find_map(|line| line.strip_prefix(stage))?;
    row.split_whitespace().next()?.parse().ok()
}

/// The megabytes that are needed of `what`.
fn megabytes(table: &str, what: &str) -> f64 {
    let line = table.lines().find(|line| line.starts_with(what)).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    words[words.iter().position(|word| *word == "MB").unwrap() - 1].parse().unwrap()
}

#[test]
fn a_dry_run_tells_the_cost_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("s.toml"), SPEC).unwrap();
    let (code, table, said) = run(at, &["run", "s.toml", "--dry-run", "--out", "deep/run"]);
    assert_eq!((code, said.as_str()), (0, ""), "{table}");
    assert_eq!(names(at), ["s.toml"]);
    for (stage, count) in [("measure base", 600), ("tune", 128), ("sample and score", 64), ("reject", 64)] {
        assert_eq!(samples(&table, stage), Some(count), "{stage}: {table}");
    }
    assert!(table.ends_with("\nnothing was written; the same command without --dry-run starts\n"), "{table}");
    let shard = ["measure", "s.toml", "--shard", "1/2", "--dry-run", "--out", "shard"];
    let (code, of_shard, _) = run(at, &shard);
    assert_eq!((code, samples(&of_shard, "measure base")), (0, Some(300)), "{of_shard}");
    assert!(!of_shard.contains("\ntune") && names(at) == ["s.toml"], "{of_shard}");

    let mut console = SPEC
        .replace("[sample]", "[log]\nconsole = { every = 2, metrics = [\"js_target_policy\"] }\n[sample]");
    console = console.replace("learning_rate", "metrics_every = 3\nlearning_rate");
    fs::write(at.join("s.toml"), console).unwrap();
    let (code, _, said) = run(at, &["run", "s.toml", "--out", "run"]);
    assert_eq!(code, 0, "{said}");
    let record: Value =
        serde_json::from_str(&fs::read_to_string(at.join("run/record.json")).unwrap()).unwrap();
    if let Some(peak) = record["peak_memory_bytes"].as_f64() {
        let ratio = megabytes(&table, "memory") / (peak / 1e6);
        assert!((0.5..2.0).contains(&ratio), "{ratio} of {peak}: {table}");
    }
    // Steps 1 and 4 are measured, the latter as the last one.
    let lines: Vec<&str> = said.lines().filter(|line| line.contains(" step ")).collect();
    let is_line = |line: &str, step| line.contains(&format!("step {step}/4  js_target_policy "));
    assert!(lines.len() == 2 && is_line(lines[0], 2) && is_line(lines[1], 4), "{said}");

    let tune = ["tune", "s.toml", "--target", "run/target.json", "--dry-run", "--out", "tuned"];
    let (code, table, said) = run(at, &tune);
    assert_eq!((code, samples(&table, "tune"), samples(&table, "measure")), (0, Some(128), None), "{said}");
    let hidden = ["run", "s.toml", "--set", "log.console.every=0", "--out", "quiet"];
    let (code, _, said) = run(at, &hidden);
    assert!(code == 0 && !said.contains("tune") && said.contains("measure base"), "{said}");
    let wrong = ["run", "s.toml", "--set", "log.console.metrics=[\"moment/coma/policy\"]"];
    let (code, _, said) = run(at, &wrong);
    assert!(code == 1 && said.contains("did you mean `moment/comma/policy`?"), "{said}");
}

#[test]
fn a_dry_run_refuses_what_the_run_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let command = "[[features]]\nname = \"c\"\nkind = \"command\"\nrun = [\"sh\", \"-c\", \"exit 3\"]\n[fit]";
    for (name, from, to) in [
        ("plain", "seed = 2", "seed = 2"),
        ("bad", "mean = 0.6", "mean = 6"),
        ("log", "[sample]", "[log]\njsonl = \"no/such/file.jsonl\"\n[sample]"),
        ("folder", "[sample]", "[log]\ncsv = \".\"\n[sample]"),
        ("command", "[fit]", command),
    ] {
        assert!(SPEC.contains(from));
        fs::write(at.join(format!("{name}.toml")), SPEC.replace(from, to)).unwrap();
    }
    fs::create_dir(at.join("mine")).unwrap();
    fs::write(at.join("mine/thesis.tex"), "mine").unwrap();
    fs::write(at.join("file"), "mine").unwrap();
    fs::create_dir(at.join("cut")).unwrap();
    fs::write(at.join("cut/config.json"), "{\"model_type\": \"llama\"}").unwrap();
    let lock = LockFile::take(&at.join(".held.lock")).unwrap();
    let before = names(at);
    for (spec, out, more, expected) in [
        ("bad", "run", &[][..], "`features.1.mean` is 6"),
        ("log", "run", &[], "no/such/file.jsonl"),
        ("folder", "run", &[], "Is a directory"),
        ("command", "run", &[], "exit"),
        ("plain", "mine", &[], "is no folder of earlier results"),
        ("plain", "file", &[], "it is a file"),
        ("plain", "file/x", &[], "error: cannot write "),
        ("plain", "held", &[], "process "),
        ("plain", "run", &["--model", "cut"], "cut"),
        ("plain", ".", &[], "the command runs in this folder"),
    ] {
        let spec = format!("{spec}.toml");
        let arguments = [&["run", &spec, "--out", out], more].concat();
        let (code, _, said) = run(at, &arguments);
        assert!(code == 1 && said.contains(expected), "{arguments:?}: {said}");
        let (dry_code, table, dry) = run(at, &[&arguments[..], &["--dry-run"]].concat());
        let plain = |said: &str| said.replace(" --dry-run", "");
        // The system names the place that it could not make in different ways.
        let is_same = if out == "file/x" { dry.contains(expected) } else { plain(&dry) == plain(&said) };
        assert!(dry_code == 1 && is_same && table.is_empty(), "{arguments:?}: {said}\n{dry}");
        assert_eq!(names(at), before, "{arguments:?}");
    }
    drop(lock);
}

#[test]
fn a_model_of_a_hub_is_not_downloaded_and_one_on_a_server_is_probed() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("s.toml"), SPEC).unwrap();
    let (code, table, said) = run(at, &["run", "s.toml", "--model", "org/name", "--dry-run", "--out", "run"]);
    assert!(
        code == 0 && table.contains("not in the cache of the hub") && table.contains("org/name"),
        "{said}"
    );
    assert_eq!(names(at), ["s.toml"]);

    let url = language_server(Kind::Vllm, Fault::None);
    let text = SPEC.replace("steps = 4", "steps = 0").replace("text = \",\"", "text = \"w1\"");
    fs::write(at.join("s.toml"), text).unwrap();
    let (code, table, said) = run(at, &["run", "s.toml", "--model", &url, "--dry-run", "--out", "run"]);
    assert_eq!(
        (code, samples(&table, "measure base"), samples(&table, "tune")),
        (0, Some(600), None),
        "{said}"
    );
    assert_eq!(names(at), ["s.toml"]);
}
