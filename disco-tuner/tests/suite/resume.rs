//! Resuming a run: settings that must agree with the checkpoint, and settings that may change.

use std::{fs, path::Path};

use disco_core::{Contexts, Scorer, scorer};
use disco_tuner::{
    Checkpoints, Control, Csv, EarlyStopping, Error, JsonLines, MicroBatch, Observer, ObserverError, Problem,
    StepReport, StopReason, Tuner, TunerConfig,
};

use crate::common::{Kind, World, target};

fn config(steps: u64) -> TunerConfig {
    TunerConfig { steps, learning_rate: 0.05, metrics_every: 2, ..TunerConfig::default() }
}

/// Makes the steps of `config`, with checkpoints every 4.
fn run(config: TunerConfig, folder: &Path) {
    let (world, target) = (World::new(3, 30), target(Kind::Mixed));
    let problem = Problem::new(&world.contexts, &target).with_fact("model", &"small").unwrap();
    let checkpoints = Checkpoints::new(folder, 4, 3).unwrap();
    let (tuner, mut policy) = (Tuner::new(config).unwrap(), world.policy());
    let run = tuner.start(&mut policy, &problem).unwrap().with_checkpoints(&checkpoints).unwrap();
    run.drive(&mut ()).unwrap();
}

fn resume(
    config: TunerConfig,
    contexts: &Contexts<usize>,
    target: &dyn Scorer<usize, usize>,
    model: &str,
    folder: &Path,
) -> Result<u64, Error> {
    let problem = Problem::new(contexts, target).with_fact("model", &model).unwrap();
    let checkpoints = Checkpoints::new(folder, 4, 3).unwrap();
    let (tuner, mut policy) = (Tuner::new(config).unwrap(), World::new(3, 30).policy());
    tuner.resume(&mut policy, &problem, &checkpoints).map(|run| run.done())
}

#[test]
fn another_problem_is_noticed_and_named() {
    let folder = tempfile::tempdir().unwrap();
    run(config(8), folder.path());
    let world = World::new(3, 30);
    let mixed = target(Kind::Mixed);
    let refused = |contexts: &[usize], target: &dyn Scorer<usize, usize>, model: &str| {
        let contexts = Contexts::new(contexts.to_vec()).unwrap();
        let error = resume(config(8), &contexts, target, model, folder.path()).unwrap_err();
        assert!(matches!(error, Error::OtherSettings { .. }), "{error}");
        error.to_string()
    };
    let text = refused(&[0, 2, 1], &mixed, "small");
    assert!(text.contains("contexts: 2 of 3 are others") && text.contains("first number 1"), "{text}");
    let text = refused(&[0, 1, 2], &mixed, "large");
    assert!(text.contains("model: \"small\" in the checkpoint, \"large\" now"), "{text}");
    // The changed target shows in its scores.
    let shifted = scorer(|context: &usize, x: &usize| {
        mixed.log_scores(context, &[x]).unwrap()[0].clone().unwrap() + 0.01
    });
    let text = refused(&[0, 1, 2], &shifted, "small");
    assert!(text.contains("target: its score of sample 0 in context"), "{text}");
    let weighted = Contexts::weighted(vec![0usize, 1, 2], &[1.0, 1.0, 2.0]).unwrap();
    let text = resume(config(8), &weighted, &mixed, "small", folder.path()).unwrap_err().to_string();
    assert!(text.contains("contexts: 3 of 3 are others"), "{text}");
    assert_eq!(resume(config(8), &world.contexts, &mixed, "small", folder.path()).unwrap(), 8);
}

#[test]
fn a_finished_run_can_be_made_longer_but_not_shorter() {
    let (whole, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run(config(14), whole.path());
    run(config(8), folder.path());
    let world = World::new(3, 30);
    let target = target(Kind::Mixed);
    let text = resume(config(7), &world.contexts, &target, "small", folder.path()).unwrap_err().to_string();
    assert!(text.contains("steps: 8 are done in the checkpoint, 7 now"), "{text}");

    let problem = Problem::new(&world.contexts, &target).with_fact("model", &"small").unwrap();
    let checkpoints = Checkpoints::new(folder.path(), 4, 3).unwrap();
    // Micro-batches may have another size.
    let longer = TunerConfig { micro_batch: MicroBatch { samples: 5, tokens: None }, ..config(14) };
    let (tuner, mut policy) = (Tuner::new(longer).unwrap(), world.policy());
    let outcome = tuner.resume(&mut policy, &problem, &checkpoints).unwrap().drive(&mut ()).unwrap();
    assert_eq!((outcome.step, outcome.reason), (14, StopReason::Finished));
    let mut expected = world.policy();
    Checkpoints::<usize>::new(whole.path(), 4, 3).unwrap().load_policy(14, &mut expected).unwrap();
    // Another micro-batch changes results by rounding.
    let (found, expected) = (policy.logits(), expected.logits());
    let gap = found.iter().zip(expected).map(|(one, two)| (one - two).abs()).fold(0.0, f64::max);
    assert!(gap < 1e-10, "{gap}");
}

#[test]
fn the_policy_of_any_checkpoint_can_be_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let metric = "kl_target_policy".into();
    let stopping = EarlyStopping { metric, patience: u64::MAX, ..EarlyStopping::default() };
    run(TunerConfig { early_stopping: Some(stopping), ..config(12) }, folder.path());
    let world = World::new(3, 30);
    let checkpoints = Checkpoints::<usize>::new(folder.path(), 4, 3).unwrap();
    let (_, best) = checkpoints.best().unwrap().unwrap();
    let steps = checkpoints.steps().unwrap();
    assert!(steps.contains(&best), "{best} is not in {steps:?}");
    let mut policies: Vec<_> = steps.iter().map(|_| world.policy()).collect();
    for (step, policy) in steps.iter().zip(&mut policies) {
        checkpoints.load_policy(*step, policy).unwrap();
    }
    assert_ne!(policies[0].logits(), policies[1].logits());
    let mut policy = world.policy();
    let error = checkpoints.load_policy(999, &mut policy).unwrap_err();
    assert!(matches!(error, Error::NoCheckpoint { .. }), "{error}");
    let file = checkpoints.path(best).join("policy").join("softmax_table.json");
    fs::write(&file, "{}").unwrap();
    let error = checkpoints.load_policy(best, &mut policy).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert_eq!(policy.logits(), world.policy().logits());
}

/// Ends the run as a crash would: by a panic after some steps, in the middle of a line.
struct Crash(u64);

impl Observer for Crash {
    fn step(&mut self, report: &StepReport) -> Result<Control, ObserverError> {
        assert!(report.step < self.0, "crash");
        Ok(Control::Continue)
    }
}

#[test]
fn logs_have_each_step_once_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let (lines, table) = (folder.path().join("run.jsonl"), folder.path().join("run.csv"));
    let observers = || -> Vec<Box<dyn Observer>> {
        vec![Box::new(JsonLines::new(&lines).unwrap()), Box::new(Csv::new(&table).unwrap())]
    };
    let (world, target) = (World::new(3, 30), target(Kind::Mixed));
    let problem = Problem::new(&world.contexts, &target);
    let tuner = Tuner::new(config(12)).unwrap();
    let place = folder.path().join("checkpoints");
    let checkpoints = Checkpoints::new(&place, 4, 3).unwrap();
    // Another run's lines come first, and stay.
    tuner.run(&mut world.policy(), &problem, &mut observers()).unwrap();
    // Step 8 is in the log and its checkpoint is not yet written; then step 7's, before that.
    for crash in [8, 7] {
        let mut all = observers();
        all.push(Box::new(Crash(crash)));
        let mut policy = world.policy();
        let crashed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let run = if checkpoints.steps().unwrap().is_empty() {
                tuner.start(&mut policy, &problem).unwrap().with_checkpoints(&checkpoints).unwrap()
            } else {
                tuner.resume(&mut policy, &problem, &checkpoints).unwrap()
            };
            run.drive(&mut all).unwrap();
        }));
        assert!(crashed.is_err());
        assert_eq!(checkpoints.steps().unwrap(), [4]);
        let half = [fs::read(&lines).unwrap(), b"{\"step\":9,\"ste".to_vec()].concat();
        fs::write(&lines, half).unwrap();
    }
    let mut policy = world.policy();
    let resumed = tuner.resume(&mut policy, &problem, &checkpoints).unwrap();
    assert_eq!(resumed.drive(&mut observers()).unwrap().observer_failures, 0);

    let text = fs::read_to_string(&lines).unwrap();
    let records: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 2 * (12 + 1));
    for (first, second) in records[..13].iter().zip(&records[13..]) {
        assert_eq!((&first["step"], &first["metrics"]), (&second["step"], &second["metrics"]));
    }
    let rows = fs::read_to_string(&table).unwrap();
    for step in [1, 3, 5, 7, 9, 11, 12] {
        let row = format!("{step},tv_target_policy,");
        assert_eq!(rows.lines().filter(|line| line.starts_with(&row)).count(), 2, "step {step}");
    }
}
