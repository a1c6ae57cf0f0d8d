//! The direction in which the metric of early stopping improves.

use disco_tuner::{
    Checkpoints, Direction, EarlyStopping, InMemory, Outcome, Problem, StopReason, Tuner, TunerConfig,
};

use crate::common::{Kind, World, target};

/// A run that watches a statistic with these values, one per step.
fn watched(values: &[f64], stopping: EarlyStopping) -> Outcome {
    let (world, target) = (World::new(1, 12), target(Kind::Distributional));
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let next = |_: &[&usize]| values[calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed)];
    let problem = Problem::new(&world.contexts, &target).with_statistic("x", next).unwrap();
    let config = TunerConfig {
        steps: values.len() as u64,
        metrics_every: 1,
        early_stopping: Some(stopping),
        ..TunerConfig::default()
    };
    Tuner::new(config).unwrap().run(&mut world.policy(), &problem, &mut ()).unwrap()
}

#[test]
fn a_run_ends_when_its_metric_no_longer_goes_the_given_way() {
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    let stopping = |direction, min_delta| EarlyStopping {
        metric: "statistic/x".into(),
        patience: 2,
        min_delta,
        direction: Some(direction),
    };
    for (values, direction, min_delta, best, end) in [
        (vec![1.0, 2.0, 3.0, 2.0, 1.0, 0.0], Direction::Higher, 0.0, Some((3.0, 3)), 5),
        (vec![1.0, 2.0, 3.0, 2.0, 1.0, 0.0], Direction::Lower, 0.0, Some((1.0, 1)), 3),
        (vec![1.0, 1.4, 1.6, 1.7, 1.8, 9.0], Direction::Higher, 0.5, Some((1.6, 3)), 5),
        (vec![-1.0, -1.4, -1.6, -1.7, -1.8, -9.0], Direction::Lower, 0.5, Some((-1.6, 3)), 5),
        // A value that is not finite is no improvement, and never the best.
        (vec![nan, 2.0, inf, 3.0, nan, nan], Direction::Higher, 0.0, Some((3.0, 4)), 6),
        (vec![-inf, 2.0, -inf, 1.0, nan, -inf], Direction::Lower, 0.0, Some((1.0, 4)), 6),
        (vec![nan, nan, 1.0], Direction::Higher, 0.0, None, 2),
    ] {
        let outcome = watched(&values, stopping(direction, min_delta));
        assert_eq!((outcome.best, outcome.step), (best, end), "{values:?} {direction:?}");
        assert_eq!(outcome.reason, StopReason::NoImprovement, "{values:?} {direction:?}");
    }
}

#[test]
fn a_name_has_its_direction_and_one_without_must_be_given_one() {
    for (metric, expected) in [
        ("ess", Some(Direction::Higher)),
        ("validation/ess_share", Some(Direction::Higher)),
        ("validation/kl_target_policy", Some(Direction::Lower)),
        ("js_policy_base", Some(Direction::Lower)),
        ("outside_mass", Some(Direction::Lower)),
        ("moment/ess/policy", None),
        ("entropy", None),
        ("log_z", None),
        ("statistic/kl_x", None),
    ] {
        assert_eq!(Direction::of(metric), expected, "{metric}");
    }
    let read = serde_json::from_str::<EarlyStopping>;
    let stopping = read(r#"{"metric": "entropy", "patience": 3, "direction": "higher"}"#).unwrap();
    assert_eq!((stopping.direction, stopping.min_delta), (Some(Direction::Higher), 0.0));
    assert!(read(r#"{"metric": "entropy", "direction": "up"}"#).is_err());
}

/// The effective sample size rises while the policy nears the target: its best is its highest, and that checkpoint is kept.
#[test]
fn the_best_checkpoint_by_ess_is_that_of_its_highest_value() {
    let folder = tempfile::tempdir().unwrap();
    let (world, target) = (World::new(2, 20), target(Kind::Distributional));
    let problem = Problem::new(&world.contexts, &target);
    let stopping = EarlyStopping { metric: "ess".into(), patience: 1000, ..EarlyStopping::default() };
    let config = TunerConfig {
        steps: 30,
        learning_rate: 0.05,
        metrics_every: 1,
        early_stopping: Some(stopping),
        ..TunerConfig::default()
    };
    let checkpoints = Checkpoints::new(folder.path(), 100, 1).unwrap();
    let (tuner, mut policy, mut observed) =
        (Tuner::new(config).unwrap(), world.policy(), InMemory::default());
    let run = tuner.start(&mut policy, &problem).unwrap().with_checkpoints(&checkpoints).unwrap();
    let outcome = run.drive(&mut observed).unwrap();
    let highest = observed.series("ess").max_by(|one, two| one.1.value.total_cmp(&two.1.value)).unwrap();
    assert_eq!(outcome.best, Some((highest.1.value, highest.0)));
    assert_eq!(checkpoints.best().unwrap(), outcome.best);
    assert!(checkpoints.steps().unwrap().contains(&highest.0));
    assert!(highest.0 > 5 && highest.1.value > observed.reports()[0].metrics["ess"].value);
}
