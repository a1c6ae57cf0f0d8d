//! Laws that hold for all distributions: D >= 0, D = 0 iff equal, data processing, joint invariance to
//! constants in log P.

use disco_divergence::{Estimator, FDivergence, exact};
use proptest::prelude::*;

/// Every member of the family.
pub(crate) fn all() -> impl Strategy<Value = FDivergence> {
    prop_oneof![
        proptest::sample::select(FDivergence::NAMED.to_vec()),
        (-4.0..5.0).prop_map(|order| FDivergence::alpha(order).unwrap()),
        (1e-3..0.999).prop_map(|weight| FDivergence::skewed_kl(weight).unwrap()),
        (1e-3..0.999).prop_map(|weight| FDivergence::skewed_js(weight).unwrap()),
    ]
}

/// Two sets of log-scores over the same outcomes.
fn pair() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
    (2..20usize).prop_flat_map(|n| {
        let scores = || proptest::collection::vec(-20.0..3.0, n);
        (scores(), scores())
    })
}

/// Exact sums carry this much rounding, relative to the value.
const ROUNDING: f64 = 1e-9;

proptest! {
    #[test]
    fn never_negative_and_zero_for_equals(divergence in all(), (p, pi) in pair()) {
        let value = exact(&divergence, &p, &pi).unwrap();
        prop_assert!(value >= 0.0);
        prop_assert!(exact(&divergence, &p, &p).unwrap() == 0.0);
        // Zero only if equal: log-ratios that differ by more than rounding make it positive.
        let equal = (0..p.len()).all(|i| ((p[i] - pi[i]) - (p[0] - pi[0])).abs() < 1e-3);
        prop_assert!(equal || value > 0.0);
    }

    #[test]
    fn merging_outcomes_loses_divergence(divergence in all(), (p, pi) in pair(), at in 0..20usize) {
        // Data processing: outcome `at` is merged with the next.
        let n = p.len();
        let at = at % (n - 1);
        let merge = |scores: &[f64]| -> Vec<f64> {
            let merged = disco_core::numerics::log_add_exp(scores[at], scores[at + 1]);
            (0..n).filter(|i| *i != at + 1).map(|i| if i == at { merged } else { scores[i] }).collect()
        };
        let fine = exact(&divergence, &p, &pi).unwrap();
        let coarse = exact(&divergence, &merge(&p), &merge(&pi)).unwrap();
        prop_assert!(coarse <= fine * (1.0 + ROUNDING) + 1e-15, "{coarse} > {fine}");
    }

    #[test]
    fn a_constant_in_the_scores_changes_nothing(divergence in all(), (p, pi) in pair(), c in -50.0..50.0) {
        let shifted: Vec<f64> = p.iter().map(|p| p + c).collect();
        let q = vec![-(p.len() as f64).ln(); p.len()];
        let estimate = |target: &[f64]| {
            let estimator = Estimator::new(target, &pi, &q).unwrap();
            let estimator = estimator.policy_log_z(disco_divergence::LogZ::Estimated).unwrap();
            estimator.estimate(&[divergence]).unwrap().divergences[0].estimate
        };
        let (one, other) = (estimate(&p), estimate(&shifted));
        prop_assert!((one.value - other.value).abs() <= ROUNDING * (1.0 + one.value));
        prop_assert!((one.std_error - other.std_error).abs() <= 1e-6 * (1.0 + one.std_error));
    }

    #[test]
    fn total_variation_bounds_the_others((p, pi) in pair()) {
        let at = |divergence: FDivergence| exact(&divergence, &p, &pi).unwrap();
        let tv = at(FDivergence::TotalVariation);
        prop_assert!(tv <= 1.0 + ROUNDING);
        // Pinsker; Le Cam; Lin.
        prop_assert!(2.0 * tv * tv <= at(FDivergence::KlForward) * (1.0 + ROUNDING) + 1e-15);
        prop_assert!(2.0 * tv * tv <= at(FDivergence::KlReverse) * (1.0 + ROUNDING) + 1e-15);
        prop_assert!(at(FDivergence::SquaredHellinger) <= tv * (1.0 + ROUNDING) + 1e-15);
        prop_assert!(at(FDivergence::JensenShannon) <= tv * 2f64.ln() * (1.0 + ROUNDING) + 1e-15);
    }
}
