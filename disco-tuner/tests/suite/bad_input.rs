//! Refusals: which input, when, and with which message.

use disco_core::{Condition, Contexts, Error as CoreError, Feature, Product, Space, feature, scorer};
use disco_divergence::FDivergence;
use disco_tuner::{
    Adam, Baseline, Control, Csv, Decay, EarlyStopping, Error, InMemory, JsonLines, MicroBatch, Observer,
    ObserverError, Optimizer, Outcome, Problem, Sampling, Schedule, SoftmaxTable, StepReport, StopFlag,
    StopReason, Tuner, TunerConfig, Validation,
};

use crate::common::{Kind, World, base, target};

#[track_caller]
fn refused(field: &str, change: impl FnOnce(&mut TunerConfig)) {
    let mut config = TunerConfig::default();
    change(&mut config);
    let error = Tuner::new(config).unwrap_err();
    assert!(matches!(error, Error::Core(CoreError::Invalid { .. })), "{error:?}");
    assert!(error.to_string().contains(field), "`{error}` does not name {field}");
}

#[test]
fn settings_outside_their_range_are_refused_by_name() {
    refused("steps", |config| config.steps = 0);
    refused("samples_per_step", |config| config.samples_per_step = 0);
    refused("contexts_per_step", |config| config.contexts_per_step = 0);
    refused("epochs", |config| config.epochs = 0);
    refused("micro_batch.samples", |config| config.micro_batch.samples = 0);
    refused("micro_batch.tokens", |config| config.micro_batch.tokens = Some(0));
    refused("max_steps_without_success", |config| config.max_steps_without_success = 0);
    for value in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        refused("learning_rate", |config| config.learning_rate = value);
        refused("max_gradient_norm", |config| config.max_gradient_norm = Some(value));
        refused("max_importance_ratio", |config| config.max_importance_ratio = Some(value));
        refused("max_pseudo_reward", |config| config.max_pseudo_reward = Some(value));
    }
    refused("optimizer.beta1", |config| {
        config.optimizer = Optimizer::Adam(Adam { beta1: 1.0, ..Adam::default() });
    });
    refused("optimizer.weight_decay", |config| {
        config.optimizer = Optimizer::Sgd { momentum: 0.0, weight_decay: -1.0 };
    });
    refused("schedule.warmup_steps", |config| config.schedule.warmup_steps = 1001);
    refused("schedule.floor", |config| {
        config.schedule = Schedule { decay: Decay::Linear, warmup_steps: 0, floor: 1.5 };
    });
    refused("sampling.every", |config| {
        config.sampling = Sampling::Offline { metric: FDivergence::KlForward, z: 1.0, every: 0 };
    });
    refused("sampling.z", |config| {
        config.sampling = Sampling::Offline { metric: FDivergence::KlForward, z: f64::NAN, every: 1 };
    });
    refused("validation.every", |config| config.validation = Some(Validation { every: 0, samples: 2 }));
    refused("validation.samples", |config| config.validation = Some(Validation { every: 1, samples: 1 }));
    let stopping =
        |patience| Some(EarlyStopping { metric: "entropy".into(), patience, ..EarlyStopping::default() });
    refused("early_stopping.patience", |config| config.early_stopping = stopping(0));
    refused("metrics_every", |config| {
        (config.early_stopping, config.metrics_every) = (stopping(1), 0);
    });
    refused("early_stopping.metric", |config| {
        let metric = "validation/js_target_policy".into();
        config.early_stopping = Some(EarlyStopping { metric, patience: 1, ..EarlyStopping::default() });
    });
    refused("baseline", |config| config.baseline = Baseline::ForwardKl);
}

#[test]
fn settings_come_from_files_with_defaults_and_without_strangers() {
    let read = |text: &str| serde_json::from_str::<TunerConfig>(text);
    let config = read(
        r#"{"divergence": "alpha:0.5", "sampling": {"kind": "offline"}, "schedule": {"decay": "cosine"},
            "optimizer": {"kind": "adamw", "weight_decay": 0.1}, "baseline": "leave-one-out"}"#,
    )
    .unwrap();
    assert_eq!(config.sampling, Sampling::offline());
    assert_eq!((config.steps, config.divergence.to_string().as_str()), (1000, "alpha:0.5"));
    let again = serde_json::to_string(&config).unwrap();
    assert_eq!(read(&again).unwrap(), config);
    for stranger in [r#"{"step": 3}"#, r#"{"divergence": "kl"}"#, r#"{"schedule": {"warmup": 3}}"#] {
        assert!(read(stranger).is_err(), "{stranger}");
    }
}

#[test]
fn settings_that_do_not_fit_the_problem_are_refused() {
    let (contexts, target) = (Contexts::new(vec![0usize, 1, 2]).unwrap(), target(Kind::Mixed));
    let world = World::new(3, 8);
    let start = |config: TunerConfig, problem: &Problem<'_, usize, usize>| {
        let (tuner, mut policy) = (Tuner::new(config).unwrap(), world.policy());
        tuner.start(&mut policy, problem).map(|_| ()).unwrap_err().to_string()
    };
    let plain = Problem::new(&contexts, &target);
    let few = TunerConfig { samples_per_step: 5, ..TunerConfig::default() };
    assert!(start(few, &plain).contains("at least 6"));
    let tokens = MicroBatch { samples: 4, tokens: Some(100) };
    let tokens = TunerConfig { micro_batch: tokens, ..TunerConfig::default() };
    assert!(start(tokens, &plain).contains("micro_batch.tokens"));
    let validation =
        TunerConfig { validation: Some(Validation { every: 1, samples: 2 }), ..TunerConfig::default() };
    assert!(start(validation, &plain).contains("held-out"));
    let held_out = Problem::new(&contexts, &target).with_held_out(&contexts);
    assert!(start(TunerConfig::default(), &held_out).contains("held-out"));
    let one = feature("one", |_: &usize, _: &usize| 1.0);
    let twice = [&one as &dyn Feature<usize, usize>, &one];
    assert!(Problem::new(&contexts, &target).with_features(twice).is_err());
    let once =
        Problem::new(&contexts, &target).with_statistic("n", |samples: &[&usize]| samples.len() as f64);
    let error = once.unwrap().with_statistic("n", |_| 0.0).unwrap_err().to_string();
    assert!(error.contains("name of a statistic is n"), "{error}");
    let once = Problem::new(&contexts, &target).with_fact("model", &1).unwrap();
    assert!(once.with_fact("model", &2).unwrap_err().to_string().contains("name of a fact is model"));
    let stopping =
        EarlyStopping { metric: "kl_target_polizy".into(), patience: 1, ..EarlyStopping::default() };
    let config = TunerConfig { early_stopping: Some(stopping), ..TunerConfig::default() };
    let error =
        Tuner::new(config).unwrap().run(&mut world.policy(), &plain, &mut ()).unwrap_err().to_string();
    assert!(error.contains("kl_target_polizy") && error.contains("kl_target_policy"), "{error}");
    let stopping = EarlyStopping { metric: "entropy".into(), ..EarlyStopping::default() };
    let config = TunerConfig { early_stopping: Some(stopping), ..TunerConfig::default() };
    let error = start(config, &plain);
    assert!(error.contains("early_stopping.direction is none") && error.contains("`entropy`"), "{error}");
}

#[test]
fn hard_constraints_are_refused_where_they_must_be() {
    let (world, target) = (World::new(2, 30), target(Kind::Pointwise));
    for name in ["reverse-kl", "chi2-reverse", "jeffreys", "alpha:1.5"] {
        let tuner = Tuner::new(TunerConfig::f_cdpg(name.parse().unwrap())).unwrap();
        let mut policy = world.policy();
        let before = policy.logits().to_owned();
        let declared = Problem::new(&world.contexts, &target).with_hard_constraints();
        let even = feature("even", |_: &usize, x: &usize| f64::from(x.is_multiple_of(2)));
        let known = Product(Condition::always(even), base());
        for problem in [declared, Problem::new(&world.contexts, &known)] {
            let error = tuner.start(&mut policy, &problem).map(|_| ()).unwrap_err();
            assert!(
                matches!(&error, Error::HardConstraints { alternatives, .. } if alternatives.iter().any(|name| name == "js")),
                "{error}"
            );
        }
        let noticed = Problem::new(&world.contexts, &target);
        let error = tuner.run(&mut policy, &noticed, &mut ()).unwrap_err();
        assert!(matches!(&error, Error::HardConstraints { divergence, .. } if divergence == name), "{error}");
        assert!(error.to_string().contains("step 0, context"), "{error}");
        assert_eq!(policy.logits(), before);
    }
}

#[test]
fn numbers_that_are_none_stop_the_step_before_the_update() {
    let world = World::new(2, 30);
    let mut policy = world.policy();
    let tuner = Tuner::new(TunerConfig { metrics_every: 1, ..TunerConfig::default() }).unwrap();
    let before = policy.logits().to_owned();

    let sick = scorer(|_: &usize, x: &usize| if *x == 3 { f64::NAN } else { 0.0 });
    let error =
        tuner.run(&mut policy, &Problem::new(&world.contexts, &sick), &mut ()).unwrap_err().to_string();
    assert!(error.contains("step 0, score, context") && error.contains("NaN for sample"), "{error}");
    assert_eq!(policy.logits(), before);

    // A pseudo-reward beyond f64: the policy gives 1e-180 to what the target gives 1.
    let space = Space::new([0u8, 1]).unwrap();
    let logits = ndarray::array![[0.0, -20.0]];
    let mut policy = SoftmaxTable::new(Space::new([()]).unwrap(), space, logits.clone()).unwrap();
    let contexts = Contexts::single(());
    let far = scorer(|_: &(), x: &u8| if *x == 0 { 700.0 } else { 0.0 });
    let config = TunerConfig {
        partition: disco_tuner::Partition::Normalised,
        ..TunerConfig::f_dpg(FDivergence::ChiSquaredForward)
    };
    let error =
        Tuner::new(config).unwrap().run(&mut policy, &Problem::new(&contexts, &far), &mut ()).unwrap_err();
    assert!(matches!(error, Error::Weight { step: 0, context: 0, sample: 0, .. }), "{error}");
    assert_eq!(policy.logits(), logits);
}

#[test]
fn an_infinite_weight_is_blamed_on_the_sample_that_has_it() {
    // A soft "minus infinity" for outcome 3: pi/p overflows there, and with it the leave-one-out baseline of all others.
    let space = Space::new(0..4u8).unwrap();
    let contexts = Contexts::single(());
    for penalty in [-1e16, -1e30, f64::from(f32::MIN)] {
        let soft = scorer(move |_: &(), x: &u8| if *x == 3 { penalty } else { 0.3 * f64::from(*x) });
        let mut policy = SoftmaxTable::uniform(Space::new([()]).unwrap(), space.clone());
        let config = TunerConfig {
            baseline: Baseline::LeaveOneOut,
            ..TunerConfig::f_dpg(FDivergence::ChiSquaredReverse)
        };
        let error = Tuner::new(config)
            .unwrap()
            .run(&mut policy, &Problem::new(&contexts, &soft), &mut ())
            .unwrap_err();
        assert!(matches!(error, Error::Weight { log_target, .. } if log_target == penalty), "{error}");
    }
}

#[test]
fn runs_that_see_nothing_of_the_target_end_with_advice() {
    let world = World::new(1, 30);
    let nothing = scorer(|_: &usize, _: &usize| f64::NEG_INFINITY);
    let tuner = Tuner::new(TunerConfig { max_steps_without_success: 4, ..TunerConfig::default() }).unwrap();
    let (mut policy, mut observed) = (world.policy(), InMemory::default());
    let before = policy.logits().to_owned();
    let error = tuner.run(&mut policy, &Problem::new(&world.contexts, &nothing), &mut observed).unwrap_err();
    assert!(
        matches!(error, Error::NoSuccess { steps: 4, samples: 1024, skipped: 0, first_skip: None }),
        "{error}"
    );
    assert!(error.to_string().contains("samples_per_step"));
    assert!(observed.reports().iter().all(|report| report.contexts_without_success == 1));
    assert_eq!(policy.logits(), before);
}

/// An observer that fails.
struct Failing {
    start: bool,
    every_step: bool,
}

impl Observer for Failing {
    fn start(&mut self, _: &TunerConfig, _: u64) -> Result<(), ObserverError> {
        if self.start { Err("the disk is full".into()) } else { Ok(()) }
    }

    fn step(&mut self, report: &StepReport) -> Result<Control, ObserverError> {
        if self.every_step { Err(format!("lost step {}", report.step).into()) } else { Ok(Control::Continue) }
    }

    fn finish(&mut self, _: &Outcome) -> Result<(), ObserverError> {
        Err("nobody listens".into())
    }
}

#[test]
fn observers_stop_refuse_and_fail_as_they_promise() {
    let (world, target) = (World::new(1, 30), target(Kind::Distributional));
    let problem = Problem::new(&world.contexts, &target);
    let tuner = Tuner::new(TunerConfig { steps: 6, ..TunerConfig::default() }).unwrap();
    let mut undisturbed = world.policy();
    tuner.run(&mut undisturbed, &problem, &mut ()).unwrap();

    let mut policy = world.policy();
    let refusal = tuner.run(&mut policy, &problem, &mut Failing { start: true, every_step: false });
    assert!(refusal.unwrap_err().to_string().contains("the disk is full"));
    assert_eq!(policy.logits(), world.policy().logits());

    let outcome = tuner.run(&mut policy, &problem, &mut Failing { start: false, every_step: true }).unwrap();
    assert_eq!((outcome.step, outcome.reason, outcome.observer_failures), (6, StopReason::Finished, 7));
    assert_eq!(outcome.first_observer_failure, Some((1, "lost step 1".into())));
    assert_eq!(policy.logits(), undisturbed.logits());

    let flag = StopFlag::default();
    flag.raise();
    let mut several: Vec<Box<dyn Observer>> =
        vec![Box::new(Failing { start: false, every_step: true }), Box::new(flag)];
    let outcome = tuner.run(&mut world.policy(), &problem, &mut several).unwrap();
    assert_eq!((outcome.step, outcome.reason), (1, StopReason::Observer));
}

#[test]
fn files_are_appended_and_found_unwritable_before_the_first_step() {
    let folder = tempfile::tempdir().unwrap();
    let (world, target) = (World::new(1, 30), target(Kind::Distributional));
    let problem = Problem::new(&world.contexts, &target);
    let tuner = Tuner::new(TunerConfig { steps: 4, metrics_every: 2, ..TunerConfig::default() }).unwrap();
    let (lines, table) = (folder.path().join("run.jsonl"), folder.path().join("run,1.csv"));
    for _ in 0..2 {
        let mut observers: Vec<Box<dyn Observer>> =
            vec![Box::new(JsonLines::new(&lines).unwrap()), Box::new(Csv::new(&table).unwrap())];
        let outcome = tuner.run(&mut world.policy(), &problem, &mut observers).unwrap();
        assert_eq!(outcome.observer_failures, 0);
    }
    let lines = std::fs::read_to_string(lines).unwrap();
    let records: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 2 * (4 + 1));
    assert_eq!(
        records[0]["metrics"]["kl_target_policy"]["value"],
        records[5]["metrics"]["kl_target_policy"]["value"]
    );
    assert_eq!(records[4]["reason"], "finished");
    let table = std::fs::read_to_string(table).unwrap();
    assert_eq!(table.lines().filter(|line| line.starts_with("step,")).count(), 1);
    assert_eq!(table.lines().filter(|line| line.starts_with("3,tv_target_policy,")).count(), 2);
    let nowhere = folder.path().join("missing").join("run.jsonl");
    assert!(matches!(JsonLines::new(&nowhere), Err(Error::Io { path, .. }) if path == nowhere));
    assert!(matches!(Csv::new(&nowhere), Err(Error::Io { .. })));
}
