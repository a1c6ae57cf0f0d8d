//! Construction and bad input: targets that cannot be reached, alone or together, or do not determine the
//! coefficients.

use disco_ebm::{Dual, Error, EvaluatedSamples, MomentTarget, Solver};
use ndarray::{Array2, array};
use proptest::{prelude::*, test_runner::FileFailurePersistence};
use rand::{RngExt, SeedableRng};

fn target(name: &str, target: f64) -> MomentTarget {
    MomentTarget { name: name.into(), target, tolerance: 0.0 }
}

fn uniform(values: Array2<f64>) -> EvaluatedSamples {
    EvaluatedSamples::exact(vec![-(values.nrows() as f64).ln(); values.nrows()], values).expect("points")
}

fn solve(targets: Vec<MomentTarget>, points: Vec<EvaluatedSamples>, ridge: f64) -> Result<Vec<f64>, Error> {
    let solution = Dual::new(targets, points, None, ridge)?.solve(&Solver::default())?;
    assert!(solution.termination.is_converged(), "{solution:?}");
    Ok(solution.coefficients)
}

fn factor(direction: &[(String, f64)], name: &str) -> f64 {
    direction.iter().find(|(found, _)| found == name).expect("named").1
}

#[test]
fn a_target_outside_of_its_range() {
    let points = || vec![uniform(array![[0.0], [1.0], [3.0]])];
    for wanted in [-0.5, 0.0, 3.0, 3.5] {
        match solve(vec![target("length", wanted)], points(), 0.0) {
            Err(Error::OutOfReach { feature, target, low, high, .. }) => {
                assert_eq!((feature.as_str(), target, low, high), ("length", wanted, 0.0, 3.0));
            }
            other => panic!("{wanted}: {other:?}"),
        }
    }
    assert!(solve(vec![target("length", 2.9)], points(), 0.0).is_ok());
}

#[test]
fn the_range_is_the_mean_over_contexts() {
    // The feature never occurs in the second context, so that its mean stays below one half.
    let points = || vec![uniform(array![[0.0], [1.0]]), uniform(array![[0.0], [0.0]])];
    assert!(solve(vec![target("rain", 0.45)], points(), 0.0).is_ok());
    let error = solve(vec![target("rain", 0.55)], points(), 0.0).expect_err("out of reach");
    assert!(matches!(error, Error::OutOfReach { low: 0.0, high: 0.5, .. }), "{error}");
}

#[test]
fn a_feature_that_never_varies() {
    let points = || vec![uniform(array![[0.1, 0.0], [0.1, 1.0], [0.1, 1.0]])];
    let targets = |constant| vec![target("constant", constant), target("other", 0.5)];
    let error = solve(targets(0.1), points(), 0.0).expect_err("arbitrary");
    assert!(
        matches!(&error, Error::ConstantFeature { feature, value: 0.1 } if feature == "constant"),
        "{error}"
    );
    let error = solve(targets(0.2), points(), 0.0).expect_err("out of reach");
    assert!(
        matches!(&error, Error::OutOfReach { feature, low: 0.1, high: 0.1, .. } if feature == "constant"),
        "{error}"
    );
    // A ridge does not help.
    assert!(solve(targets(0.1), points(), 1.0).is_err());
}

#[test]
fn one_feature_under_two_names() {
    let points = || vec![uniform(array![[0.0, 0.0], [1.0, 2.0], [3.0, 6.0]])];
    // One of them follows from the other: its coefficient is 0.
    let both = vec![target("meters", 1.0), target("halves", 2.0)];
    let solution =
        Dual::new(both, points(), None, 0.0).expect("a dual").solve(&Solver::default()).expect("inside");
    let [redundant] = solution.redundant.as_slice() else { panic!("{solution:?}") };
    assert_eq!(redundant.feature, "halves");
    assert!((factor(&redundant.equals, "meters") - 2.0).abs() < 1e-12, "{redundant:?}");
    let alone = uniform(array![[0.0], [1.0], [3.0]]);
    let alone = solve(vec![target("meters", 1.0)], vec![alone], 0.0).expect("inside");
    assert!((solution.coefficients[0] - alone[0]).abs() < 1e-12 && solution.coefficients[1] == 0.0);
    // A ridge chooses the smallest of the coefficients that do: here (l, 2 l), and misses the moments by
    // ridge * l.
    let coefficients =
        solve(vec![target("meters", 1.0), target("halves", 2.0)], points(), 1e-6).expect("a ridge");
    assert!((coefficients[1] - 2.0 * coefficients[0]).abs() < 1e-6, "{coefficients:?}");
    // Inconsistent targets are not unidentified but impossible.
    match solve(vec![target("meters", 1.0), target("halves", 2.5)], points(), 0.0) {
        Err(Error::OutsideHull { direction, target, reachable, .. }) => {
            assert!((factor(&direction, "halves") - 1.0).abs() > 1e-9 || factor(&direction, "meters") < 0.0);
            assert!(target > reachable + 0.1, "{target} {reachable}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_sum_of_features_that_is_constant() {
    // Three exclusive and exhaustive binary features.
    let points = || vec![uniform(Array2::eye(3))];
    let targets = |sum: f64| vec![target("a", 0.2), target("b", 0.3), target("c", sum - 0.5)];
    let found = Dual::new(targets(1.0), points(), None, 0.0)
        .expect("a dual")
        .solve(&Solver::default())
        .expect("inside");
    let [redundant] = found.redundant.as_slice() else { panic!("{found:?}") };
    assert!(redundant.equals.iter().all(|(_, factor)| (factor + 1.0).abs() < 1e-12), "{redundant:?}");
    // p = (0.2, 0.3, 0.5) from equal weights, with the coefficient 0 for the last.
    let expected = [(0.2f64 / 0.5).ln(), (0.3f64 / 0.5).ln(), 0.0];
    for (found, expected) in found.coefficients.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-12, "{found} for {expected}");
    }
    match solve(targets(1.1), points(), 0.0) {
        Err(Error::OutsideHull { direction, target, reachable, nearest }) => {
            assert!(direction.iter().all(|(_, factor)| (factor - 1.0).abs() < 1e-6), "{direction:?}");
            assert!((target - 1.1).abs() < 1e-6 && (reachable - 1.0).abs() < 1e-6);
            assert!((nearest.iter().map(|(_, moment)| moment).sum::<f64>() - 1.0).abs() < 1e-6);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_part_more_frequent_than_the_whole() {
    // "rain" implies "weather".
    let points = || vec![uniform(array![[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]])];
    match solve(vec![target("rain", 0.6), target("weather", 0.5)], points(), 0.0) {
        Err(Error::OutsideHull { direction, target, reachable, nearest }) => {
            assert!((factor(&direction, "rain") - 1.0).abs() < 1e-6, "{direction:?}");
            assert!((factor(&direction, "weather") + 1.0).abs() < 1e-6, "{direction:?}");
            assert!((target - 0.1).abs() < 1e-6 && reachable.abs() < 1e-6, "{target} {reachable}");
            assert!((factor(&nearest, "rain") - factor(&nearest, "weather")).abs() < 1e-6, "{nearest:?}");
        }
        other => panic!("{other:?}"),
    }
    // Equal: on the boundary, where the coefficients diverge.
    let error =
        solve(vec![target("rain", 0.5), target("weather", 0.5)], points(), 0.0).expect_err("boundary");
    assert!(matches!(error, Error::OutsideHull { .. }), "{error}");
    // Just inside: large but finite. P(weather without rain) = 1e-6.
    let coefficients =
        solve(vec![target("rain", 0.5), target("weather", 0.5 + 1e-6)], points(), 0.0).expect("inside");
    // p = (0.5 - 1e-6, 1e-6, 0.5) from a uniform base: the log-odds of the second and the third to the first.
    let inside = 0.5f64 - 1e-6;
    assert!((coefficients[1] - (1e-6 / inside).ln()).abs() < 1e-3, "{coefficients:?}");
    assert!((coefficients[0] - (0.5f64 / 1e-6).ln()).abs() < 1e-3, "{coefficients:?}");
}

#[test]
fn a_tolerance_or_a_ridge_can_make_targets_feasible() {
    let points = || vec![uniform(array![[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]])];
    let within = |tolerance| {
        let both = [target("rain", 0.6), target("weather", 0.5)];
        both.map(|target| MomentTarget { tolerance, ..target }).to_vec()
    };
    assert!(matches!(solve(within(0.04), points(), 0.0), Err(Error::OutsideHull { .. })));
    assert!(solve(within(0.06), points(), 0.0).is_ok());
    assert!(solve(within(0.0), points(), 0.01).is_ok());
}

#[test]
fn a_hundred_features_that_contradict_each_other() {
    let mut rng = disco_core::StreamRng::seed_from_u64(1);
    let values = Array2::from_shape_fn((3000, 100), |_| rng.random::<f64>());
    let targets = |moment: &dyn Fn(usize) -> f64| -> Vec<MomentTarget> {
        (0..100).map(|j| target(&format!("feature {j}"), moment(j))).collect()
    };
    // Independent uniform features: each alone can have the mean 0.7, all together cannot.
    let error = solve(targets(&|_| 0.7), vec![uniform(values.clone())], 0.0).expect_err("outside");
    let Error::OutsideHull { direction, target: asked, reachable, .. } = error else { panic!("{error}") };
    let along = |moment: &dyn Fn(usize) -> f64| -> f64 {
        direction.iter().enumerate().map(|(j, (_, factor))| factor * moment(j)).sum()
    };
    let most = (0..3000).map(|row| along(&|j| values[[row, j]])).fold(f64::NEG_INFINITY, f64::max);
    assert!((reachable - most).abs() < 1e-9 && (asked - along(&|_| 0.7)).abs() < 1e-9);
    assert!(asked > reachable + 0.1, "{asked} {reachable}");
    // The mean of five points lies on a face of the hull, which only infinite coefficients reach.
    let five = |j: usize| (0..5).map(|row| values[[row, j]]).sum::<f64>() / 5.0;
    let error = solve(targets(&five), vec![uniform(values.clone())], 0.0).expect_err("on the boundary");
    assert!(matches!(error, Error::OutsideHull { .. }), "{error}");
    // A little of the centre makes it feasible.
    assert!(solve(targets(&|j| 0.9 * five(j) + 0.1 * 0.5), vec![uniform(values.clone())], 0.0).is_ok());
}

/// Points in the unit cube, as many as fit on a page.
fn cube() -> impl Strategy<Value = Vec<Vec<f64>>> {
    prop::collection::vec(prop::collection::vec(0.0..1.0f64, 3), 5..30)
}

fn matrix(rows: &[Vec<f64>]) -> Array2<f64> {
    Array2::from_shape_fn((rows.len(), 3), |(i, j)| rows[i][j])
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    /// Moments of a distribution with positive weights are reached; moments beyond the hull are refused with
    /// a direction that proves it.
    #[test]
    fn hull_decides(rows in cube(), weights in prop::collection::vec(0.05..1.0f64, 30), beyond in 1.05..3.0f64) {
        let values = matrix(&rows);
        let total: f64 = weights[..rows.len()].iter().sum();
        let mut inside = [0.0; 3];
        for (row, weight) in rows.iter().zip(&weights) {
            (0..3).for_each(|j| inside[j] += weight / total * row[j]);
        }
        let names = ["a", "b", "c"];
        let targets = |moments: [f64; 3]| -> Vec<MomentTarget> {
            names.iter().zip(moments).map(|(name, moment)| target(name, moment)).collect()
        };
        let found = solve(targets(inside), vec![uniform(values.clone())], 0.0);
        prop_assert!(found.is_ok(), "{found:?}");
        // From the centre through the point most along (1, 1, 1), and beyond it.
        let far = rows.iter().max_by(|x, y| x.iter().sum::<f64>().total_cmp(&y.iter().sum())).expect("rows");
        let outside: [f64; 3] = std::array::from_fn(|j| inside[j] + beyond * (far[j] - inside[j]));
        let error = solve(targets(outside), vec![uniform(values.clone())], 0.0).expect_err("outside");
        match error {
            Error::OutsideHull { direction, target, reachable, nearest } => {
                let along = |moments: &[f64]| -> f64 {
                    direction.iter().zip(moments).map(|((_, factor), moment)| factor * moment).sum()
                };
                let most = rows.iter().map(|row| along(row)).fold(f64::NEG_INFINITY, f64::max);
                prop_assert!((target - along(&outside)).abs() < 1e-9);
                prop_assert!((reachable - most).abs() < 1e-9);
                prop_assert!(target > most);
                let nearest: Vec<f64> = nearest.iter().map(|(_, moment)| *moment).collect();
                prop_assert!((along(&nearest) - most).abs() < 1e-6, "the nearest point is on the face");
            }
            Error::OutOfReach { target, low, high, .. } => prop_assert!(!(low < target && target < high)),
            other => prop_assert!(false, "{}", other),
        }
    }
}
