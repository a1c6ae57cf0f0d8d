//! Runs on the listed texts whose features come from outside.

use std::{fs, path::Path, process::Command};

use xtask::{Spec, WEIGHTS, read_spec};

/// Whether there is a Python; says so where there is none.
pub(crate) fn has_python() -> bool {
    let found = Command::new("python3").arg("--version").output().is_ok_and(|python| python.status.success());
    if !found {
        eprintln!("left out: there is no `python3`");
    }
    found
}

/// A folder with scorers.py.
pub(crate) fn folder(scorers: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("scorers.py"), scorers).unwrap();
    folder
}

/// A run on the listed texts with these features.
pub(crate) fn spec(folder: &Path, features: &str, steps: usize) -> Spec {
    let text = format!(
        r#"
seed = 3
[model]
source = "embedded"
[contexts]
list = ["calm", "stormy"]
{features}
[fit]
samples = 1000
[tune]
steps = {steps}
samples_per_step = 64
contexts_per_step = 2
learning_rate = 0.02
[checkpoints]
every = 2
[sample]
count = 100
acceptance_rate = 0.2
"#
    );
    read_spec("test.toml", &text, folder).unwrap()
}

/// The tuned weights, and all samples with their features.
pub(crate) fn results(out: &Path) -> (Vec<u8>, Vec<u8>) {
    let weights = fs::read(out.join(WEIGHTS).join("softmax_table.json")).unwrap();
    (weights, fs::read(out.join("samples.jsonl")).unwrap())
}
