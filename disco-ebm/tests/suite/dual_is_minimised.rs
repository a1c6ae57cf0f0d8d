//! The dual: its derivatives against finite differences, and its minimiser against known coefficients.

use disco_core::StreamRng;
use disco_ebm::{ContextErrors, Dual, EvaluatedSamples, MomentTarget, Solver, Termination};
use ndarray::{Array2, array};
use proptest::{prelude::*, test_runner::FileFailurePersistence};
use rand::{RngExt, SeedableRng};

/// Central differences with this step have errors near 1e-10 in a gradient of a smooth dual of order 1.
const STEP: f64 = 1e-5;

fn random_points(rng: &mut StreamRng, rows: usize, d: usize, exact: bool) -> EvaluatedSamples {
    // Half of the features binary, half real; scales differ by a factor of a thousand.
    let values = Array2::from_shape_fn((rows, d), |(_, j)| {
        let u: f64 = rng.random();
        let scale = 10f64.powi(j as i32 % 4 - 2);
        if j.is_multiple_of(2) { f64::from(u8::from(u < 0.3)) } else { scale * (u - 0.5) + 3.0 }
    });
    let log_weights = (0..rows).map(|_| rng.random::<f64>() - 0.5).collect();
    let made = if exact {
        EvaluatedSamples::exact(log_weights, values)
    } else {
        EvaluatedSamples::sampled(log_weights, values)
    };
    made.expect("points")
}

fn named(targets: Vec<f64>, tolerance: f64) -> Vec<MomentTarget> {
    let target = |(i, target)| MomentTarget { name: format!("feature {i}"), target, tolerance };
    targets.into_iter().enumerate().map(target).collect()
}

/// The dual whose minimiser is `lambda`: its targets are the moments there.
fn dual_with_minimum(
    points: Vec<EvaluatedSamples>,
    weights: Option<&[f64]>,
    lambda: &[f64],
    ridge: f64,
) -> Dual {
    let zero =
        Dual::new(named(vec![0.0; lambda.len()], 0.0), points.clone(), weights, ridge).expect("a dual");
    let targets = zero.gradient(lambda).expect("a gradient");
    Dual::new(named(targets, 0.0), points, weights, ridge).expect("a dual")
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn derivatives_agree_with_finite_differences(seed in 0u64..1000, lambda in prop::collection::vec(-1.0..1.0f64, 4), ridge in 0.0..1.0f64) {
        let mut rng = StreamRng::seed_from_u64(seed);
        let points = vec![random_points(&mut rng, 30, 4, false), random_points(&mut rng, 20, 4, false)];
        let targets = named(vec![0.2, 3.0, 0.5, 2.9], 0.0);
        let dual = Dual::new(targets, points, Some(&[0.3, 0.7]), ridge).expect("a dual");
        let gradient = dual.gradient(&lambda).expect("a gradient");
        let hessian = dual.hessian(&lambda).expect("a Hessian");
        for i in 0..4 {
            let at = |step: f64| {
                let mut moved = lambda.clone();
                moved[i] += step;
                moved
            };
            let value = |step| dual.value(&at(step)).expect("a value");
            let difference = (value(STEP) - value(-STEP)) / (2.0 * STEP);
            prop_assert!((gradient[i] - difference).abs() < 1e-8, "{} {difference}", gradient[i]);
            let (up, down) = (dual.gradient(&at(STEP)).expect("a gradient"), dual.gradient(&at(-STEP)).expect("a gradient"));
            for j in 0..4 {
                let difference = (up[j] - down[j]) / (2.0 * STEP);
                prop_assert!((hessian[[i, j]] - difference).abs() < 1e-8, "{} {difference}", hessian[[i, j]]);
            }
        }
    }

    /// A constant in the log-weights of a context changes its Z only.
    #[test]
    fn coefficients_do_not_depend_on_a_constant_in_the_weights(seed in 0u64..1000, constant in -300.0..300.0f64) {
        let mut rng = StreamRng::seed_from_u64(seed);
        let log_weights: Vec<f64> = (0..40).map(|_| rng.random()).collect();
        let values = Array2::from_shape_fn((40, 2), |_| rng.random::<f64>());
        let fit = |constant: f64| {
            let moved = log_weights.iter().map(|weight| weight + constant).collect();
            let points = EvaluatedSamples::sampled(moved, values.clone()).expect("points");
            let dual = Dual::new(named(vec![0.45, 0.55], 0.0), vec![points], None, 0.0).expect("a dual");
            dual.solve(&Solver::default()).expect("feasible").coefficients
        };
        for (found, expected) in fit(constant).iter().zip(fit(0.0)) {
            prop_assert!((found - expected).abs() < 1e-8, "{found} {expected}");
        }
    }
}

#[test]
fn a_hundred_features_in_three_contexts_are_found() {
    let mut rng = StreamRng::seed_from_u64(5);
    let points: Vec<EvaluatedSamples> = (0..3).map(|_| random_points(&mut rng, 4000, 100, false)).collect();
    let lambda: Vec<f64> = (0..100).map(|_| rng.random::<f64>() - 0.5).collect();
    let dual = dual_with_minimum(points, Some(&[1.0, 2.0, 5.0]), &lambda, 0.0);
    let solution = dual.solve(&Solver::default()).expect("feasible");
    assert_eq!(solution.termination, Termination::Converged);
    assert!(solution.iterations <= 12, "{}", solution.iterations);
    for (i, (found, expected)) in solution.coefficients.iter().zip(&lambda).enumerate() {
        // The smallest features have a range of 0.01, so that their coefficient is known a hundred times less
        // well.
        assert!((found - expected).abs() < 1e-7, "feature {i}: {found}, expected {expected}");
    }
    let near: Vec<f64> = solution.coefficients.iter().map(|value| value * 1.01).collect();
    let warm = dual.solve_from(&Solver::default(), Some(&near)).expect("feasible");
    assert!(warm.iterations < solution.iterations);
}

/// Two features that differ by a thousandth, so that the dual is flat along their difference: moments within 1e-10 alone
/// leave coefficients off by up to 7e-9.
#[test]
fn a_flat_dual_is_solved_to_the_last_digits() {
    let values = Array2::from_shape_fn((40, 2), |(x, j)| {
        let x = x as f64;
        (0.7 * x).sin() + if j == 0 { 0.0 } else { 1e-3 * (2.3 * x).cos() }
    });
    let points = EvaluatedSamples::exact(vec![-(40f64.ln()); 40], values).expect("points");
    let mut worst = 0.0f64;
    for k in 0..40 {
        let lambda = [0.05 * f64::from(k), 0.3 - 0.02 * f64::from(k)];
        let dual = dual_with_minimum(vec![points.clone()], None, &lambda, 0.0);
        let solution = dual.solve(&Solver::default()).expect("feasible");
        assert_eq!(solution.termination, Termination::Converged);
        for (found, expected) in solution.coefficients.iter().zip(lambda) {
            worst = worst.max((found - expected).abs());
        }
    }
    // The rounding of the moments, 1e-16, over the least curvature, 1e-6.
    assert!(worst < 1e-9, "{worst:e}");
}

#[test]
fn rare_features_and_large_coefficients() {
    // Base rates of 1e-6 and 1e-9, asked to be 1/2 and 1/4; two contexts, so that there is no closed form.
    let (rare, rarer) = (1e-6f64, 1e-9f64);
    let log_weights = vec![rare.ln(), rarer.ln(), (-rare - rarer).ln_1p()];
    let points =
        EvaluatedSamples::exact(log_weights, array![[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]).expect("points");
    let dual =
        Dual::new(named(vec![0.5, 0.25], 0.0), vec![points.clone(), points], None, 0.0).expect("a dual");
    let solution = dual.solve(&Solver::default()).expect("feasible");
    assert_eq!(solution.termination, Termination::Converged);
    assert!(solution.iterations < 60, "{}", solution.iterations);
    let expected = [(0.5 / 0.25 / rare).ln(), (1.0 / rarer).ln()];
    for (found, expected) in solution.coefficients.iter().zip(expected) {
        // 1 - 1e-6 - 1e-9 against 1 in the odds.
        assert!((found - expected).abs() < 2e-6, "{found}, expected {expected}");
    }
}

#[test]
fn a_ridge_misses_the_moments_by_ridge_times_lambda() {
    // Small against the variance of the narrowest feature, 1e-3, so that all targets stay within reach.
    const RIDGE: f64 = 1e-3;
    let mut rng = StreamRng::seed_from_u64(8);
    let points = vec![random_points(&mut rng, 500, 6, true)];
    let lambda = [0.4, -0.2, 0.1, 0.3, -0.5, 0.2];
    let dual = dual_with_minimum(points.clone(), None, &lambda, RIDGE);
    let solution = dual.solve(&Solver::default()).expect("feasible");
    for (found, expected) in solution.coefficients.iter().zip(lambda) {
        assert!((found - expected).abs() < 1e-8, "{found}, expected {expected}");
    }
    // Without ridge, these targets ask for moments of mu = E[phi] + ridge lambda.
    let plain = Dual::new(named(vec![0.0; 6], 0.0), points, None, 0.0).expect("a dual");
    let moments = plain.gradient(&lambda).expect("a gradient");
    let gradient = dual.gradient(&[0.0; 6]).expect("a gradient");
    let at_zero = plain.gradient(&[0.0; 6]).expect("a gradient");
    for i in 0..6 {
        let target = at_zero[i] - gradient[i];
        assert!((target - moments[i] - RIDGE * lambda[i]).abs() < 1e-10);
    }
}

#[test]
fn tolerances_leave_what_is_near_enough_and_stop_at_the_edge() {
    let mut rng = StreamRng::seed_from_u64(9);
    let points = vec![random_points(&mut rng, 800, 12, false), random_points(&mut rng, 300, 12, false)];
    let zero = Dual::new(named(vec![0.0; 12], 0.0), points.clone(), None, 0.0).expect("a dual");
    let base = zero.gradient(&[0.0; 12]).expect("a gradient");
    // Binary features are asked for 0.5 within 0.05, the others for their base moment within 0.05 and less.
    let targets: Vec<f64> = (0..12).map(|i| if i % 4 == 0 { 0.5 } else { base[i] + 1e-4 }).collect();
    let dual = Dual::new(named(targets.clone(), 0.05), points, None, 0.0).expect("a dual");
    let solution = dual.solve(&Solver::default()).expect("feasible");
    assert_eq!(solution.termination, Termination::Converged);
    let moments = zero.gradient(&solution.coefficients).expect("a gradient");
    for i in 0..12 {
        let (lambda, missed) = (solution.coefficients[i], targets[i] - moments[i]);
        if lambda == 0.0 {
            assert!(missed.abs() <= 0.05 + 1e-9, "feature {i} misses by {missed}");
        } else {
            // Optimality: the moment is at the edge of the box, on the side it came from.
            assert!(
                (missed - 0.05 * lambda.signum()).abs() < 1e-9,
                "feature {i}: {lambda}, misses by {missed}"
            );
        }
    }
    // Far from their targets; and no farther than the tolerance, or narrower than that.
    for (i, lambda) in solution.coefficients.iter().enumerate().filter(|(i, _)| i % 4 != 3) {
        assert_eq!(*lambda != 0.0, i % 4 == 0, "feature {i}: {lambda}");
    }
    let covariance = dual.covariance(&solution.coefficients, ContextErrors::Fixed).expect("a covariance");
    assert!((0..12).all(|i| (covariance[[i, i]] == 0.0) == (solution.coefficients[i] == 0.0)));
}

#[test]
fn an_iteration_limit_is_reported() {
    let mut rng = StreamRng::seed_from_u64(10);
    let dual = dual_with_minimum(vec![random_points(&mut rng, 200, 3, false)], None, &[2.0, 1.0, -2.0], 0.0);
    let solution = dual.solve(&Solver { max_iterations: 1, ..Solver::default() }).expect("feasible");
    assert_eq!((solution.termination, solution.iterations), (Termination::IterationLimit, 1));
    assert!(!solution.termination.is_converged() && solution.residual > 1e-10);
    // A tolerance below rounding ends where nothing improves any more.
    let solution = dual.solve(&Solver { tolerance: 1e-300, max_iterations: 1000 }).expect("feasible");
    assert!(matches!(solution.termination, Termination::Stalled | Termination::Converged), "{solution:?}");
    assert!(solution.residual < 1e-12);
}
