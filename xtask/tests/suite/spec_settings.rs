//! The settings of a run: without tuning, changed by the command line, and written beside results.

use std::{fs, path::Path};

use xtask::{SpecError, read_spec};

/// The least that a spec must say.
const LEAST: &str = r#"
[model]
source = "embedded"
[contexts]
list = ["Once"]
[[features]]
name = "night"
kind = "contains"
text = "night"
mean = 0.5
"#;

fn read(text: &str) -> Result<xtask::Spec, SpecError> {
    read_spec("specs/mine.toml", text, Path::new("specs"))
}

#[test]
fn the_written_file_is_complete_and_gives_the_same_spec_from_any_folder() {
    let place = tempfile::tempdir().unwrap();
    let (files, other) = (place.path().join("files"), place.path().join("other"));
    fs::create_dir_all(&files).unwrap();
    fs::create_dir_all(&other).unwrap();
    fs::write(files.join("contexts.txt"), "Once\nTwice\n").unwrap();
    let text = LEAST.replace("list = [\"Once\"]", "file = \"contexts.txt\" # mine");
    let first = read_spec("mine.toml", &text, &files).unwrap();
    assert_eq!((first.title.as_str(), first.contexts.items.len()), ("mine", 2));
    assert!(first.written.contains("file = \"contexts.txt\" # mine"), "{}", first.written);
    assert_eq!(read_spec("run.toml", &first.written, &other).unwrap(), first);

    let text = format!("folder = \"../files\"\n{text}");
    let moved = read_spec("mine.toml", &text, &other).unwrap();
    assert_eq!(moved.contexts, first.contexts);
    assert_eq!(read_spec("run.toml", &moved.written, Path::new("nowhere")).unwrap(), moved);
    let error = read_spec("mine.toml", &text.replace("../files", "../file"), &other).unwrap_err();
    assert!(error.problems[0].message.starts_with("`folder` names no folder that is there"), "{error}");
}

#[test]
fn nothing_is_tuned_unless_the_file_says_so() {
    assert_eq!(read(LEAST).unwrap().tune.steps, 0);
    assert_eq!(read(&format!("{LEAST}[checkpoints]\nbest = \"ess\"\n")).unwrap().tune.steps, 0);
    assert_eq!(read(&format!("{LEAST}[tune]\n")).unwrap().tune.steps, 50);
    // Settings that contradict each other, or the features, when something is tuned.
    let always = LEAST.replace("mean = 0.5", "always = true");
    let tune = "[tune]\nsteps = 0\ndivergence = \"reverse-kl\"\nwarmup_steps = 3\ncontexts_per_step = 2\n";
    assert_eq!(read(&format!("{always}{tune}")).unwrap().tune.steps, 0);
    assert!(read(&format!("{always}{}", tune.replace("steps = 0", "steps = 9"))).is_err());
}
