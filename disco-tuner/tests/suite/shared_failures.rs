//! A run that several workers share ends on all of them when it fails, or is stopped, on one.

use std::sync::atomic::{AtomicUsize, Ordering};

use disco_core::{Error as CoreError, Result, Score, Scorer};
use disco_divergence::FDivergence;
use disco_tuner::{
    Checkpoints, Control, Error, Observer, ObserverError, Problem, Sampling, Single, StepReport, StopFlag,
    StopReason, Tuner, TunerConfig, Validation, Workers,
};

use crate::{
    common::{Kind, World, target, threads::Thread},
    shared::{logits, online},
};

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
