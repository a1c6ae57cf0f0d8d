//! Fixed coefficients, against enumeration.

use disco_core::{StreamRng, feature};
use disco_ebm::{Constraint, Error, FitConfig, Measured, Termination, Warning, features};
use rand::SeedableRng;

use crate::worlds::{base, bisect, bit, bits, log_base, mean, moment, space, value, values};

#[test]
fn rewards_alone_are_exact_in_closed_form() {
    let (seed, outcomes) = (1, 25);
    let constraints = [
        Constraint::reward(values(1), 0.5).expect("positive"),
        Constraint::fixed(values(2), -0.3).expect("finite"),
    ];
    let measured =
        Measured::exact(&base(seed, outcomes), &space(outcomes), vec![0, 1], &features(&constraints));
    let fit = measured
        .expect("measured")
        .fit(&constraints, &FitConfig::default())
        .expect("nothing is to be solved");
    let report = fit.report();
    assert_eq!((report.termination, report.iterations), (Termination::ClosedForm, 0));
    let (mut log_z, mut kl, mut reward) = (0.0, 0.0, 0.0);
    for context in 0..2 {
        let log_base = log_base(seed, outcomes, context);
        let factor = |x: usize| 2.0 * value(1, context, x) - 0.3 * value(2, context, x);
        let tilted: Vec<f64> = log_base.iter().enumerate().map(|(x, a)| a + factor(x)).collect();
        let found = space(outcomes).log_scores(&fit.target(base(seed, outcomes)), &context).expect("scores");
        assert!(found.iter().zip(&tilted).all(|(one, two)| (one - two).abs() < 1e-12));
        let z = disco_core::numerics::log_sum_exp(&tilted);
        log_z += z / 2.0;
        kl += (mean(&tilted, factor) - z) / 2.0;
        reward += mean(&tilted, |x| value(1, context, x)) / 2.0;
    }
    assert!((report.log_z.value - log_z).abs() < 1e-12 && (report.kl_from_base.value - kl).abs() < 1e-12);
    assert!((report.constraints[0].achieved.value - reward).abs() < 1e-12);
    assert_eq!(report.constraints[0].coefficient.expect("given").value, 2.0);
    assert_eq!((report.log_z.std_error, report.constraints[0].achieved.std_error), (0.0, 0.0));
}

#[test]
fn moments_and_pointwise_constraints_are_fitted_around_a_reward() {
    let (seed, outcomes) = (2, 25);
    let allowed = |x: usize| x != 3;
    let constraints = [
        Constraint::reward(values(1), 0.7).expect("positive"),
        moment(bits(2), 0.3),
        Constraint::pointwise(feature("not 3", move |_: &usize, x: &usize| f64::from(u8::from(allowed(*x))))),
    ];
    let measured = Measured::exact(&base(seed, outcomes), &space(outcomes), vec![0], &features(&constraints));
    let fit = measured.expect("measured").fit(&constraints, &FitConfig::default()).expect("fits");
    let tilted = |lambda: f64| -> Vec<f64> {
        let score = |(x, a): (usize, &f64)| {
            if allowed(x) { a + value(1, 0, x) / 0.7 + lambda * bit(2, x) } else { f64::NEG_INFINITY }
        };
        log_base(seed, outcomes, 0).iter().enumerate().map(score).collect()
    };
    let expected = bisect(|lambda| mean(&tilted(lambda), |x| bit(2, x)) - 0.3);
    let found = fit.report().constraints[1].coefficient.expect("a mean").value;
    assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    let kl = {
        let p = tilted(expected);
        let z = disco_core::numerics::log_sum_exp(&p);
        mean(&p, |x| value(1, 0, x) / 0.7 + expected * bit(2, x)) - z
    };
    assert!((fit.report().kl_from_base.value - kl).abs() < 1e-9);
}

/// 95% intervals of mean reward, ln Z and KL cover the enumerated truth: 300 repetitions, alpha = 1e-4 for each (the least
/// that a binomial of p = 0.95 and n = 300 has with that probability is 268).
#[test]
fn errors_of_a_reward_cover_the_truth() {
    let (outcomes, repetitions, least) = (30, 300, 268);
    let constraints = [Constraint::reward(values(1), 1.5).expect("positive"), moment(values(2), 0.8)];
    let uniform = space(outcomes).uniform();
    let exact = Measured::exact(&uniform, &space(outcomes), vec![0, 1], &features(&constraints));
    let truth =
        exact.expect("measured").fit(&constraints, &FitConfig::default()).expect("fits").report().clone();
    let mut covered = [0; 4];
    for seed in 0..repetitions {
        let mut rng = StreamRng::seed_from_u64(seed);
        let measured =
            Measured::draw(&uniform, vec![0, 1], &features(&constraints), 400, &mut rng).expect("measured");
        let config = FitConfig { held_out: 0.0, ..FitConfig::default() };
        let report = measured.fit(&constraints, &config).expect("fits").report().clone();
        let pairs = [
            (report.log_z, truth.log_z.value),
            (report.kl_from_base, truth.kl_from_base.value),
            (report.constraints[0].achieved, truth.constraints[0].achieved.value),
            (
                report.constraints[1].coefficient.expect("a mean"),
                truth.constraints[1].coefficient.expect("a mean").value,
            ),
        ];
        for (covered, (estimate, truth)) in covered.iter_mut().zip(pairs) {
            let (low, high) = estimate.interval(1.96);
            *covered += usize::from(low <= truth && truth <= high);
        }
    }
    println!("covered of {repetitions}: {covered:?}");
    assert!(covered.iter().all(|count| *count >= least), "{covered:?}");
}

#[test]
fn a_small_beta_neither_overflows_nor_hides_that_few_samples_count() {
    let reward = |_: &usize, x: &usize| *x as f64;
    let constraints = [Constraint::reward(feature("reward", reward), 1e-6).expect("positive")];
    let uniform = space(1000).uniform();
    let exact = Measured::exact(&uniform, &space(1000), vec![0], &features(&constraints)).expect("measured");
    let report = exact.fit(&constraints, &FitConfig::default()).expect("exact").report().clone();
    assert_eq!(report.constraints[0].achieved.value, 999.0);
    assert!((report.log_z.value - (999e6 - 1000f64.ln())).abs() < 1e-5);
    // KL to the uniform base of a single outcome; ln Z of 1e9 leaves seven digits behind the point.
    assert!((report.kl_from_base.value - 1000f64.ln()).abs() < 1e-5);
    let mut rng = StreamRng::seed_from_u64(1);
    let drawn = Measured::draw(&uniform, vec![0], &features(&constraints), 2000, &mut rng).expect("measured");
    assert!(matches!(
        drawn.fit(&constraints, &FitConfig::default()),
        Err(Error::TooFewEffectiveSamples { .. })
    ));
    let config = FitConfig { min_ess: 0.0, ..FitConfig::default() };
    let report = drawn.fit(&constraints, &config).expect("fits").report().clone();
    assert!(report.warnings().iter().any(|warning| matches!(warning, Warning::FewEffective { .. })));
}

#[test]
fn bad_rewards_are_named() {
    for beta in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-320] {
        let error = Constraint::<usize, usize>::reward(values(1), beta).expect_err("no beta");
        assert!(error.to_string().contains("beta of reward `value 1`"), "{error}");
    }
    for bad in [f64::NAN, f64::INFINITY] {
        let constraints = [Constraint::reward(
            feature(
                "reward",
                move |context: &usize, x: &usize| if (*context, *x) == (1, 4) { bad } else { 0.0 },
            ),
            1.0,
        )
        .expect("positive")];
        let error =
            Measured::exact(&base(1, 9), &space(9), vec![0, 1], &features(&constraints)).expect_err("bad");
        let message = error.to_string();
        assert!(
            message.contains("context 1") && message.contains("reward gave") && message.contains("sample 4"),
            "{message}"
        );
    }
    // Finite values whose log-factor is not.
    let huge =
        Constraint::fixed(feature("huge", |_: &usize, x: &usize| 1e300 * *x as f64), 1e300).expect("finite");
    let measured = Measured::exact(&base(1, 9), &space(9), vec![0], &features(std::slice::from_ref(&huge)))
        .expect("measured");
    let error = measured.fit(&[huge], &FitConfig::default()).expect_err("beyond f64").to_string();
    assert!(error.contains("context 0") && error.contains("log-factor of `huge` for sample 1"), "{error}");
    let tilt = disco_ebm::Tilt::new([(Constraint::fixed(values(1), 1.0).expect("finite"), Some(2.0))]);
    assert!(tilt.expect_err("another coefficient").to_string().contains("coefficient of `value 1`"));
}
