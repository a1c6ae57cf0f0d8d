//! Construction and bad input.

use std::sync::Arc;

use disco_core::{Contexts, Error as CoreError, Feature, try_feature};
use disco_ebm::{
    Constraint, ConstraintKind, ContextErrors, ContextSamples, Dual, Error, EvaluatedSamples, FitConfig,
    Measured, MomentTarget, Solver, Tilt, features, fit_adaptively,
};
use ndarray::array;

use crate::uniform::{below, draw, moment, rng, uniform};

type Result<T> = std::result::Result<T, Error>;

#[track_caller]
fn refused<T>(result: Result<T>, field: &str) {
    match result.err() {
        Some(Error::Core(CoreError::Invalid { field: found, allowed, .. })) => {
            assert!(found.contains(field), "{found} is not {field}");
            assert!(!allowed.is_empty());
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn constraints_out_of_range() {
    for bad in [f64::NAN, f64::INFINITY] {
        refused(Constraint::moment(below(1), bad), "target of `below 1`");
        refused(moment(1, 0.5).within(bad), "tolerance of `below 1`");
    }
    refused(moment(1, 0.5).within(-0.1), "tolerance of `below 1`");
    refused(Constraint::pointwise(below(1)).within(0.1), "tolerance of `below 1`");
    let kind = ConstraintKind::Moment { target: f64::NAN, tolerance: 0.0 };
    refused(Constraint::new(Arc::new(below(1)), kind), "target of `below 1`");
}

#[test]
fn settings_out_of_range() {
    let constraints = [moment(3, 0.5)];
    let measured = draw(&constraints, 100);
    let with = |change: fn(&mut FitConfig)| {
        let mut config = FitConfig::default();
        change(&mut config);
        measured.fit(&constraints, &config)
    };
    refused(with(|config| config.solver.tolerance = 0.0), "solver.tolerance");
    refused(with(|config| config.solver.tolerance = f64::NAN), "solver.tolerance");
    refused(with(|config| config.solver.max_iterations = 0), "solver.max_iterations");
    refused(with(|config| config.ridge = -1.0), "ridge");
    refused(with(|config| config.min_ess = f64::NAN), "min_ess");
    refused(with(|config| config.held_out = 1.0), "held_out");
    refused(with(|config| config.context_errors = ContextErrors::Drawn), "context_errors");
    refused(
        Measured::draw(&uniform(), vec![()], &features(&constraints), 0, &mut rng()),
        "samples per context",
    );
    assert!(serde_json::from_str::<FitConfig>(r#"{"rigde": 1}"#).is_err());
    let config: FitConfig =
        serde_json::from_str(r#"{"ridge": 1, "context_errors": "drawn"}"#).expect("valid");
    assert_eq!((config.ridge, config.min_ess), (1.0, 10.0));
}

#[test]
fn adaptive_settings_out_of_range() {
    let with = |change: fn(&mut disco_ebm::AdaptiveConfig)| {
        let mut config = disco_ebm::AdaptiveConfig::default();
        change(&mut config);
        fit_adaptively(&uniform(), &Contexts::single(()), &[moment(3, 0.5)], &config, &mut rng(), |_, _| {
            panic!("nothing is proposed with bad settings")
        })
    };
    refused(with(|config| config.samples = 0), "samples");
    refused(with(|config| config.max_rounds = 0), "max_rounds");
    refused(with(|config| config.wanted_ess = f64::NAN), "wanted_ess");
    refused(with(|config| config.step_ess = 0.0), "step_ess");
    refused(with(|config| config.fit.ridge = -1.0), "ridge");
}

#[test]
fn nothing_to_fit() {
    let empty: [Constraint<(), u32>; 0] = [];
    let is_empty = |error: Option<Error>| matches!(error, Some(Error::Core(CoreError::Empty { .. })));
    assert!(is_empty(draw(&[moment(3, 0.5)], 10).fit(&empty, &FitConfig::default()).err()));
    assert!(is_empty(Measured::draw(&uniform(), vec![()], &features(&empty), 10, &mut rng()).err()));
    assert!(is_empty(Measured::draw(&uniform(), vec![], &features(&[moment(3, 0.5)]), 10, &mut rng()).err()));
    assert!(is_empty(Dual::new(vec![], vec![], None, 0.0).err()));
    assert!(is_empty(EvaluatedSamples::sampled(vec![], ndarray::Array2::zeros((0, 1))).err()));
    let no_samples = Measured::from_base(vec![()], vec![vec![]], &features(&[moment(3, 0.5)]));
    match no_samples.err() {
        Some(Error::InContext { context: 0, cause: CoreError::Empty { .. } }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn duplicate_and_unknown_names() {
    let twice = [moment(3, 0.5), moment(3, 0.6)];
    let named = |error: Option<Error>| match error {
        Some(Error::DuplicateFeature { feature }) => feature,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        named(Measured::draw(&uniform(), vec![()], &features(&twice), 10, &mut rng()).err()),
        "below 3"
    );
    let measured = draw(&[moment(3, 0.5)], 100);
    assert_eq!(named(measured.fit(&twice, &FitConfig::default()).err()), "below 3");
    assert_eq!(named(Tilt::new(twice.map(|constraint| (constraint, Some(0.0)))).err()), "below 3");
    match measured.fit(&[moment(4, 0.5)], &FitConfig::default()).err() {
        Some(Error::NotMeasured { feature, measured }) => {
            assert_eq!((feature.as_str(), measured), ("below 4", vec!["below 3".to_owned()]));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn numbers_that_are_none() {
    let bad = |value: f64| {
        let feature = try_feature("sometimes", move |_: &(), x: &u32| Ok(if *x == 7 { value } else { 0.0 }));
        let feature: Arc<dyn Feature<(), u32>> = Arc::new(feature);
        Measured::exact(&uniform(), uniform().space(), vec![()], &[feature]).err()
    };
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        match bad(value) {
            Some(Error::InContext { context: 0, cause: CoreError::NotANumber { by, index: 7, .. } }) => {
                assert_eq!(by, "sometimes");
            }
            other => panic!("{other:?}"),
        }
    }
    let stored = |log_base: f64, log_proposal: f64| {
        let stored = ContextSamples {
            context: (),
            samples: vec![1u32],
            log_base: vec![log_base],
            log_proposal: vec![log_proposal],
        };
        Measured::from_stored(vec![stored], &features(&[moment(3, 0.5)])).err()
    };
    for (base, proposal) in
        [(f64::NAN, -1.0), (f64::INFINITY, -1.0), (-1.0, f64::NAN), (-1.0, f64::NEG_INFINITY)]
    {
        assert!(
            matches!(stored(base, proposal), Some(Error::InContext { context: 0, .. })),
            "{base} {proposal}"
        );
    }
    assert!(stored(f64::NEG_INFINITY, -1.0).is_none(), "what the base cannot produce is allowed");
    assert!(EvaluatedSamples::sampled(vec![f64::NAN], array![[1.0]]).is_err());
    assert!(EvaluatedSamples::sampled(vec![0.0], array![[f64::NAN]]).is_err());
}

#[test]
fn lengths_that_differ() {
    let is_length = |error: Option<Error>| match error {
        Some(
            Error::Core(CoreError::Length { .. }) | Error::InContext { cause: CoreError::Length { .. }, .. },
        ) => {}
        other => panic!("{other:?}"),
    };
    let constraints = [moment(3, 0.5)];
    is_length(Measured::from_base(vec![(), ()], vec![vec![]], &features(&constraints)).err());
    let stored = ContextSamples {
        context: (),
        samples: vec![1u32, 2],
        log_base: vec![-1.0],
        log_proposal: vec![-1.0],
    };
    is_length(Measured::from_stored(vec![stored], &features(&constraints)).err());
    is_length(draw(&constraints, 10).with_context_weights(&[1.0, 1.0]).err());
    refused(draw(&constraints, 10).with_context_weights(&[0.0]), "weight of context 0");
    is_length(EvaluatedSamples::sampled(vec![0.0, 0.0], array![[1.0]]).err());
    let targets = || vec![MomentTarget { name: "a".into(), target: 0.5, tolerance: 0.0 }];
    let points = || EvaluatedSamples::sampled(vec![0.0, 0.0], array![[0.0], [1.0]]).expect("points");
    is_length(Dual::new(targets(), vec![points()], Some(&[1.0, 2.0]), 0.0).err());
    let dual = Dual::new(targets(), vec![points()], None, 0.0).expect("a dual");
    is_length(dual.value(&[0.0, 1.0]).err());
    is_length(dual.solve_from(&Solver::default(), Some(&[])).err().or(dual.gradient(&[]).err()));
    let exact = EvaluatedSamples::exact(vec![0.0, 0.0], array![[0.0], [1.0]]).expect("points");
    refused(Dual::new(targets(), vec![points(), exact], None, 0.0), "points");
    refused(Dual::new(targets(), vec![points()], None, f64::NAN), "ridge");
    /// A feature that loses a sample.
    struct Short;
    impl Feature<(), u32> for Short {
        fn name(&self) -> &str {
            "short"
        }
        fn values(&self, _: &(), samples: &[&u32]) -> disco_core::Result<Vec<disco_core::Score>> {
            Ok(vec![Ok(0.0); samples.len() - 1])
        }
    }
    let short: Arc<dyn Feature<(), u32>> = Arc::new(Short);
    is_length(Measured::draw(&uniform(), vec![()], &[short], 10, &mut rng()).err());
}

#[test]
fn coefficients_that_do_not_fit_their_constraint() {
    refused(Tilt::new([(moment(3, 0.5), None)]), "coefficient of `below 3`");
    refused(Tilt::new([(moment(3, 0.5), Some(f64::NAN))]), "coefficient of `below 3`");
    refused(Tilt::new([(Constraint::pointwise(below(3)), Some(1.0))]), "coefficient of `below 3`");
}

#[test]
fn values_whose_squares_overflow() {
    // Their variance would be infinite, every standardised value 0, and any coefficients "converged".
    let target = || vec![MomentTarget { name: "huge".into(), target: 5e199, tolerance: 0.0 }];
    let points = |size: f64| {
        let values = array![[0.0], [0.4 * size], [size]];
        EvaluatedSamples::sampled(vec![0.0; 3], values).expect("finite values")
    };
    refused(Dual::new(target(), vec![points(1e200)], None, 0.0), "value of feature `huge`");
    refused(Dual::new(target(), vec![points(-1e151)], None, 0.0), "value of feature `huge`");
    // As large as allowed, and as small: the fit is that of other units.
    for size in [1e150, 1e-150] {
        let target = vec![MomentTarget { name: "x".into(), target: 0.7 * size, tolerance: 0.0 }];
        let dual = Dual::new(target, vec![points(size)], None, 0.0).expect("a dual");
        let found = dual.solve(&Solver::default()).expect("solves");
        let reference = vec![MomentTarget { name: "x".into(), target: 0.7, tolerance: 0.0 }];
        let reference = Dual::new(reference, vec![points(1.0)], None, 0.0).expect("a dual");
        let expected = reference.solve(&Solver::default()).expect("solves").coefficients[0];
        assert!(found.termination.is_converged());
        assert!((found.coefficients[0] * size - expected).abs() < 1e-8 * expected, "{found:?} {expected}");
    }
}

#[test]
fn a_ridge_beyond_the_units_of_a_feature() {
    let target = vec![MomentTarget { name: "tiny".into(), target: 5e-201, tolerance: 0.0 }];
    let points = EvaluatedSamples::sampled(vec![0.0; 2], array![[0.0], [1e-200]]).expect("finite values");
    refused(Dual::new(target, vec![points], None, 1.0), "ridge");
}
