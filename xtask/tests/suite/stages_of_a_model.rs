//! The stages of a run of the embedded model, as commands with files between them.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

pub(crate) const SPEC: &str = r#"
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
[[features]]
name = "length"
kind = "length"
unit = "tokens"
[fit]
samples = 600
[tune]
steps = 2
samples_per_step = 32
learning_rate = 0.01
[sample]
count = 64
acceptance_rate = 0.7
"#;

/// Runs a command in a folder; its exit code, and all that it prints.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_xtask")).args(arguments).current_dir(folder).output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8_lossy(&printed).into_owned())
}

#[track_caller]
pub(crate) fn succeed(folder: &Path, arguments: &[&str]) -> String {
    let (code, printed) = run(folder, arguments);
    assert_eq!(code, 0, "{arguments:?}: {printed}");
    printed
}

fn lines(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn stages_with_files_between_give_the_bits_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("s.toml"), SPEC).unwrap();
    let same = |one: &str, other: &str| {
        assert!(fs::read(at.join(one)).unwrap() == fs::read(at.join(other)).unwrap(), "{one} {other}");
    };
    succeed(at, &["run", "s.toml", "--out", "run"]);
    succeed(at, &["measure", "s.toml", "--out", "measured"]);
    for shard in ["1/2", "2/2"] {
        let out = format!("shard{}", &shard[..1]);
        succeed(at, &["measure", "s.toml", "--shard", shard, "--out", &out]);
    }
    let shards = ["shard2/measured.jsonl", "shard1/measured.jsonl"];
    succeed(at, &["merge", shards[0], shards[1], "--out", "merged.jsonl"]);
    same("merged.jsonl", "measured/measured.jsonl");
    let (code, printed) = run(at, &["merge", shards[0], "--out", "half.jsonl"]);
    assert!(
        code == 1 && printed.contains("shard 1/2 is missing") && !at.join("half.jsonl").exists(),
        "{printed}"
    );
    // A file that is not as the list of its folder says, and one without a list.
    let whole = fs::read_to_string(at.join(shards[0])).unwrap();
    let cut = &whole[..whole.trim_end().rfind('\n').unwrap() + 1];
    for (place, words) in
        [(shards[0], "measured.jsonl"), ("cut.jsonl", "the end of a file, or a shard, is missing")]
    {
        fs::write(at.join(place), cut).unwrap();
        let (code, printed) = run(at, &["merge", shards[1], place, "--out", "half.jsonl"]);
        assert!(code == 1 && printed.contains(words) && !at.join("half.jsonl").exists(), "{printed}");
    }
    succeed(at, &["fit", "s.toml", "--samples", "merged.jsonl", "--out", "fitted"]);
    same("run/target.json", "fitted/target.json");
    succeed(at, &["tune", "s.toml", "--target", "fitted/target.json", "--out", "tuned"]);
    same("run/model/model.safetensors", "tuned/model/model.safetensors");
    for (stage, out) in [
        (&["measure", "s.toml"][..], "measured"),
        (&["fit", "s.toml", "--samples", "merged.jsonl"], "fitted"),
        (&["tune", "s.toml", "--target", "fitted/target.json"], "tuned"),
    ] {
        assert!(succeed(at, &[stage, &["--out", out]].concat()).contains("nothing to do"), "{stage:?}");
    }

    let target = ["--model", "tuned", "--target", "fitted/target.json"];
    for sampler in ["rejection", "sir", "imh"] {
        let out = format!("{sampler}.jsonl");
        succeed(
            at,
            &[&["sample"], &target[..], &["--accept", "5", "--sampler", sampler, "--out", &out]].concat(),
        );
        let drawn = lines(&at.join(&out));
        assert_eq!(drawn.len(), 10, "{sampler}");
        assert!(drawn.iter().all(|line| line["log_target"].is_f64() && line.get("log_prob").is_none()));
    }
    let few = ["--accept", "5", "--proposals", "1", "--out", "few.jsonl"];
    let (code, printed) = run(at, &[&["sample"], &target[..], &few].concat());
    assert!(code == 1 && printed.contains("of 10 samples were drawn, from 2 proposals"), "{printed}");
    assert!(lines(&at.join("few.jsonl")).len() <= 2);

    // The base scores its own samples as it drew them, and their log-scores under the target differ by the tilt alone.
    let of_base =
        ["--model", "embedded", "--target", "fitted/target.json", "--samples", "measured/measured.jsonl"];
    succeed(at, &[&["score"], &of_base[..], &["--out", "scored.jsonl"]].concat());
    for (scored, measured) in
        lines(&at.join("scored.jsonl")).iter().zip(lines(&at.join("measured/measured.jsonl")))
    {
        let number = |line: &Value, field: &str| line[field].as_f64().unwrap();
        assert!((number(scored, "log_prob") - number(&measured, "log_prob")).abs() < 1e-4);
        assert!((number(scored, "log_base") - number(scored, "log_prob")).abs() < 1e-4);
        assert_eq!(scored["features"], measured["features"]);
    }
    fs::write(at.join("texts.jsonl"), r#"{"context": "GREMIO:\n", "text": "No, sir."}"#).unwrap();
    let (code, printed) = run(at, &["score", "--model", "embedded", "--samples", "texts.jsonl"]);
    let found: Value =
        serde_json::from_str(printed.lines().find(|line| line.starts_with('{')).unwrap()).unwrap();
    assert!(code == 0 && found["log_prob"].as_f64().unwrap() < -1.0, "{printed}");
    assert_eq!(found["sample"]["text"], "No, sir.");
    let diagnosed = succeed(at, &["diagnose", "--target", "fitted/target.json", "--samples", "scored.jsonl"]);
    assert!(diagnosed.contains("comma") && diagnosed.contains("Pareto k"), "{diagnosed}");
}

/// Without a run that cuts completions at a length, a completion of any length has the log-probability with which it was drawn.
#[test]
fn completions_of_any_length_are_scored() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let mut all = String::new();
    for length in ["3", "7", "60"] {
        let sample = ["sample", "--model", "embedded", "--context", "GREMIO:\n", "--count", "6"];
        succeed(at, &[&sample[..], &["--max-new-tokens", length, "--out", "drawn.jsonl"]].concat());
        all.push_str(&fs::read_to_string(at.join("drawn.jsonl")).unwrap());
        fs::remove_file(at.join("drawn.jsonl")).unwrap();
    }
    fs::write(at.join("all.jsonl"), all).unwrap();
    succeed(at, &["score", "--model", "embedded", "--samples", "all.jsonl", "--out", "scored.jsonl"]);
    let scored = lines(&at.join("scored.jsonl"));
    assert_eq!(scored.len(), 18);
    for (drawn, scored) in lines(&at.join("all.jsonl")).iter().zip(&scored) {
        let of = |line: &Value| line["log_prob"].as_f64().unwrap();
        assert_eq!(drawn["sample"], scored["sample"]);
        assert!((of(drawn) - of(scored)).abs() < 1e-3, "{drawn} {scored}");
    }
}
