//! Runs whose steps take all outcomes: several workers, checkpoints, and what is refused.

use std::path::Path;

use disco_core::{Contexts, Error as CoreError, Space, scorer};
use disco_divergence::FDivergence;
use disco_tuner::{
    Checkpoints, EarlyStopping, Error, InMemory, MicroBatch, Problem, Sampling, Single, Stage, Tuner,
    TunerConfig, Validation, Workers,
};

use crate::{
    common::{Kind, World, scripted::Table, small::contexts, target, threads::Thread},
    enumerated::{check, config, space},
    shared::logits,
};

fn long(steps: u64) -> TunerConfig {
    let validation = Some(Validation { every: 5, samples: 2 });
    TunerConfig {
        steps,
        contexts_per_step: 3,
        learning_rate: 0.05,
        metrics_every: 2,
        validation,
        ..config(FDivergence::JensenShannon)
    }
}

/// A run to its end, from the latest checkpoint if there is one: its logits, and the metrics of its last step.
fn tuned(config: &TunerConfig, workers: &dyn Workers, directory: &Path) -> (Vec<f64>, Vec<f64>) {
    let (world, target) = (World::new(5, 31), target(Kind::Mixed));
    let held_out = Contexts::new(vec![3usize, 4]).unwrap();
    // Fewer outcomes than workers in one of the contexts, with a policy that gives the others nothing.
    let mut logits_before = world.policy().logits().to_owned();
    logits_before.row_mut(2).iter_mut().skip(2).for_each(|logit| *logit = -800.0);
    let mut policy = Table::new(world.context_space.clone(), world.space.clone(), logits_before).unwrap();
    let base = policy.clone();
    let problem = Problem::new(&world.contexts, &target)
        .with_space(|context| if *context == 2 { Space::new([0, 1]) } else { Ok(world.space.clone()) })
        .with_base(&base)
        .with_length(|x: &usize| 1 + x % 4)
        .with_samples_shown(3, |context, x| format!("{context} {x}"))
        .with_held_out(&held_out);
    let (tuner, mut observed) = (Tuner::new(config.clone()).unwrap(), InMemory::default());
    let checkpoints = Checkpoints::new(directory, 3, 2).unwrap();
    let run = match checkpoints.steps().unwrap().is_empty() {
        false => tuner.resume_shared(&mut policy, &problem, &checkpoints, workers).unwrap(),
        true => {
            let run = tuner.start_shared(&mut policy, &problem, workers).unwrap();
            run.with_checkpoints(&checkpoints).unwrap()
        }
    };
    run.drive(&mut observed).unwrap();
    let last = observed.reports().last().unwrap();
    (logits(&policy), last.metrics.values().map(|metric| metric.value).collect())
}

#[test]
fn runs_are_the_same_whatever_workers_micro_batches_and_interruptions_they_have() {
    let place = || tempfile::tempdir().unwrap();
    let expected = tuned(&long(10), &Single, place().path());
    assert!(!expected.1.iter().any(|value| value.is_nan()));
    for count in [2, 3] {
        let shared = place();
        let found = Thread::run(Thread::all(count), |worker| tuned(&long(10), worker, shared.path()));
        for worker in &found {
            assert_eq!(worker, &found[0]);
            check("logits", &worker.0, &expected.0);
            check("metrics", &worker.1, &expected.1);
        }
    }
    let one_at_a_time = TunerConfig { micro_batch: MicroBatch { samples: 1, tokens: None }, ..long(10) };
    check("micro-batches", &tuned(&one_at_a_time, &Single, place().path()).0, &expected.0);
    let resumed = place();
    tuned(&long(4), &Single, resumed.path());
    assert_eq!(tuned(&long(10), &Single, resumed.path()).0, expected.0);
}

#[track_caller]
fn refused(
    config: TunerConfig,
    change: impl FnOnce(Problem<'_, usize, usize>) -> Problem<'_, usize, usize>,
) -> Error {
    let (contexts, target) = (contexts(), scorer(|_: &usize, x: &usize| -(*x as f64)));
    let problem = change(Problem::new(&contexts, &target));
    let tuner = match Tuner::new(config) {
        Ok(tuner) => tuner,
        Err(error) => return error,
    };
    tuner.run(&mut crate::common::small::first(), &problem, &mut ()).unwrap_err()
}

#[test]
fn settings_that_need_samples_are_refused_by_name() {
    let js = || config(FDivergence::JensenShannon);
    let text = refused(TunerConfig { replay: 1, ..js() }, |problem| problem.with_space(|_| Ok(space())));
    assert!(text.to_string().contains("replay is 1; allowed: 0"), "{text}");
    let text = refused(TunerConfig { max_importance_ratio: Some(2.0), ..js() }, |problem| {
        problem.with_space(|_| Ok(space()))
    });
    assert!(text.to_string().contains("max_importance_ratio is 2; allowed: none"), "{text}");
    let text = refused(js(), |problem| problem);
    assert!(
        text.to_string().contains("sampling is enumerated") && text.to_string().contains("with_space"),
        "{text}"
    );
    let online = TunerConfig { sampling: Sampling::Online, ..js() };
    let text = refused(online, |problem| problem.with_space(|_| Ok(space())));
    assert!(text.to_string().contains("sampling is online or offline"), "{text}");
    let text = refused(js(), |problem| {
        problem.with_space(|_| Ok(space())).with_statistic("distinct", |_: &[&usize]| 0.0).unwrap()
    });
    assert!(text.to_string().contains("statistic of samples is distinct"), "{text}");
    for metric in ["ess", "missing_mass", "advantage/std", "log_z_running"] {
        let early_stopping = Some(EarlyStopping { metric: metric.into(), ..EarlyStopping::default() });
        let error =
            refused(TunerConfig { early_stopping, ..js() }, |problem| problem.with_space(|_| Ok(space())));
        assert!(matches!(error, Error::Metric { .. }), "{error}");
    }
}

#[test]
fn spaces_that_will_not_do_are_refused_with_their_context() {
    let js = || config(FDivergence::JensenShannon);
    // Outcome 5 of context 1 has a probability of 1/40 under the policy.
    let error = refused(TunerConfig { metrics_every: 0, ..js() }, |problem| {
        problem.with_space(|context| Space::new(0..6 - context))
    });
    assert!(matches!(error, Error::Context { stage: Stage::LogProb, context: 1, .. }), "{error}");
    assert!(error.to_string().contains("over the space is 0.97"), "{error}");
    let error = refused(js(), |problem| problem.with_space(|_| Space::new([])));
    assert!(matches!(error, Error::Context { cause: CoreError::Empty { .. }, .. }), "{error}");
    let error = refused(js(), |problem| problem.with_space(|_| Space::new([1, 1])));
    assert!(error.to_string().contains("outcome 1 of a space is the same as outcome 0"), "{error}");
    let error = refused(js(), |problem| {
        problem.with_space(|context| match context {
            0 => Ok(space()),
            _ => Err(CoreError::failed("column `choices`", "none")),
        })
    });
    assert!(
        error.to_string().contains("context 1") && error.to_string().contains("column `choices`"),
        "{error}"
    );
}

/// One context in each step: the space of the last one lacks outcomes, and no step has metrics.
#[test]
fn a_space_that_lacks_an_outcome_is_refused_in_the_first_pass() {
    for lacking in 0..2 {
        let error = refused(
            TunerConfig {
                contexts_per_step: 1,
                metrics_every: 0,
                steps: 2,
                ..config(FDivergence::JensenShannon)
            },
            |problem| problem.with_space(move |context| Space::new(0..6 - usize::from(*context == lacking))),
        );
        let is_named =
            matches!(error, Error::Context { stage: Stage::LogProb, context, .. } if context == lacking);
        assert!(is_named, "{error}");
    }
}

/// Steps in context 0, whose space is whole; the space of the held-out context 1 lacks outcome 5.
#[test]
fn a_held_out_space_that_lacks_an_outcome_is_refused() {
    let (contexts, held_out) = (Contexts::single(0), Contexts::single(1));
    let target = crate::common::small::target(false);
    let problem = Problem::new(&contexts, &target)
        .with_space(|context| Space::new(0..6 - context))
        .with_held_out(&held_out);
    let validation = Some(Validation { every: 1, samples: 2 });
    let config = TunerConfig { contexts_per_step: 1, validation, ..config(FDivergence::JensenShannon) };
    let tuner = Tuner::new(config).unwrap();
    let error = tuner.run(&mut crate::common::small::first(), &problem, &mut ()).unwrap_err();
    assert!(matches!(error, Error::Context { stage: Stage::Validation, context: 0, .. }), "{error}");
    assert!(error.to_string().contains("sum of the policy's probabilities over the space"), "{error}");
}

#[test]
fn a_context_in_which_the_target_allows_nothing_is_an_error_at_once() {
    let contexts = contexts();
    let target = scorer(|context: &usize, _: &usize| if *context == 1 { f64::NEG_INFINITY } else { 0.0 });
    let problem = Problem::new(&contexts, &target).with_space(|_| Ok(space()));
    let tuner = Tuner::new(config(FDivergence::JensenShannon)).unwrap();
    let error = tuner.run(&mut crate::common::small::first(), &problem, &mut ()).unwrap_err();
    assert!(matches!(error, Error::Context { stage: Stage::Score, context: 1, .. }), "{error}");
    assert!(error.to_string().contains("target is 0 for all 6 outcomes"), "{error}");
}

#[test]
fn a_base_with_other_outcomes_has_no_divergence_and_a_warning() {
    let (contexts, target, wide) = (
        contexts(),
        crate::common::small::target(false),
        Table::uniform(Space::new(0..2).unwrap(), Space::new(0..12).unwrap()),
    );
    let problem = Problem::new(&contexts, &target).with_space(|_| Ok(space())).with_base(&wide);
    let tuner = Tuner::new(config(FDivergence::JensenShannon)).unwrap();
    let (mut policy, mut observed) = (crate::common::small::first(), InMemory::default());
    tuner.run(&mut policy, &problem, &mut observed).unwrap();
    let report = &observed.reports()[0];
    let metric = &report.metrics["kl_policy_base"];
    assert!(metric.value.is_nan() && metric.std_error.is_none(), "{metric:?}");
    assert!(
        report.warnings.iter().any(|text| text.contains("sum of the base's probabilities")),
        "{report:?}"
    );
}
