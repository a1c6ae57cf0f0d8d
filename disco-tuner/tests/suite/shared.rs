//! A run that several workers share gives the results of one worker, and ends on all of them when it fails on one.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

use disco_core::{Contexts, Error as CoreError, Feature, Result, Score, Scorer, Skipped, feature};
use disco_divergence::FDivergence;
use disco_tuner::{
    Baseline, Checkpoints, Control, EarlyStopping, Error, InMemory, MicroBatch, Observer, ObserverError,
    Outcome, Partition, Problem, Sampling, Single, StepReport, StopFlag, StopReason, Tuner, TunerConfig,
    Validation, Workers,
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

fn logits(policy: &Table) -> Vec<f64> {
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

fn online() -> TunerConfig {
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
        early_stopping: Some(EarlyStopping { metric, patience: 2, min_delta: 0.0 }),
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

/// Fails from a given call on.
struct Failing<S> {
    target: S,
    calls: AtomicUsize,
    from: usize,
}

impl<S: Scorer<usize, usize>> Scorer<usize, usize> for Failing<S> {
    fn log_scores(&self, context: &usize, samples: &[&usize]) -> Result<Vec<Score>> {
        if self.calls.fetch_add(1, Ordering::Relaxed) >= self.from {
            return Err(CoreError::failed("reward model", std::io::Error::other("out of memory")));
        }
        self.target.log_scores(context, samples)
    }
}

/// Keeps the messages of failures.
#[derive(Default)]
struct Told(Vec<String>);

impl Observer for Told {
    fn step(&mut self, _: &StepReport) -> std::result::Result<Control, ObserverError> {
        Ok(Control::Continue)
    }

    fn fail(&mut self, step: u64, error: &str) -> std::result::Result<(), ObserverError> {
        self.0.push(format!("{step}: {error}"));
        Ok(())
    }
}

#[test]
fn an_error_on_one_worker_ends_all_with_its_message() {
    let results = Thread::run(Thread::all(3), |worker| {
        let world = World::new(5, 40);
        // Worker 1 fails in its second step, at the second of three contexts.
        let from = if worker.rank() == 1 { 4 } else { usize::MAX };
        let target = Failing { target: target(Kind::Mixed), calls: AtomicUsize::new(0), from };
        let problem = Problem::new(&world.contexts, &target);
        let (tuner, mut policy, mut told) = (Tuner::new(online()).unwrap(), world.policy(), Told::default());
        let error = tuner.start_shared(&mut policy, &problem, worker).unwrap().drive(&mut told).unwrap_err();
        (error, told.0, logits(&policy))
    });
    let text = results[1].0.to_string();
    assert!(matches!(results[1].0, Error::Context { step: 1, .. }), "{text}");
    assert!(text.starts_with("step 1, score, context") && text.ends_with("failed: out of memory"), "{text}");
    for (rank, (error, told, logits)) in results.iter().enumerate() {
        if rank != 1 {
            assert!(matches!(error, Error::OtherWorker { rank: 1, message } if *message == text), "{error}");
            assert_eq!(error.to_string(), format!("worker 1: {text}"));
        }
        assert_eq!(told, &[format!("1: {error}")]);
        assert_eq!(logits, &results[0].2, "the parameters are those of the step before");
    }
}

#[test]
fn a_sample_is_named_by_its_number_among_those_of_all_workers() {
    let error = |workers: &dyn Workers| {
        let world = World::new(1, 40);
        let sick = disco_core::scorer(|_: &usize, x: &usize| if *x == 17 { f64::NAN } else { 0.0 });
        let problem = Problem::new(&world.contexts, &sick);
        let (tuner, mut policy) = (Tuner::new(online()).unwrap(), world.policy());
        tuner.start_shared(&mut policy, &problem, workers).unwrap().step().unwrap_err()
    };
    let expected = error(&Single).to_string();
    for count in [2, 3] {
        let errors = Thread::run(Thread::all(count), |worker| error(worker));
        // The lowest worker that fails has the first of the samples.
        let first = errors.iter().find(|error| matches!(error, Error::Context { .. })).unwrap();
        assert_eq!(first.to_string(), expected);
    }
}

#[test]
fn a_failed_call_ends_the_run_on_every_worker_wherever_it_comes() {
    let config = TunerConfig {
        steps: 2,
        sampling: Sampling::Offline { metric: FDivergence::TotalVariation, z: 0.0, every: 1 },
        metrics_every: 1,
        validation: Some(Validation { every: 1, samples: 10 }),
        ..online()
    };
    let run = |workers: Vec<Thread>| {
        let (place, completed) = (tempfile::tempdir().unwrap(), workers[0].clone());
        let results = Thread::run(workers, |worker| {
            let (world, target) = (World::new(5, 40), target(Kind::Mixed));
            let problem = Problem::new(&world.contexts, &target)
                .with_held_out(&world.contexts)
                .with_samples_shown(2, |_, x| x.to_string())
                .with_length(|x| *x)
                .with_statistic("count", |samples: &[&usize]| samples.len() as f64)
                .unwrap();
            let checkpoints = Checkpoints::new(place.path(), 1, 1).unwrap();
            let (tuner, mut policy) = (Tuner::new(config.clone()).unwrap(), world.policy());
            let run = tuner.start_shared(&mut policy, &problem, worker)?.with_checkpoints(&checkpoints)?;
            run.drive(&mut ()).map(drop)
        });
        (results, completed.completed())
    };
    let (whole, calls) = run(Thread::all(2));
    assert!(whole.iter().all(std::result::Result::is_ok) && calls > 30, "{calls} calls, {whole:?}");
    for at in 0..calls {
        let (results, _) = run(Thread::failing(2, Some(at)));
        for result in results {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Workers { .. }), "call {at}: {error}");
            assert_eq!(error.to_string(), "workers that share the run: network failed: cable pulled");
        }
    }
}

#[test]
fn an_observer_of_any_worker_stops_all() {
    let outcomes = Thread::run(Thread::all(3), |worker| {
        let (world, target) = (World::new(5, 40), target(Kind::Mixed));
        let problem = Problem::new(&world.contexts, &target);
        let (tuner, mut policy, mut flag) =
            (Tuner::new(online()).unwrap(), world.policy(), StopFlag::default());
        if worker.rank() == 2 {
            flag.raise();
        }
        tuner.start_shared(&mut policy, &problem, worker).unwrap().drive(&mut flag).unwrap()
    });
    for outcome in outcomes {
        assert_eq!((outcome.step, outcome.reason), (1, StopReason::Observer));
    }
}

#[test]
fn workers_with_other_settings_are_refused() {
    let refused = Thread::run(Thread::all(2), |worker| {
        let (world, target) = (World::new(5, 40), target(Kind::Mixed));
        let problem = Problem::new(&world.contexts, &target);
        let config = TunerConfig { seed: worker.rank() as u64, ..online() };
        let (tuner, mut policy) = (Tuner::new(config).unwrap(), world.policy());
        tuner.start_shared(&mut policy, &problem, worker).map(drop).unwrap_err().to_string()
    });
    let said = "workers that share the run: settings, problem or checkpoint of worker 1 is another";
    assert!(refused.iter().all(|refusal| refusal.starts_with(said)), "{refused:?}");
}
