//! Conditional means, against enumeration.

use std::sync::Arc;

use disco_core::{StreamRng, predicate};
use disco_ebm::{Constraint, Error, Fit, FitConfig, Measured, features};
use rand::SeedableRng;

use crate::worlds::{base, bisect, bit, bits, log_base, mean, moment, space, value, values};

type Feature = Arc<dyn disco_core::Feature<usize, usize>>;

fn condition() -> Feature {
    Arc::new(bits(4))
}

fn exact(constraints: &[Constraint<usize, usize>], contexts: usize) -> Result<Fit<usize, usize>, Error> {
    let measured = Measured::exact(&base(1, 30), &space(30), (0..contexts).collect(), &features(constraints));
    measured.expect("measured").fit(constraints, &FitConfig::default())
}

/// `E[g phi] / E[g]` under the target in a context.
fn ratio(fit: &Fit<usize, usize>, context: usize, phi: impl Fn(usize) -> f64) -> f64 {
    let p = space(30).log_scores(&fit.target(base(1, 30)), &context).expect("scores");
    mean(&p, |x| bit(4, x) * phi(x)) / mean(&p, |x| bit(4, x))
}

#[test]
fn the_mean_where_the_condition_holds_is_as_asked() {
    let constraints = [moment(values(1), 0.9).given(condition()).expect("a mean")];
    assert_eq!(constraints[0].name(), "value 1 given bit 4");
    let fit = exact(&constraints, 1).expect("fits");
    assert!((ratio(&fit, 0, |x| value(1, 0, x)) - 0.9).abs() < 1e-10);
    let expected = bisect(|lambda| {
        let tilted: Vec<f64> = log_base(1, 30, 0)
            .iter()
            .enumerate()
            .map(|(x, a)| a + lambda * bit(4, x) * (value(1, 0, x) - 0.9))
            .collect();
        mean(&tilted, |x| bit(4, x) * (value(1, 0, x) - 0.9))
    });
    let report = &fit.report().constraints[0];
    assert!((report.coefficient.expect("a mean").value - expected).abs() < 1e-9);
    assert!((report.achieved.value - 0.9).abs() < 1e-12);
    let of_base =
        mean(&log_base(1, 30, 0), |x| bit(4, x) * value(1, 0, x)) / mean(&log_base(1, 30, 0), |x| bit(4, x));
    assert!((report.base.value - of_base).abs() < 1e-12);
}

#[test]
fn it_goes_with_other_constraints_and_contexts() {
    let g = condition();
    let constraints = [
        moment(values(1), 0.9).given(Arc::clone(&g)).expect("a mean"),
        Constraint::new(g, disco_ebm::ConstraintKind::Moment { target: 0.3, tolerance: 0.0 })
            .expect("finite"),
        moment(values(1), 1.0),
    ];
    assert_eq!(features(&constraints).len(), 3, "the condition is measured once, and value 1 is given twice");
    let shared: Feature = Arc::new(values(1));
    let kind = |target| disco_ebm::ConstraintKind::Moment { target, tolerance: 0.0 };
    let g = condition();
    let constraints = [
        Constraint::new(Arc::clone(&shared), kind(0.9))
            .expect("finite")
            .given(Arc::clone(&g))
            .expect("a mean"),
        Constraint::new(g, kind(0.3)).expect("finite"),
        Constraint::new(shared, kind(1.0)).expect("finite"),
    ];
    assert_eq!(features(&constraints).len(), 2);
    let fit = exact(&constraints, 3).expect("fits");
    let (mut with, mut of, mut all) = (0.0, 0.0, 0.0);
    for context in 0..3 {
        let p = space(30).log_scores(&fit.target(base(1, 30)), &context).expect("scores");
        with += mean(&p, |x| bit(4, x)) / 3.0;
        of += mean(&p, |x| bit(4, x) * value(1, context, x)) / 3.0;
        all += mean(&p, |x| value(1, context, x)) / 3.0;
    }
    assert!((of / with - 0.9).abs() < 1e-9 && (with - 0.3).abs() < 1e-9 && (all - 1.0).abs() < 1e-9);
}

#[test]
fn it_holds_in_each_context_where_it_is_asked_there() {
    let constraints = [
        moment(values(1), 0.0)
            .given(condition())
            .expect("a mean")
            .with_targets(vec![0.8, 1.1, 0.95])
            .expect("finite"),
        moment(bits(2), 0.5),
    ];
    let fit = exact(&constraints, 3).expect("fits");
    for (context, wanted) in [0.8, 1.1, 0.95].into_iter().enumerate() {
        assert!((ratio(&fit, context, |x| value(1, context, x)) - wanted).abs() < 1e-9);
        let found = fit.report().by_context[context].constraints[0].achieved.expect("the condition holds");
        assert!((found.value - wanted).abs() < 1e-9);
    }
}

#[test]
fn a_binary_feature_always_or_never_where_the_condition_holds() {
    for (target, wanted) in [(1.0, 1.0), (0.0, 0.0)] {
        let constraints = [moment(bits(2), target).given(condition()).expect("a mean")];
        let fit = exact(&constraints, 1).expect("fits");
        let p = space(30).log_scores(&fit.target(base(1, 30)), &0).expect("scores");
        for (x, score) in p.iter().enumerate() {
            assert_eq!(*score == f64::NEG_INFINITY, bit(4, x) == 1.0 && bit(2, x) != wanted);
        }
        assert!((fit.report().constraints[0].achieved.value - wanted).abs() < 1e-15);
        let implied = Constraint::pointwise(bits(2)).given(condition()).expect("pointwise");
        assert_eq!(implied.name(), "bit 2 given bit 4");
    }
}

#[test]
fn what_cannot_be_had_is_named() {
    let never: Feature = Arc::new(predicate("never", |_: &usize, x: &usize| *x > 99));
    let constraints = [moment(values(1), 0.9).given(Arc::clone(&never)).expect("a mean")];
    let Err(Error::NeverGiven { feature, condition: given, samples }) = exact(&constraints, 2) else {
        panic!()
    };
    assert_eq!((feature.as_str(), given.as_str(), samples), ("value 1", "never", 60));
    let constraints = [moment(values(1), 9.0).given(condition()).expect("a mean")];
    let Err(Error::OutOfReach { feature, low, high, .. }) = exact(&constraints, 1) else { panic!() };
    let among: Vec<f64> = (0..30).filter(|x| bit(4, *x) == 1.0).map(|x| value(1, 0, x)).collect();
    assert_eq!(feature, "value 1 given bit 4");
    assert_eq!(low, among.iter().copied().fold(f64::INFINITY, f64::min));
    assert_eq!(high, among.iter().copied().fold(f64::NEG_INFINITY, f64::max));
    let constraints = [moment(values(1), 0.9).given(Arc::new(values(2))).expect("a mean")];
    assert!(matches!(exact(&constraints, 1), Err(Error::ConditionNotBinary { .. })));
    // In some contexts only, where it is asked in each.
    let given: Feature = Arc::new(disco_core::feature(
        "given",
        |context: &usize, x: &usize| {
            if *context == 1 { 0.0 } else { bit(4, *x) }
        },
    ));
    let constraints = [moment(values(1), 0.9).given(given).expect("a mean").per_context().expect("a mean")];
    let Err(Error::InContexts { faults, .. }) = exact(&constraints, 3) else { panic!() };
    assert_eq!(faults.iter().map(|fault| fault.context).collect::<Vec<_>>(), [1]);
    // A box about a conditional mean is no box about a mean.
    assert!(moment(values(1), 0.9).within(0.1).expect("positive").given(condition()).is_err());
    assert!(moment(values(1), 0.9).given(condition()).expect("a mean").within(0.1).is_err());
    assert!(Constraint::reward(values(1), 1.0).expect("positive").given(condition()).is_err());
}

/// 95% intervals of a conditional mean under base and target cover the enumerated truth: 300 repetitions, alpha = 1e-4 for
/// each (the least that a binomial of p = 0.95 and n = 300 has with that probability is 268).
#[test]
fn errors_of_the_ratio_cover_the_truth() {
    let constraints = [
        moment(values(1), 0.9).given(condition()).expect("a mean"),
        moment(values(5), 0.9),
        Constraint::new(Arc::new(values(6)), disco_ebm::ConstraintKind::Fixed { coefficient: 0.2 })
            .expect("finite"),
    ];
    let uniform = space(30).uniform();
    let exact = Measured::exact(&uniform, &space(30), vec![0, 1], &features(&constraints)).expect("measured");
    let fitted = exact.fit(&constraints, &FitConfig::default()).expect("fits");
    let truth = fitted.report().constraints[0].clone();
    let mut covered = [0; 3];
    for seed in 0..300 {
        let mut rng = StreamRng::seed_from_u64(seed);
        let measured =
            Measured::draw(&uniform, vec![0, 1], &features(&constraints), 500, &mut rng).expect("measured");
        let config = FitConfig { held_out: 0.0, ..FitConfig::default() };
        let fit = measured.fit(&constraints, &config).expect("fits");
        // The true conditional mean of the target that was fitted.
        let of_fit = exact.assess(fit.tilt(), Default::default()).expect("assessed").moments[0].value;
        let report = &fit.report().constraints[0];
        let pairs = [
            (report.base, truth.base.value),
            (report.coefficient.expect("a mean"), truth.coefficient.expect("a mean").value),
            (report.achieved, of_fit),
        ];
        for (covered, (estimate, truth)) in covered.iter_mut().zip(pairs) {
            let (low, high) = estimate.interval(1.96);
            *covered += usize::from(low <= truth && truth <= high);
        }
    }
    println!("covered of 300: {covered:?}");
    assert!(covered.iter().all(|count| *count >= 268), "{covered:?}");
}
