//! The settings of a run: without tuning, changed by the command line, and written beside results.

use std::{fs, path::Path};

use disco_tuner::{Baseline, Optimizer, Partition, Sampling, Validation};
use xtask::{RunOptions, SpecError, Target, TextContext, read_spec};

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

/// Reads `LEAST` with a table for tuning, and these values for `--set`.
fn set(values: &[&str]) -> Result<xtask::Spec, String> {
    let set = values.iter().map(ToString::to_string).collect();
    let text = format!("{LEAST}# Short.\n[tune]\nsteps = 5 # five\noptimizer = {{ kind = \"sgd\" }}\n");
    RunOptions { set, ..RunOptions::default() }
        .read("specs/mine.toml", &text, Path::new("specs"))
        .map_err(|error| error.to_string())
}

#[test]
fn set_gives_any_field_another_value() {
    let spec = set(&[
        "tune.steps=200",
        "tune.divergence=tv",
        "features.1.mean = 0.25",
        "features.night.ignore_case=true",
        "contexts.list=[\"One\", \"Two = 2\"]",
        "contexts.list.2=Three",
        "tune.optimizer.momentum=0.5",
        "checkpoints.every=7",
        "seed=18446744073709551615",
        "title=Two = 2",
    ])
    .unwrap();
    assert_eq!((spec.tune.steps, spec.tune.divergence.to_string()), (200, "tv".into()));
    assert_eq!(spec.features[0].target, Some(Target::mean(0.25)));
    let texts: Vec<&str> = spec.contexts.items.iter().map(TextContext::text).collect();
    assert_eq!(texts, ["One", "Three"]);
    assert_eq!(spec.tune.optimizer, Optimizer::Sgd { momentum: 0.5, weight_decay: 0.0 });
    assert_eq!((spec.checkpoints.every, spec.seed, spec.title.as_str()), (7, u64::MAX, "Two = 2"));
    assert_eq!(read_spec("run.toml", &spec.written, Path::new("")).unwrap(), spec);
}

#[test]
fn values_that_are_there_are_replaced_in_place() {
    let spec = set(&["tune.steps=9", "seed=3", "tune.steps=8"]).unwrap();
    for kept in ["seed = 3\n", "# Short.\n", "steps = 8 # five\n"] {
        assert!(spec.written.contains(kept), "{}", spec.written);
    }
    assert_eq!(read_spec("run.toml", &spec.written, Path::new("")).unwrap(), spec);
    // The last one wins, and an argument of its own wins over all.
    let options = RunOptions { set: vec!["seed=3".into()], seed: Some(4), ..RunOptions::default() };
    assert_eq!(options.read("mine.toml", LEAST, Path::new("")).unwrap().seed, 4);
}

#[test]
fn a_wrong_value_is_shown_at_its_argument() {
    for (value, expected) in [
        (
            "tune.steps=-1",
            "specs/mine.toml has 1 problem\n\ncommand line: `tune.steps` is -1\n  | --set tune.steps=-1\n  |                  ^^\n  = allowed: a whole",
        ),
        (
            "tune.stepz=1",
            "command line: unknown field `tune.stepz`; did you mean `steps`?\n  | --set tune.stepz=1\n",
        ),
        ("tune.divergence=kl", "command line: `tune.divergence` is \"kl\"; did you mean"),
        ("tune.steps.x=1", "`tune.steps` is of type integer, and has no `x`"),
        ("features.2.mean=1", "`features` has no `2`\n"),
        ("features.nigth.mean=1", "`features` has no `nigth`; did you mean `night`?"),
        ("features.night.mean=2", "command line: `features.1.mean` is 2\n"),
        ("tune.warmup_steps=6", "command line: `tune.warmup_steps` is 6\n"),
        ("tune=5", "command line: `tune` is of type integer"),
        ("tune.steps", "`--set` is tune.steps: it has no `=`; allowed: FIELD=VALUE"),
        ("tune..steps=1", "`--set` is tune..steps=1: `tune..steps` is no name of a field"),
        ("tune.steps=", "the value is not TOML"),
        ("tune.optimizer={ kind = ", "the value is not TOML"),
    ] {
        let error = set(&[value]).unwrap_err();
        assert!(error.contains(expected), "{value}: {error}");
    }
    // A problem of the file keeps its line.
    let options = RunOptions { set: vec!["sead=3".into()], ..RunOptions::default() };
    let text = LEAST.replace("mean = 0.5", "mean = 2");
    let error = options.read("mine.toml", &text, Path::new("")).unwrap_err().to_string();
    assert!(
        error.starts_with("mine.toml has 2 problems\n\nmine.toml:10:8: `features.1.mean` is 2"),
        "{error}"
    );
}

/// The settings of the tuner, in the words of a run file.
const TUNED: &str = r#"
held_out = 0.5
[tune]
steps = 40
floor = 0.1
decay = "linear"
micro_batch_tokens = 512
sampling = { kind = "offline", metric = "tv", z = 2, every = 3 }
partition = "step"
baseline = "none"
epochs = 2
replay = 4
max_importance_ratio = 20
max_pseudo_reward = 10
max_steps_without_success = 5
metrics_every = 2
validation = { every = 4, samples = 8 }
early_stopping = { metric = "validation/tv_target_policy", patience = 3, min_delta = 0.01 }
[log]
jsonl = "steps.jsonl"
mlflow = { address = "http://localhost:5000" }
[sample]
accepted = 100
"#;

/// `LEAST` with four contexts, of which `TUNED` holds out two.
fn tuned(changes: &[(&str, &str)]) -> Result<xtask::Spec, SpecError> {
    let features = LEAST.find("[[features]]").unwrap();
    let text = TUNED.replacen("held_out = 0.5\n", "", 1);
    let text = format!("{}held_out = 0.5\n{}{text}", &LEAST[..features], &LEAST[features..]);
    let text = text.replace("[\"Once\"]", "[\"Once\", \"Twice\", \"Now\", \"Then\"]");
    let text = changes.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    });
    read(&text)
}

#[test]
fn every_setting_of_the_tuner_can_be_said() {
    let spec = tuned(&[]).unwrap();
    let tune = &spec.tune;
    let offline = Sampling::Offline { metric: "tv".parse().unwrap(), z: 2.0, every: 3 };
    assert_eq!((&tune.sampling, tune.partition, tune.baseline), (&offline, Partition::Step, Baseline::None));
    assert_eq!((tune.epochs, tune.replay, tune.metrics_every, tune.floor), (2, 4, 2, 0.1));
    assert_eq!((tune.max_importance_ratio, tune.max_pseudo_reward), (Some(20.0), Some(10.0)));
    assert_eq!((tune.micro_batch_tokens, tune.max_steps_without_success), (Some(512), 5));
    assert_eq!(tune.validation, Some(Validation { every: 4, samples: 8 }));
    assert_eq!(tune.early_stopping.as_ref().unwrap().metric, "validation/tv_target_policy");
    assert_eq!(spec.log.jsonl.as_deref(), Some(Path::new("specs/steps.jsonl")));
    assert_eq!(spec.log.mlflow.as_ref().unwrap().name, "mine");
    assert_eq!((spec.sample.accepted, spec.sample.proposals), (Some(100), None));
}

#[test]
fn settings_of_the_tuner_that_contradict_each_other_are_refused() {
    for (from, to, message, allowed) in [
        (
            "partition = \"step\"",
            "partition = \"batch\"",
            "is \"batch\"; did you mean `step`?",
            "running, step",
        ),
        ("\"none\"", "\"loo\"", "is \"loo\"; did you mean `leave-one-out`?", "forward-kl"),
        ("baseline = \"none\"", "baseline = \"forward-kl\"", "`tune.baseline` is forward-kl", "forward KL"),
        ("metric = \"tv\"", "metric = \"kl\"", "`tune.sampling.metric` is \"kl\"", "reverse-kl"),
        ("\"offline\"", "\"online\"", "unknown for kind `online`: `tune.sampling.metric`", "offline"),
        ("\"validation/tv", "\"validations/tv", "did you mean `validation/tv_target_policy`?", "ess_share"),
        ("epochs = 2", "epochs = 0", "`tune.epochs` is 0", "from 1"),
        ("floor = 0.1", "floor = 2", "`tune.floor` is 2", "from 0 to 1"),
        ("held_out = 0.5\n", "", "`tune.validation` needs contexts that are held out", "held_out"),
        (
            "validation = { every = 4, samples = 8 }\n",
            "",
            "`tune.early_stopping.metric` is validation/tv",
            "validation switched on",
        ),
        (
            "[log]",
            "[checkpoints]\nbest = \"ess\"\n[log]",
            "`checkpoints.best` is \"ess\", but",
            "validation/tv",
        ),
        (
            "mean = 0.5",
            "mean = 0.5\nper_context = true",
            "`tune.validation` needs a target in contexts",
            "per_context",
        ),
        (
            "http://localhost",
            "http://me:secret@localhost",
            "`log.mlflow.address` has a user or a password",
            "MLFLOW_",
        ),
        ("http://localhost", "localhost", "`log.mlflow.address` cannot be used", "http://HOST"),
        (
            "accepted = 100",
            "accepted = 100\nproposals = 150",
            "fewer than 100 (`accepted`) would be accepted",
            "sample.proposals",
        ),
    ] {
        let error = tuned(&[(from, to)]).unwrap_err();
        assert_eq!(error.problems.len(), 1, "{error}");
        let problem = &error.problems[0];
        assert!(problem.message.contains(message), "{error}");
        assert!(problem.allowed.contains(allowed), "{error}");
    }
    let listed = [("source = \"embedded\"", "source = \"embedded\"\nchoices = [\"a\", \"b\"]")];
    assert!(tuned(&listed).is_err());
}
