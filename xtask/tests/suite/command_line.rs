//! Bad input ends with a message and a code that is not zero, before anything is built or computed.

use std::{fs, process::Command};

/// Runs xtask; gives its exit code and what it says on standard error.
fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask")).args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_spec_with_problems_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.toml");
    fs::write(&path, "sed = 1\n[model]\nsource = \"embedded\"\n[contexts]\nlist = [\"Once\"]\n").unwrap();
    let (code, said) = run(&["run", path.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(said.contains("bad.toml:1:1: unknown field `sed`; did you mean `seed`?"), "{said}");
    assert!(said.contains("the file has no [[features]]"), "{said}");
    assert!(!said.contains("Compiling") && !said.contains("panicked"), "{said}");
}

#[test]
fn a_missing_spec_is_named() {
    let (code, said) = run(&["run", "no-such-file.toml"]);
    assert_eq!(code, Some(1));
    assert!(said.starts_with("error: cannot read no-such-file.toml: "), "{said}");
}

#[test]
fn a_divergence_that_does_not_fit_is_refused() {
    let (code, said) = run(&["demo", "--divergence", "reverse-kl"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("`tune.divergence` is \"reverse-kl\", which is infinite"), "{said}");
    let (code, said) = run(&["demo", "--divergence", "kl"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("forward-kl, reverse-kl"), "{said}");
}

#[test]
fn a_model_that_is_neither_there_nor_an_id_is_refused() {
    for arguments in
        [&["demo", "--model", "no-such-folder"][..], &["sample", "--model", "no-such-folder", "--greedy"]]
    {
        let (code, said) = run(arguments);
        assert_eq!(code, Some(1));
        assert!(
            said.starts_with("error: `--model` \"no-such-folder\" names nothing that is there"),
            "{said}"
        );
        assert!(said.contains("HuggingFaceTB/SmolLM2-135M"), "{said}");
    }
}

#[test]
fn what_is_to_be_drawn_is_checked_before_anything_is_built() {
    for (arguments, expected) in [
        (&["--context", "a", "--temperature", "0"][..], "allowed: a finite number above 0"),
        (&["--context", "a", "--top-p", "-0.1"], "allowed: a number above 0 and at most 1"),
        (&["--context", "a", "--top-k", "0"], "allowed: a whole number from 1"),
        (&["--context", "a", "--min-new-tokens", "50"], "allowed: at most --max-new-tokens, 40"),
        (&["--context", "a", "--beam", "1000000000"], "allowed: a whole number from 1 to 1024"),
        (&["--context", "a", "--beam", "4", "--count", "5"], "allowed: at most the width of --beam, 4"),
        (&["--context", "a", "--beam", "4", "--greedy"], "cannot be used with"),
        (&["--context", "a", "--greedy", "--count", "5"], "cannot be used with"),
        (&["--context", "a", "--length-penalty", "0.5"], "--beam"),
        (&["--context", "a", "--adapter", "nowhere"], "`--adapter` \"nowhere\" names nothing that is there"),
        (&["--contexts", "nowhere.txt"], "nowhere.txt"),
        (&[], "--context TEXT once or more, or --contexts FILE"),
    ] {
        let (code, said) = run(&[&["sample", "--model", "embedded"], arguments].concat());
        assert!(code.is_some_and(|code| code > 0), "{arguments:?}");
        assert!(said.contains(expected) && !said.contains("Compiling"), "{said}");
    }
}

#[test]
fn a_corpus_that_is_not_there_is_named_before_anything_is_built() {
    let (code, said) = run(&["pretrain", "--corpus", "no-such-file.txt"]);
    assert_eq!(code, Some(1));
    assert!(said.starts_with("error: cannot read no-such-file.txt: "), "{said}");
}

#[test]
fn an_unknown_command_is_refused() {
    let (code, said) = run(&["dmeo"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("demo"), "{said}");
}

#[test]
fn a_model_that_is_not_there_is_named_before_anything_is_built() {
    let (code, said) = run(&["bench", "lm", "--model", "no-such-folder"]);
    assert_eq!(code, Some(1));
    assert!(said.starts_with("error: `--model` \"no-such-folder\" names nothing that is there"), "{said}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.gguf");
    fs::write(&file, "").unwrap();
    let (code, said) = run(&["bench", "lm", "--peer", "transformers", "--model", file.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("the peer does not read") && said.contains("allowed: with --peer, a folder"),
        "{said}"
    );
    assert!(!said.contains("Compiling"), "{said}");
}

// With vulkan compiled in, it would simply draw.
#[cfg(all(unix, not(feature = "vulkan")))]
#[test]
fn what_is_built_first_is_said() {
    for (model, expected) in [
        ("embedded", "xtask with vulkan: minutes the first time"),
        ("org/name", "xtask with vulkan and hub: minutes the first time"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["sample", "--backend", "vulkan", "--context", "a", "--model", model]);
        // In the place of cargo, what builds nothing.
        let output = command.env("CARGO", "true").env_remove("HF_ENDPOINT").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && output.stdout.is_empty(), "{said}");
        assert!(said.contains(expected) && said.lines().count() == 1, "{said}");
    }
}

// With tch compiled in, the demo would simply run.
#[cfg(not(feature = "tch"))]
#[test]
fn without_libtorch_its_backend_says_how_to_get_it() {
    let command = |variable: &str, value: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["demo", "--backend", "tch"]).env_remove("LIBTORCH").env(variable, value);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (variable, tried) in [
        ("LIBTORCH", "(LIBTORCH: no-such-folder has no folders `lib` and `include`)"),
        ("DISCO_TORCH_PYTHON", "(DISCO_TORCH_PYTHON: no-such-folder does not start"),
    ] {
        let (code, said) = command(variable, "no-such-folder");
        assert_eq!(code, Some(1));
        assert!(said.contains(tried) && said.contains("pip install torch==2.9.0"), "{said}");
        assert!(!said.contains("Compiling"), "{said}");
    }
}

#[test]
fn a_place_for_results_that_cannot_be_is_refused_before_anything_is_built() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    fs::create_dir(&model).unwrap();
    fs::write(model.join("config.json"), "{}").unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for (out, expected) in [
        (path("model"), "the run reads a model from"),
        (path("model/tuned"), "the run reads a model from"),
        (path(""), "the run reads a model from"),
        (path("nowhere/.."), "names no folder of its own"),
        (path("nowhere/../out"), "a folder in front of `..` does not exist"),
        ("/".into(), "names no folder of its own"),
        (".".into(), "the command runs in this folder"),
    ] {
        let (code, said) = run(&["demo", "--model", model.to_str().unwrap(), "--out", &out]);
        assert_eq!(code, Some(1), "{out}");
        assert!(said.starts_with("error: results cannot go to ") && said.contains(expected), "{out}: {said}");
        assert!(!said.contains("Compiling"), "{said}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
