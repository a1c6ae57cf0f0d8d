//! Construction and bad input.

use std::sync::Arc;

use disco_core::{
    Contexts, Error as CoreError, Failure, Feature, Sampled, Space, StreamRng, Table, feature, predicate,
    scorer, try_feature,
};
use disco_ebm::{
    Constraint, ConstraintKind, ContextErrors, ContextSamples, ContextsWithoutSupport, Dual, Error,
    FitConfig, HeldOut, Measured, MomentTarget, Points, Solver, Tilt, features, fit_adaptively,
};
use ndarray::array;
use rand::SeedableRng;

type Result<T> = std::result::Result<T, Error>;

fn uniform() -> Table<u32> {
    Space::new(0..10u32).expect("distinct").uniform()
}

fn below(limit: u32) -> impl Feature<(), u32> {
    predicate(format!("below {limit}"), move |_: &(), x: &u32| *x < limit)
}

fn moment(limit: u32, target: f64) -> Constraint<(), u32> {
    Constraint::moment(below(limit), target).expect("finite")
}

fn rng() -> StreamRng {
    StreamRng::seed_from_u64(1)
}

fn draw(constraints: &[Constraint<(), u32>], count: usize) -> Measured<(), u32> {
    Measured::draw(&uniform(), vec![()], &features(constraints), count, &mut rng()).expect("measures")
}

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
        fit_adaptively(&uniform(), &Contexts::one(()), &[moment(3, 0.5)], &config, &mut rng(), |_, _| {
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
    assert!(is_empty(Points::sampled(vec![], ndarray::Array2::zeros((0, 1))).err()));
    let no_samples = Measured::from_base(vec![()], vec![vec![]], &features(&[moment(3, 0.5)]));
    match no_samples.err() {
        Some(Error::InContext { context: 0, source: CoreError::Empty { .. } }) => {}
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
            Some(Error::InContext { context: 0, source: CoreError::NotANumber { by, index: 7, .. } }) => {
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
    assert!(Points::sampled(vec![f64::NAN], array![[1.0]]).is_err());
    assert!(Points::sampled(vec![0.0], array![[f64::NAN]]).is_err());
}

#[test]
fn lengths_that_differ() {
    let is_length = |error: Option<Error>| match error {
        Some(
            Error::Core(CoreError::Length { .. }) | Error::InContext { source: CoreError::Length { .. }, .. },
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
    is_length(Points::sampled(vec![0.0, 0.0], array![[1.0]]).err());
    let targets = || vec![MomentTarget { name: "a".into(), target: 0.5, tolerance: 0.0 }];
    let points = || Points::sampled(vec![0.0, 0.0], array![[0.0], [1.0]]).expect("points");
    is_length(Dual::new(targets(), vec![points()], Some(&[1.0, 2.0]), 0.0).err());
    let dual = Dual::new(targets(), vec![points()], None, 0.0).expect("a dual");
    is_length(dual.value(&[0.0, 1.0]).err());
    is_length(dual.solve_from(&Solver::default(), Some(&[])).err().or(dual.gradient(&[]).err()));
    let exact = Points::exact(vec![0.0, 0.0], array![[0.0], [1.0]]).expect("points");
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
fn pointwise_constraints_on_what_is_not_binary() {
    let half = feature("half", |_: &(), x: &u32| f64::from(*x) / 2.0);
    let constraints = [Constraint::pointwise(half)];
    match draw(&constraints, 100).fit(&constraints, &FitConfig::default()).err() {
        Some(Error::NotBinary { feature, .. }) => assert_eq!(feature, "half"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn contexts_without_support() {
    // Context 1 never satisfies the pointwise constraint.
    let pointwise = Constraint::pointwise(predicate("allowed", |c: &u32, _: &u32| *c != 1));
    let constraints =
        [pointwise, Constraint::moment(predicate("low", |_: &u32, x: &u32| *x < 3), 0.5).expect("finite")];
    let measured = Measured::draw(&uniform(), vec![0, 1, 2], &features(&constraints), 500, &mut rng())
        .expect("measures");
    match measured.fit(&constraints, &FitConfig::default()).err() {
        Some(Error::NoSupport { context: 1, samples: 500, never }) => assert_eq!(never, ["allowed"]),
        other => panic!("{other:?}"),
    }
    let leave_out =
        FitConfig { contexts_without_support: ContextsWithoutSupport::LeaveOut, ..FitConfig::default() };
    let report = measured.fit(&constraints, &leave_out).expect("fits").report().clone();
    assert_eq!((report.contexts, report.contexts_left_out), (2, 1));
    assert!((report.constraints[1].achieved.value - 0.5).abs() < 1e-9);
    assert!(matches!(report.held_out, HeldOut::Measured { contexts: 2, .. }));
    let never = [Constraint::never(predicate("anything", |_: &u32, _: &u32| true))];
    let measured = Measured::draw(&uniform(), vec![0], &features(&never), 50, &mut rng()).expect("measures");
    for config in [FitConfig::default(), leave_out] {
        assert!(matches!(measured.fit(&never, &config).err(), Some(Error::NoSupport { context: 0, .. })));
    }
}

#[test]
fn too_few_effective_samples() {
    // Ten samples of a die, of which the few sixes must carry 99% of the weight.
    let constraints = [moment(1, 0.99)];
    let measured = draw(&constraints, 40);
    match measured.fit(&constraints, &FitConfig::default()).err() {
        Some(Error::TooFewEffectiveSamples { ess, needed: 10.0 }) => {
            assert!(ess > 1.0 && ess < 10.0, "{ess}")
        }
        other => panic!("{other:?}"),
    }
    let lax = FitConfig { min_ess: 0.0, ..FitConfig::default() };
    assert!(measured.fit(&constraints, &lax).expect("fits").report().ess.expect("sampled") < 10.0);
}

#[test]
fn samples_that_cannot_be_evaluated() {
    let picky = |skip: fn(u32) -> bool| {
        try_feature("picky", move |_: &(), x: &u32| {
            if skip(*x) { Err(Failure::Skip("not for me".into())) } else { Ok(f64::from(u8::from(*x < 5))) }
        })
    };
    let constraints = [Constraint::moment(picky(|x| x == 9), 0.5).expect("finite"), moment(3, 0.3)];
    let measured = draw(&constraints, 1000);
    let skipped = measured.skipped()["picky"];
    assert!((60..150).contains(&skipped), "{skipped}");
    assert_eq!(measured.samples(), 1000 - skipped);
    assert!(measured.context(0).expect("one").samples.iter().all(|x| *x != 9));
    let report = measured.fit(&constraints, &FitConfig::default()).expect("fits").report().clone();
    assert_eq!((report.skipped["picky"], report.samples), (skipped, 1000 - skipped));
    let all = Constraint::moment(picky(|_| true), 0.5).expect("finite");
    let error = Measured::draw(&uniform(), vec![()], &features(&[all]), 10, &mut rng()).err();
    assert!(matches!(error, Some(Error::AllSkipped { context: 0, skipped: 10 })), "{error:?}");
    // Exact sums cannot leave anything out.
    let some = Constraint::moment(picky(|x| x == 9), 0.5).expect("finite");
    assert!(Measured::exact(&uniform(), uniform().space(), vec![()], &features(&[some])).is_err());
    // A failure that stops the run is passed on.
    let stop = try_feature("broken", |_: &(), _: &u32| Err(Failure::Stop("no disk".into())));
    let stop = [Constraint::moment(stop, 0.5).expect("finite")];
    let error = Measured::draw(&uniform(), vec![()], &features(&stop), 10, &mut rng()).err();
    assert!(matches!(error, Some(Error::InContext { source: CoreError::Failed { .. }, .. })), "{error:?}");
}

#[test]
fn exact_sums_need_a_normalised_base() {
    let twice = scorer(|_: &(), _: &u32| 0.2f64.ln());
    match Measured::exact(&twice, uniform().space(), vec![()], &features(&[moment(3, 0.5)])).err() {
        Some(Error::InContext { context: 0, source: CoreError::Invalid { .. } }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn all_weights_zero() {
    let samples = vec![vec![Sampled { value: 3u32, log_prob: -1.0 }; 20]];
    let impossible = scorer(|_: &(), _: &u32| f64::NEG_INFINITY);
    let constraints = [moment(3, 0.5)];
    let measured =
        Measured::from_proposal(&impossible, vec![()], samples, &features(&constraints)).expect("measures");
    let error = measured.fit(&constraints, &FitConfig::default()).err();
    assert!(matches!(error, Some(Error::NoSupport { context: 0, samples: 20, .. })), "{error:?}");
    let error = measured.base_moments(ContextErrors::Fixed).err();
    let Some(Error::InContext { context: 0, source: CoreError::ZeroWeights { count: 20 } }) = error else {
        panic!("{error:?}");
    };
}

#[test]
fn coefficients_that_do_not_fit_their_constraint() {
    refused(Tilt::new([(moment(3, 0.5), None)]), "coefficient of `below 3`");
    refused(Tilt::new([(moment(3, 0.5), Some(f64::NAN))]), "coefficient of `below 3`");
    refused(Tilt::new([(Constraint::pointwise(below(3)), Some(1.0))]), "coefficient of `below 3`");
}

#[test]
fn messages_name_the_feature_and_the_range() {
    let constraints =
        [Constraint::moment(predicate("ten", |_: &(), x: &u32| *x == 10), 0.5).expect("finite")];
    let error = draw(&constraints, 100).fit(&constraints, &FitConfig::default()).expect_err("never occurs");
    let message = error.to_string();
    assert!(
        message.contains("`ten`") && message.contains("0.5") && message.contains("from 0 to 0"),
        "{message}"
    );
}
