//! A run that several workers share gives the results of one worker.

use std::{collections::BTreeMap, fs, path::Path};

use disco_core::{Contexts, Feature, Result, Score, Scorer, Skipped, feature};
use disco_divergence::FDivergence;
use disco_tuner::{
    Baseline, Checkpoints, EarlyStopping, InMemory, MicroBatch, Outcome, Partition, Problem, Sampling,
    Single, StepReport, StopReason, Tuner, TunerConfig, Validation, Workers,
};
use serde_json::Value;

use crate::common::{Kind, World, scripted::Table, target, threads::Thread};

/// Parameters of several workers differ from those of one by the rounding of the gradient, which each worker sums over
/// its own samples first. Twelve steps of Adam carry that on; nothing else differs.
const ROUNDING: f64 = 1e-10;

/// A target that cannot score some samples.
struct Picky<S>(S);

impl<S: Scorer<usize, usize>> Scorer<usize, usize> for Picky<S> {
    fn log_scores(&self, context: &usize, samples: &[&usize]) -> Result<Vec<Score>> {
        let scores = self.0.log_scores(context, samples)?;
        let skipped = |(score, sample): (Score, &&usize)| match **sample % 11 {
            3 => Err(Skipped::new("target", "too long")),
            _ => score,
        };
        Ok(scores.into_iter().zip(samples).map(skipped).collect())
    }
}

/// Everything that a run came to.
#[derive(Debug)]
struct Done {
    outcome: Outcome,
    reports: Vec<Value>,
    logits: Vec<f64>,
}

pub(crate) fn logits(policy: &Table) -> Vec<f64> {
    policy.logits().iter().copied().collect()
}

/// A run to its end, from the latest checkpoint if there is one; `lengths` gives samples a length.
fn tuned(config: &TunerConfig, lengths: bool, workers: &dyn Workers, directory: Option<&Path>) -> Done {
    let (world, target) = (World::new(5, 40), Picky(target(Kind::Mixed)));
    let even = feature("even", |_: &usize, x: &usize| f64::from(u8::from(x.is_multiple_of(2))));
    let (base, held_out) = (world.policy(), Contexts::new(vec![3usize, 4]).unwrap());
    let mut problem = Problem::new(&world.contexts, &target)
        .with_base(&base)
        .with_features([&even as &dyn Feature<usize, usize>])
        .unwrap()
        // The order of the samples matters to it.
        .with_statistic("first", |samples: &[&usize]| {
            *samples[0] as f64 + 0.01 * *samples[samples.len() - 1] as f64
        })
        .unwrap()
        .with_samples_shown(7, |context, x| format!("{context} {x}"));
    if lengths {
        problem = problem.with_length(|x: &usize| 1 + x % 9);
    }
    if config.validation.is_some() {
        problem = problem.with_held_out(&held_out);
    }
    let (tuner, mut policy, mut observed) =
        (Tuner::new(config.clone()).unwrap(), world.policy(), InMemory::default());
    let checkpoints = directory.map(|directory| Checkpoints::new(directory, 5, 2).unwrap());
    let run = match &checkpoints {
        Some(checkpoints) if !checkpoints.steps().unwrap().is_empty() => {
            tuner.resume_shared(&mut policy, &problem, checkpoints, workers).unwrap()
        }
        Some(checkpoints) => {
            let run = tuner.start_shared(&mut policy, &problem, workers).unwrap();
            run.with_checkpoints(checkpoints).unwrap()
        }
        None => tuner.start_shared(&mut policy, &problem, workers).unwrap(),
    };
    let outcome = run.drive(&mut observed).unwrap();
    let report = |report: &StepReport| {
        let mut report = serde_json::to_value(report).unwrap();
        report.as_object_mut().unwrap().remove("seconds");
        report
    };
    Done { outcome, reports: observed.reports().iter().map(report).collect(), logits: logits(&policy) }
}

/// Compares two JSON values, numbers within a relative tolerance.
#[track_caller]
fn check(path: &str, found: &Value, expected: &Value, tolerance: f64) {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{path}");
            found.iter().for_each(|(name, value)| {
                check(&format!("{path}.{name}"), value, &expected[name], tolerance)
            });
        }
        (Value::Array(found), Value::Array(expected)) => {
            assert_eq!(found.len(), expected.len(), "{path}");
            found.iter().zip(expected).for_each(|(found, expected)| check(path, found, expected, tolerance));
        }
        (Value::Number(found), Value::Number(expected)) => {
            let (found, expected) = (found.as_f64().unwrap(), expected.as_f64().unwrap());
            let near = (found - expected).abs() <= tolerance * expected.abs().max(1.0);
            assert!(near, "{path}: {found}, not {expected}");
        }
        _ => assert_eq!(found, expected, "{path}"),
    }
}

/// The content of all files of a directory of checkpoints.
fn files(directory: &Path) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let checkpoint = entry.unwrap().path();
        let name = checkpoint.file_name().unwrap().to_str().unwrap().to_owned();
        for file in ["run.json", "policy/softmax_table.json"] {
            if let Ok(bytes) = fs::read(checkpoint.join(file)) {
                found.insert(format!("{name}/{file}"), serde_json::from_slice(&bytes).unwrap());
            }
        }
    }
    found
}

/// Runs of 2 and 3 workers against one; gives the run of one.
#[track_caller]
fn compare(config: &TunerConfig, lengths: bool) -> Done {
    let place = tempfile::tempdir().unwrap();
    let expected = tuned(config, lengths, &Single, Some(place.path()));
    let expected_files = files(place.path());
    assert!(!expected_files.is_empty());
    for count in [2, 3] {
        let place = tempfile::tempdir().unwrap();
        let workers = Thread::all(count);
        let found = Thread::run(workers, |worker| tuned(config, lengths, worker, Some(place.path())));
        for worker in &found {
            // The workers agree to the bit.
            assert_eq!((&worker.reports, &worker.logits), (&found[0].reports, &found[0].logits));
            assert_eq!(worker.outcome, found[0].outcome);
        }
        let first = (&found[0].reports[0], &expected.reports[0]);
        for (name, metric) in first.0["metrics"].as_object().unwrap() {
            // Before the first update the policies are the same. Weights of passes come in another order if they are sorted
            // by length.
            let exact = !name.starts_with("validation/")
                && (!lengths
                    || !["pseudo_reward", "advantage", "cut_share"].iter().any(|of| name.starts_with(of)));
            if exact {
                assert_eq!(metric, &first.1["metrics"][name], "{name} of {count} workers");
            }
        }
        let name = format!("{count} workers");
        check(&name, &found[0].reports.clone().into(), &expected.reports.clone().into(), ROUNDING);
        check(&name, &found[0].logits.clone().into(), &expected.logits.clone().into(), ROUNDING);
        assert_eq!(found[0].outcome.step, expected.outcome.step);
        assert_eq!(found[0].outcome.reason, expected.outcome.reason);
        let found_files = files(place.path());
        assert_eq!(found_files.keys().collect::<Vec<_>>(), expected_files.keys().collect::<Vec<_>>());
        for (file, content) in &found_files {
            check(&format!("{name}, {file}"), content, &expected_files[file], ROUNDING);
        }
    }
    expected
}

pub(crate) fn online() -> TunerConfig {
    TunerConfig {
        steps: 12,
        samples_per_step: 101,
        contexts_per_step: 3,
        learning_rate: 0.05,
        metrics_every: 2,
        micro_batch: MicroBatch { samples: 16, tokens: None },
        ..TunerConfig::f_cdpg(FDivergence::JensenShannon)
    }
}

#[test]
fn online_runs_are_the_run_of_one_worker() {
    assert_eq!(online().baseline, Baseline::LeaveOneOut);
    compare(&online(), false);
    compare(&online(), true);
    compare(&TunerConfig { baseline: Baseline::None, max_pseudo_reward: Some(0.1), ..online() }, false);
    compare(&TunerConfig { partition: Partition::Step, epochs: 2, ..online() }, false);
}

#[test]
fn contexts_with_fewer_samples_than_workers_are_shared_too() {
    compare(&TunerConfig { samples_per_step: 7, max_steps_without_success: 12, ..online() }, true);
}

#[test]
fn offline_runs_replace_the_proposal_together() {
    // A proposal is replaced at some step, and not at every one.
    let offline = TunerConfig { sampling: Sampling::offline(), metrics_every: 3, ..online() };
    for config in [
        TunerConfig {
            baseline: Baseline::None,
            samples_per_step: 400,
            learning_rate: 0.1,
            ..offline.clone()
        },
        TunerConfig { replay: 1, epochs: 2, max_importance_ratio: Some(1.1), ..offline },
    ] {
        for lengths in [false, true] {
            let done = compare(&config, lengths);
            let replaced = done.reports.iter().filter(|report| report["proposal_replaced"] == true).count();
            assert!(replaced > 0 && replaced < 12, "{replaced}");
        }
    }
    let cdpg = TunerConfig { steps: 12, samples_per_step: 101, ..TunerConfig::cdpg() };
    compare(
        &TunerConfig { divergence: FDivergence::KlForward, baseline: Baseline::ForwardKl, ..cdpg },
        false,
    );
}

#[test]
fn replayed_samples_stay_with_the_workers_that_drew_them() {
    compare(&TunerConfig { replay: 2, ..online() }, false);
    compare(&TunerConfig { replay: 2, baseline: Baseline::None, ..online() }, true);
}

#[test]
fn early_stopping_ends_all_workers_at_the_same_step() {
    let metric = "validation/kl_target_policy".into();
    let config = TunerConfig {
        steps: 400,
        learning_rate: 0.3,
        validation: Some(Validation { every: 2, samples: 50 }),
        early_stopping: Some(EarlyStopping { metric, patience: 2, ..EarlyStopping::default() }),
        ..online()
    };
    let done = compare(&config, true);
    assert_eq!(done.outcome.reason, StopReason::NoImprovement);
    assert!(done.outcome.best.is_some() && done.outcome.step < 100, "{:?}", done.outcome);
}

#[test]
fn a_stopped_shared_run_resumes_to_the_bit_and_with_another_number_of_workers() {
    let config = TunerConfig {
        sampling: Sampling::offline(),
        replay: 2,
        epochs: 2,
        samples_per_step: 200,
        ..online()
    };
    let whole = Thread::run(Thread::all(2), |worker| tuned(&config, false, worker, None));
    for count in [2, 3, 1] {
        let place = tempfile::tempdir().unwrap();
        let short = TunerConfig { steps: 7, ..config.clone() };
        Thread::run(Thread::all(2), |worker| tuned(&short, false, worker, Some(place.path())));
        let resumed =
            Thread::run(Thread::all(count), |worker| tuned(&config, false, worker, Some(place.path())));
        for found in &resumed {
            // The seventh step was the last of the shorter run, which has metrics.
            assert_eq!(found.reports.len(), 5);
            match count {
                2 => assert_eq!(found.logits, whole[0].logits),
                _ => check("logits", &found.logits.clone().into(), &whole[0].logits.clone().into(), ROUNDING),
            }
        }
    }
}
