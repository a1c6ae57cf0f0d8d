//! Targets near the edge of what features can have: fitted where coefficients are finite, refused with the limit where not.

use disco_ebm::{Dual, Error, EvaluatedSamples, FitConfig, Measured, MomentTarget, Solver};
use ndarray::{Array2, array};

fn target(name: &str, target: f64) -> MomentTarget {
    MomentTarget { name: name.into(), target, tolerance: 0.0 }
}

fn uniform(values: Array2<f64>) -> EvaluatedSamples {
    EvaluatedSamples::exact(vec![0.0; values.nrows()], values).expect("points")
}

fn solve(targets: Vec<MomentTarget>, values: Array2<f64>) -> Result<Vec<f64>, Error> {
    let solution = Dual::new(targets, vec![uniform(values)], None, 0.0)?.solve(&Solver::default())?;
    assert!(solution.termination.is_converged(), "{solution:?}");
    Ok(solution.coefficients)
}

/// Outcomes 0 to 6, all alike. Near 0 the mean `sum k z^k / sum z^k` with `z = exp(lambda)` is `z + z^2 + O(z^3)`; near 6 it
/// is the mirror image.
#[test]
fn one_feature_as_near_as_numbers_go() {
    let values = || Array2::from_shape_fn((7, 1), |(x, _)| x as f64);
    for near in [1e-3, 1e-6, 1e-9, 1e-12, 1e-15, 1e-100, 1e-300] {
        let found = solve(vec![target("x", near)], values()).expect("inside")[0];
        let z = if near > 1e-4 { found.exp() } else { near - near * near };
        assert!((found - z.ln()).abs() < 1e-9, "{near}: {found} for {}", z.ln());
        let measured = Measured::from_matrices(["x"], vec![uniform(values())]).expect("measures");
        let constraints = [measured.moment("x", near).expect("a column")];
        let fit = measured.fit(&constraints, &FitConfig::default()).expect("fits");
        let achieved = fit.report().constraints[0].achieved.value;
        assert!((achieved / near - 1.0).abs() < 1e-9, "{near}: {achieved}");
    }
    for near in [1e-3, 1e-6, 1e-9, 1e-12] {
        // The target is rounded: its distance to 6 is what counts.
        let asked = 6.0 - near;
        let distance = 6.0 - asked;
        let found = solve(vec![target("x", asked)], values()).expect("inside")[0];
        let mirrored = solve(vec![target("x", distance)], values()).expect("inside")[0];
        assert!((found + mirrored).abs() < 1e-9, "{near}: {found} {mirrored}");
    }
    for outside in [0.0, 6.0, -1e-300, 6.000_000_000_000_001] {
        let error = solve(vec![target("x", outside)], values()).expect_err("not inside");
        assert!(matches!(error, Error::OutOfReach { low: 0.0, high: 6.0, .. }), "{error}");
    }
}

/// "rain" implies "weather"; weather without rain has the probability that is asked for.
#[test]
fn several_features_to_1e12_of_their_ranges() {
    let values = || array![[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]];
    let ask = |between: f64| solve(vec![target("rain", 0.5), target("weather", 0.5 + between)], values());
    for between in [1e-3, 1e-6, 1e-9, 1e-10, 1e-11] {
        // The target as f64 has it: the difference is exact, by Sterbenz's lemma.
        let between = (0.5 + between) - 0.5;
        let found = ask(between).expect("inside");
        let expected = [(0.5 / between).ln(), (between / (0.5 - between)).ln()];
        for (found, expected) in found.iter().zip(expected) {
            // The distance to the edge is a difference of numbers near 1/2, rounded to 1e-16.
            assert!((found - expected).abs() < 1e-8 + 1e-15 / between, "{between}: {found} for {expected}");
        }
    }
    for between in [0.0, 1e-14, -1e-9, -1e-3] {
        let error = ask(between).expect_err("on the boundary, or outside");
        assert!(matches!(&error, Error::OutsideHull { .. }), "{error}");
        assert!(error.to_string().contains("1e-12 of the ranges"), "the limit is named: {error}");
    }
}
