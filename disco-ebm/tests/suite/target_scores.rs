//! The fitted target as a scorer, and what it costs.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use disco_core::{Failure, Score, Scorer, Space, StreamRng, predicate, scorer, try_feature};
use disco_ebm::{Constraint, ContextErrors, Ebm, FitConfig, Measured, Tilt, features};
use ndarray::Array2;
use rand::SeedableRng;

/// Counts how many samples it is asked about.
fn counted(name: &str, holds: fn(u32) -> bool) -> (Constraint<(), u32>, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let feature = predicate(name, move |_: &(), x: &u32| {
        counter.fetch_add(1, Ordering::Relaxed);
        holds(*x)
    });
    (Constraint::moment(feature, 0.5).expect("finite"), count)
}

fn scores(scorer: &impl Scorer<(), u32>, samples: &[u32]) -> Vec<Score> {
    scorer.log_scores(&(), &samples.iter().collect::<Vec<_>>()).expect("scores")
}

#[test]
fn each_feature_is_evaluated_once_per_sample() {
    let (low, low_calls) = counted("low", |x| x < 4);
    let (even, even_calls) = counted("even", |x| x.is_multiple_of(2));
    let constraints = [low, even];
    let uniform = Space::new(0..10u32).expect("distinct").uniform();
    let mut rng = StreamRng::seed_from_u64(2);
    let measured =
        Measured::draw(&uniform, vec![()], &features(&constraints), 1000, &mut rng).expect("measures");
    measured.base_moments(ContextErrors::Fixed).expect("weights");
    for constraint in &constraints {
        measured.fit(std::slice::from_ref(constraint), &FitConfig::default()).expect("fits");
    }
    measured.fit(&constraints, &FitConfig::default()).expect("fits");
    assert_eq!((low_calls.load(Ordering::Relaxed), even_calls.load(Ordering::Relaxed)), (1000, 1000));
}

#[test]
fn the_base_is_not_asked_about_what_is_forbidden() {
    let asked = AtomicUsize::new(0);
    let base = scorer(|_: &(), x: &u32| {
        asked.fetch_add(1, Ordering::Relaxed);
        assert!(x.is_multiple_of(2), "{x} is forbidden");
        -f64::from(*x)
    });
    let (low, low_calls) = counted("low", |x| x < 4);
    let even = Constraint::pointwise(predicate("even", |_: &(), x: &u32| x.is_multiple_of(2)));
    let tilt = Tilt::new([(low, Some(1.5)), (even, None)]).expect("a tilt");
    let target = Ebm::new(&base, tilt);
    let expected = [1.5, f64::NEG_INFINITY, -2.0 + 1.5, f64::NEG_INFINITY, -4.0].map(Ok);
    assert_eq!(scores(&target, &[0, 1, 2, 3, 4]), expected);
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    assert_eq!(low_calls.load(Ordering::Relaxed), 3, "nor are the other features");
    assert_eq!(scores(&target, &[1, 3]), [f64::NEG_INFINITY; 2].map(Ok));
    assert!(scores(&target, &[]).is_empty());
}

#[test]
fn known_values_give_the_same_scores() {
    let (low, _) = counted("low", |x| x < 4);
    let even = Constraint::never(predicate("even", |_: &(), x: &u32| x.is_multiple_of(2)));
    let target = Ebm::new(
        scorer(|_: &(), x: &u32| -f64::from(*x)),
        Tilt::new([(low, Some(0.7)), (even, None)]).expect("a tilt"),
    );
    let samples: Vec<u32> = (0..8).collect();
    let values = Array2::from_shape_fn((8, 2), |(x, j)| {
        f64::from(u8::from(if j == 0 { x < 4 } else { x.is_multiple_of(2) }))
    });
    let log_base: Vec<f64> = samples.iter().map(|x| -f64::from(*x)).collect();
    let known = target.log_scores_known(&(), &log_base, values.view()).expect("scores");
    assert_eq!(scores(&target, &samples), known.iter().copied().map(Ok).collect::<Vec<_>>());
    assert!(target.log_scores_known(&(), &log_base[1..], values.view()).is_err());
    assert!(target.log_scores_known(&(), &[f64::NAN; 8], values.view()).is_err());
    let nan = Array2::from_elem((8, 2), f64::NAN);
    assert!(target.log_scores_known(&(), &log_base, nan.view()).is_err());
    assert!(target.tilt().log_factors(&(), values.slice_axis(ndarray::Axis(1), (..1).into())).is_err());
}

#[test]
fn skipped_samples_stay_skipped_and_failures_stop() {
    let picky = try_feature("picky", |_: &(), x: &u32| match x {
        3 => Err(Failure::Skip("three".into())),
        4 => Err(Failure::Stop("four".into())),
        other => Ok(f64::from(*other)),
    });
    let constraint = Constraint::moment(picky, 1.0).expect("finite");
    let target =
        Ebm::new(scorer(|_: &(), _: &u32| 0.0), Tilt::new([(constraint, Some(1.0))]).expect("a tilt"));
    let found = scores(&target, &[1, 3]);
    assert_eq!(found[0], Ok(1.0));
    assert_eq!(found[1].as_ref().map_err(|skipped| skipped.by().to_owned()), Err("picky".to_owned()));
    assert!(target.log_scores(&(), &[&4]).is_err());
    let not_binary = Constraint::pointwise(disco_core::feature("x", |_: &(), x: &u32| f64::from(*x)));
    let tilt = Tilt::new([(not_binary, None)]).expect("a tilt");
    assert!(tilt.log_scores(&(), &[&1]).is_ok());
    assert!(tilt.log_scores(&(), &[&2]).is_err());
}

#[test]
fn moments_of_zero_and_one_on_binary_features_are_pointwise() {
    let uniform = Space::new(0..10u32).expect("distinct").uniform();
    let constraints = [
        Constraint::moment(predicate("even", |_: &(), x: &u32| x.is_multiple_of(2)), 1.0).expect("finite"),
        Constraint::moment(predicate("high", |_: &(), x: &u32| *x > 7), 0.0).expect("finite"),
        Constraint::moment(predicate("low", |_: &(), x: &u32| *x < 4), 0.75).expect("finite"),
        // Not binary: a mean of 0 is a moment like any other.
        Constraint::moment(disco_core::feature("centred", |_: &(), x: &u32| f64::from(*x) - 2.5), 0.0)
            .expect("finite"),
    ];
    let measured =
        Measured::exact(&uniform, uniform.space(), vec![()], &features(&constraints)).expect("measures");
    let fit = measured.fit(&constraints, &FitConfig::default());
    // Even and not high leaves 0, 2, 4, 6; low and centred are consistent there.
    let fit = fit.expect("fits");
    let pointwise: Vec<bool> = fit.tilt().coefficients().map(|coefficient| coefficient.is_none()).collect();
    assert_eq!(pointwise, [true, true, false, false]);
    assert!(fit.target(&uniform).has_hard_constraints());
    let soft = measured.fit(&constraints[2..3], &FitConfig::default()).expect("fits");
    assert!(!soft.target(&uniform).has_hard_constraints());
    let p = uniform.space().normalise(&fit.target(&uniform), &()).expect("a distribution");
    assert!(p.probabilities().iter().zip(0u32..).all(|(p, x)| (*p > 0.0) == (x.is_multiple_of(2) && x <= 7)));
    assert!((p.probabilities()[0] + p.probabilities()[2] - 0.75).abs() < 1e-9);
    let mean: f64 = p.probabilities().iter().zip(0..).map(|(p, x)| p * f64::from(x)).sum();
    assert!((mean - 2.5).abs() < 1e-9);
}

#[test]
fn a_pointwise_fit_is_the_base_conditioned() {
    let uniform = Space::new(0..10u32).expect("distinct").uniform();
    let constraints = [Constraint::pointwise(predicate("low", |_: &(), x: &u32| *x < 4))];
    let measured =
        Measured::exact(&uniform, uniform.space(), vec![()], &features(&constraints)).expect("measures");
    let fit = measured.fit(&constraints, &FitConfig::default()).expect("fits");
    let report = fit.report();
    assert!(report.constraints[0].coefficient.is_none());
    assert!((report.constraints[0].base.value - 0.4).abs() < 1e-15);
    assert!((report.constraints[0].achieved.value - 1.0).abs() < 1e-15);
    assert!((report.log_z.value - 0.4f64.ln()).abs() < 1e-14);
    assert!((report.kl_from_base.value + 0.4f64.ln()).abs() < 1e-14);
}

#[test]
fn a_value_that_is_no_number_is_named_by_its_place_among_all_samples() {
    let even = Constraint::pointwise(predicate("even", |_: &(), x: &u32| x.is_multiple_of(2)));
    let odd = disco_core::feature("odd", |_: &(), x: &u32| if *x == 4 { f64::NAN } else { 0.0 });
    let odd = Constraint::moment(odd, 0.1).expect("finite");
    let tilt = Tilt::new([(even, None), (odd, Some(0.5))]).expect("a tilt");
    match tilt.log_scores(&(), &[&1, &2, &3, &4]) {
        Err(disco_core::Error::NotANumber { index: 3, .. }) => {}
        other => panic!("{other:?}"),
    }
}
