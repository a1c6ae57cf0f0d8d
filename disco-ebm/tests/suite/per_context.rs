//! Moments that hold in each context.

use disco_core::{Scorer, StreamRng, predicate};
use disco_ebm::{Constraint, ConstraintKind, Error, FitConfig, Measured, SavedTarget, Termination, features};
use rand::SeedableRng;

use crate::worlds::{base, bisect, bit, bits, log_base, mean, moment, noise, space, value, values};

/// Coefficients are those of the closed form, or of bisection, to this.
const EXACT: f64 = 1e-7;

fn targets_of(context: &usize) -> f64 {
    0.2 + 0.6 * noise(9, *context as u64, 1)
}

#[test]
fn a_binary_feature_has_the_closed_form_in_each_context() {
    let (seed, outcomes, contexts) = (1, 12, 9);
    for constraint in [
        moment(bits(1), 0.3).with_targets_by(targets_of).expect("finite"),
        moment(bits(1), 0.0).with_targets((0..contexts).map(|c| targets_of(&c)).collect()).expect("finite"),
    ] {
        let constraints = [constraint];
        let measured = Measured::exact(
            &base(seed, outcomes),
            &space(outcomes),
            (0..contexts).collect(),
            &features(&constraints),
        );
        let fit = measured.expect("measured").fit(&constraints, &FitConfig::default()).expect("fits");
        assert_eq!(fit.report().termination, Termination::ClosedForm);
        assert_eq!(fit.report().constraints[0].coefficient, None);
        let logit = |p: f64| (p / (1.0 - p)).ln();
        for context in 0..contexts {
            let of_base = mean(&log_base(seed, outcomes, context), |x| bit(1, x));
            let expected = logit(targets_of(&context)) - logit(of_base);
            let found = fit.tilt().coefficients_in(&context).expect("it was fitted")[0].expect("a mean");
            assert!((found - expected).abs() < EXACT, "{context}: {found} {expected}");
            let report = &fit.report().by_context[context];
            let one = &report.constraints[0];
            assert!((one.achieved.expect("no condition").value - targets_of(&context)).abs() < 1e-12);
            assert!((one.base.expect("no condition").value - of_base).abs() < 1e-12);
            let ConstraintKind::Moment { target, .. } = one.asked.expect("its own") else { panic!() };
            assert_eq!(target, targets_of(&context));
            let tilted: Vec<f64> = log_base(seed, outcomes, context)
                .iter()
                .enumerate()
                .map(|(x, log_prob)| log_prob + expected * bit(1, x))
                .collect();
            let log_z = disco_core::numerics::log_sum_exp(&tilted);
            assert!((report.log_z.value - log_z).abs() < 1e-10);
            let kl = expected * targets_of(&context) - log_z;
            assert!((report.kl_from_base.value - kl).abs() < 1e-10);
            assert_eq!((report.log_z.std_error, report.kl_from_base.std_error, report.ess), (0.0, 0.0, None));
        }
    }
}

#[test]
fn a_numeric_feature_is_found_by_bisection_in_each_context() {
    let (seed, outcomes, contexts) = (2, 20, 7);
    let target = |context: &usize| 0.5 + 0.8 * noise(4, *context as u64, 2);
    let constraints = [moment(values(1), 0.0).with_targets_by(target).expect("finite")];
    let measured = Measured::exact(
        &base(seed, outcomes),
        &space(outcomes),
        (0..contexts).collect(),
        &features(&constraints),
    )
    .expect("measured")
    .with_context_weights(&[1.0, 2.0, 3.0, 0.0, 1.0, 0.5, 1.0])
    .expect("weights");
    let fit = measured.fit(&constraints, &FitConfig::default()).expect("fits");
    for context in (0..contexts).filter(|context| *context != 3) {
        let log_base = log_base(seed, outcomes, context);
        let expected = bisect(|lambda| {
            let tilted: Vec<f64> =
                log_base.iter().enumerate().map(|(x, a)| a + lambda * value(1, context, x)).collect();
            mean(&tilted, |x| value(1, context, x)) - target(&context)
        });
        let found = fit.tilt().coefficients_in(&context).expect("fitted")[0].expect("a mean");
        assert!((found - expected).abs() < EXACT, "{context}: {found} {expected}");
    }
    // The context without weight was not fitted: scores in it are an error that names it.
    let error = fit.tilt().log_scores(&3, &[&0]).expect_err("no coefficient");
    assert!(error.to_string().contains("context 3 was not fitted"), "{error}");
    assert!(matches!(fit.tilt().coefficients_in(&11), Err(Error::UnknownContext { known: 6, .. })));
    assert_eq!(fit.report().by_context.len(), 6);
    let weights: Vec<f64> = fit.report().by_context.iter().map(|context| context.share).collect();
    assert!((weights[1] - 2.0 / 8.5).abs() < 1e-15);
}

#[test]
fn several_moments_per_context_are_all_as_asked() {
    let (seed, outcomes, contexts) = (3, 30, 6);
    let constraints = [
        moment(values(1), 0.9).per_context().expect("a mean"),
        moment(bits(2), 0.4).per_context().expect("a mean"),
        moment(values(3), 1.2).within(0.1).expect("positive").per_context().expect("a mean"),
        Constraint::never(predicate("seven", |_: &usize, x: &usize| *x == 7)),
    ];
    let measured = Measured::exact(
        &base(seed, outcomes),
        &space(outcomes),
        (0..contexts).collect(),
        &features(&constraints),
    )
    .expect("measured");
    let fit = measured.fit(&constraints, &FitConfig::default()).expect("fits");
    let target = fit.target(base(seed, outcomes));
    for context in 0..contexts {
        let p = space(outcomes).log_scores(&target, &context).expect("scores");
        assert!((mean(&p, |x| value(1, context, x)) - 0.9).abs() < 1e-9);
        assert!((mean(&p, |x| bit(2, x)) - 0.4).abs() < 1e-9);
        let third = mean(&p, |x| value(3, context, x));
        assert!((third - 1.2).abs() < 0.1 + 1e-9);
        let coefficient = fit.tilt().coefficients_in(&context).expect("fitted")[2].expect("a mean");
        // Zero inside of the box, and of the right sign at its ends.
        assert!(coefficient == 0.0 || (third - 1.2).signum() == -coefficient.signum(), "{context}");
        assert_eq!(p[7], f64::NEG_INFINITY);
    }
}

#[test]
fn a_ridge_holds_in_each_context() {
    let (seed, outcomes, ridge) = (5, 10, 0.05);
    let constraints = [moment(bits(1), 0.7).per_context().expect("a mean")];
    let measured =
        Measured::exact(&base(seed, outcomes), &space(outcomes), vec![0, 1], &features(&constraints));
    let config = FitConfig { ridge, ..FitConfig::default() };
    let fit = measured.expect("measured").fit(&constraints, &config).expect("fits");
    for context in 0..2 {
        let log_base = log_base(seed, outcomes, context);
        let expected = bisect(|lambda| {
            let tilted: Vec<f64> = log_base.iter().enumerate().map(|(x, a)| a + lambda * bit(1, x)).collect();
            mean(&tilted, |x| bit(1, x)) - 0.7 + ridge * lambda
        });
        let found = fit.tilt().coefficients_in(&context).expect("fitted")[0].expect("a mean");
        assert!((found - expected).abs() < EXACT);
    }
}

#[test]
fn targets_of_0_and_1_are_pointwise_in_their_context_alone() {
    let constraints = [moment(bits(1), 0.0).with_targets(vec![0.0, 0.5, 1.0]).expect("finite")];
    let measured =
        Measured::exact(&base(6, 10), &space(10), vec![0, 1, 2], &features(&constraints)).expect("measured");
    let fit = measured.fit(&constraints, &FitConfig::default()).expect("fits");
    let target = fit.target(base(6, 10));
    assert!(target.has_hard_constraints());
    for (context, wanted) in [(0, 0.0), (1, 0.5), (2, 1.0)] {
        let p = space(10).log_scores(&target, &context).expect("scores");
        assert!((mean(&p, |x| bit(1, x)) - wanted).abs() < 1e-12);
    }
    let asked: Vec<_> = fit
        .report()
        .by_context
        .iter()
        .map(|context| context.constraints[0].asked.expect("its own"))
        .collect();
    assert_eq!(asked[0], ConstraintKind::Pointwise { wanted: false });
    assert_eq!(asked[2], ConstraintKind::Pointwise { wanted: true });
}

#[test]
fn saved_targets_carry_the_contexts() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("target.json");
    let g = std::sync::Arc::new(bits(4));
    let constraints = [
        moment(bits(1), 0.0).with_targets(vec![0.0, 0.5, 0.3]).expect("finite"),
        moment(values(2), 0.9).given(g).expect("a mean").per_context().expect("a mean"),
        moment(values(3), 1.0).ranged(-1.0, 3.0).expect("a range"),
        Constraint::reward(values(5), 2.0).expect("positive"),
    ];
    let contexts = vec![3, 1, 2];
    let measured =
        Measured::exact(&base(8, 40), &space(40), contexts, &features(&constraints)).expect("measured");
    let fit = measured.fit(&constraints, &FitConfig::default()).expect("fits");
    fit.save(&path).expect("saved");
    let saved = SavedTarget::load(&path).expect("loaded");
    assert_eq!(
        saved.feature_names().collect::<Vec<_>>(),
        ["bit 1", "value 2", "bit 4", "value 3", "value 5"]
    );
    let bound = saved.bind(features(&constraints)).expect("bound");
    assert_eq!(bound.report(), fit.report());
    for context in [3, 1, 2] {
        let scores =
            |fit: &disco_ebm::Fit<usize, usize>| space(40).log_scores(fit.tilt(), &context).expect("scores");
        assert_eq!(scores(&bound), scores(&fit));
        assert_eq!(
            bound.tilt().log_bound(&context).expect("known"),
            fit.tilt().log_bound(&context).expect("known")
        );
    }
    assert!(bound.tilt().log_scores(&0, &[&1]).is_err());
    // Its constraints can be fitted again.
    let again: Vec<_> = bound.tilt().constraints().cloned().collect();
    let again = measured.fit(&again, &FitConfig::default()).expect("fits");
    for context in [3, 1, 2] {
        let coefficients =
            |fit: &disco_ebm::Fit<usize, usize>| fit.tilt().coefficients_in(&context).expect("fitted");
        assert_eq!(coefficients(&again), coefficients(&fit));
    }
}

/// 95% intervals of a context's coefficient, `ln Z_c` and `KL_c`, beside a shared moment, cover the enumerated truth: 300
/// repetitions, alpha = 1e-4 for each (the least that a binomial of p = 0.95 and n = 300 has with that probability is 268).
#[test]
fn errors_in_a_context_cover_the_truth() {
    let constraints = [
        moment(values(1), 0.9),
        moment(values(2), 0.9).per_context().expect("a mean"),
        moment(bits(3), 0.4).per_context().expect("a mean"),
    ];
    let uniform = space(30).uniform();
    let exact = Measured::exact(&uniform, &space(30), vec![0, 1], &features(&constraints)).expect("measured");
    let truth = exact.fit(&constraints, &FitConfig::default()).expect("fits").report().by_context[1].clone();
    let mut covered = [0; 4];
    for seed in 0..300 {
        let mut rng = StreamRng::seed_from_u64(seed);
        let measured = Measured::draw(&uniform, vec![0, 1], &features(&constraints), 500, &mut rng);
        let config = FitConfig { held_out: 0.0, ..FitConfig::default() };
        let fit = measured.expect("measured").fit(&constraints, &config).expect("fits");
        let found = &fit.report().by_context[1];
        let coefficient =
            |report: &disco_ebm::ContextReport, i: usize| report.constraints[i].coefficient.expect("its own");
        let pairs = [
            (found.log_z, truth.log_z.value),
            (found.kl_from_base, truth.kl_from_base.value),
            (coefficient(found, 1), coefficient(&truth, 1).value),
            (coefficient(found, 2), coefficient(&truth, 2).value),
        ];
        for (covered, (estimate, truth)) in covered.iter_mut().zip(pairs) {
            let (low, high) = estimate.interval(1.96);
            *covered += usize::from(low <= truth && truth <= high);
        }
    }
    println!("covered of 300: {covered:?}");
    assert!(covered.iter().all(|count| *count >= 268), "{covered:?}");
}
