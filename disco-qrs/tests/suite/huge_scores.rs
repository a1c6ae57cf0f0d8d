//! Log-scores from -1e300 to 1e300: a scorer's soft "minus infinity" counts as P = 0, and every diagnostic stays within its
//! bounds.

use disco_qrs::{Goal, Point, Ratios};
use proptest::{prelude::*, test_runner::RngSeed};

const SOFT: [f64; 6] = [-1e10, -1e16, -1e30, f32::MIN as f64, -1e300, f64::MIN];

#[track_caller]
fn is_within_bounds(point: &Point) {
    for (estimate, most) in [
        (point.acceptance_rate, 1.0),
        (point.total_variation, 1.0),
        (point.jensen_shannon, 2f64.ln()),
        (point.forward_kl, f64::INFINITY),
        (point.reverse_kl, f64::INFINITY),
    ] {
        assert!((0.0..=most).contains(&estimate.value) && estimate.std_error >= 0.0, "{point:?}");
    }
    assert!(point.log_z_beta.value.is_finite(), "{point:?}");
}

#[test]
fn soft_constraints_are_hard_ones() {
    let proposal = [0.1f64, 0.2, 0.3, 0.4].map(f64::ln);
    let target = |forbidden| [0.3, 1.2, forbidden, 2.0];
    for make in [Ratios::exact, Ratios::new] {
        let hard = make(&target(f64::NEG_INFINITY), &proposal).unwrap();
        for penalty in SOFT {
            let soft = make(&target(penalty), &proposal).unwrap();
            assert_eq!((soft.log_z(), soft.ess()), (hard.log_z(), hard.ess()));
            let grid = soft.grid(5).unwrap();
            assert_eq!(grid, hard.grid(5).unwrap());
            assert_eq!(soft.curve(&grid).unwrap(), hard.curve(&grid).unwrap());
            // No beta accepts what the target forbids.
            let unreachable = soft.choose(Goal::AcceptanceRate(0.95)).unwrap_err().to_string();
            assert_eq!(unreachable, hard.choose(Goal::AcceptanceRate(0.95)).unwrap_err().to_string());
            let choice = soft.choose(Goal::TotalVariation(0.05)).unwrap();
            assert_eq!(choice, hard.choose(Goal::TotalVariation(0.05)).unwrap());
        }
    }
}

#[test]
fn a_softer_penalty_keeps_the_grid_near_the_largest_ratio() {
    let target = [0.3, 1.2, -1e6, 2.0];
    let ratios = Ratios::new(&target, &[-1.0; 4]).unwrap();
    let grid = ratios.grid(3).unwrap();
    assert_eq!((grid[0], grid[2]), (3.0 - 700.0, 3.0));
    ratios.curve(&grid).unwrap().points.iter().for_each(is_within_bounds);
}

#[test]
fn ratios_without_digits_are_refused_with_the_proposal_that_has_them() {
    let refused = |target: &[f64], proposal: &[f64]| Ratios::new(target, proposal).unwrap_err().to_string();
    // All proposals are forbidden, softly.
    let text = refused(&[-1e30, -1e30], &[-1.0, -2.0]);
    assert!(
        text.starts_with("ln(P/q) of proposal 0 is -1") && text.contains("at most 1e10 in size"),
        "{text}"
    );
    let text = refused(&[0.0, 1e16], &[-1.0, -1.0]);
    assert!(text.starts_with("ln(P/q) of proposal 1 is 1"), "{text}");
    // The proposal has no probability where the target has.
    let text = Ratios::exact(&[0.0, 0.0], &[0.0, -1e16]).unwrap_err().to_string();
    assert!(text.starts_with("ln(P/q) of proposal 1 is 1"), "{text}");
    // Where neither has, nothing is missed.
    let ratios = Ratios::exact(&[0.0, -3e16], &[0.0, -1e16]).unwrap();
    assert_eq!(ratios.log_z().value, 0.0);
    let text = ratios.point(-1e12).unwrap_err().to_string();
    assert!(text.contains("ln beta is -1") && text.contains("at least -1"), "{text}");
}

#[test]
fn diagnostics_stay_within_their_bounds() {
    let huge = (-300.0..300.0, proptest::bool::ANY).prop_map(|(exponent, negative): (f64, bool)| {
        10f64.powf(exponent) * if negative { -1.0 } else { 1.0 }
    });
    let score = prop_oneof![3 => -5.0..5.0, 1 => huge, 1 => proptest::sample::select(SOFT.to_vec()), 1 => Just(-700.0)];
    let sets = (2..12usize).prop_flat_map(move |n| {
        (proptest::collection::vec(score.clone(), n), proptest::collection::vec(-8.0..0.0, n))
    });
    let config = ProptestConfig {
        cases: 3_000,
        rng_seed: RngSeed::Fixed(15),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |((target, proposal) in sets, step in 0.0..1.0)| {
        let Ok(ratios) = Ratios::new(&target, &proposal) else {
            // Refused: the largest ratio is huge.
            prop_assert!(target.iter().any(|score| score.abs() > 1e9));
            return Ok(());
        };
        let mut grid = ratios.grid(4).unwrap();
        grid.push(ratios.largest_log_ratio() + 600.0 * step);
        grid.push(ratios.smallest_log_ratio() - step);
        for point in ratios.curve(&grid[..5]).unwrap().points {
            is_within_bounds(&point);
        }
        if let Ok(point) = ratios.point(grid[5]) {
            is_within_bounds(&point);
        }
        for goal in [Goal::AcceptanceRate(0.3 + 0.7 * step), Goal::TotalVariation(step), Goal::LargestRatio] {
            if let Ok(choice) = ratios.choose(goal) {
                is_within_bounds(&choice.point);
            }
        }
    });
}
