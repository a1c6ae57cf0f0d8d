//! Exact enumeration: diagnostics against sums written out, the filter identity, and laws in beta.

use disco_core::numerics::log_sum_exp;
use disco_divergence::{FDivergence, exact};
use disco_qrs::{Goal, Ratios};
use proptest::prelude::*;

/// Rounding of sums over some twenty outcomes.
const ROUNDING: f64 = 1e-10;

fn normalised(log_scores: &[f64]) -> Vec<f64> {
    let log_z = log_sum_exp(log_scores);
    log_scores.iter().map(|log_score| log_score - log_z).collect()
}

/// `ln min(P, beta q)`.
fn clipped(log_target: &[f64], log_proposal: &[f64], log_beta: f64) -> Vec<f64> {
    log_target.iter().zip(log_proposal).map(|(target, proposal)| target.min(log_beta + proposal)).collect()
}

/// Unnormalised targets, of which some outcomes are impossible, and normalised proposals.
fn problem() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
    (2..20usize).prop_flat_map(|n| {
        let target = prop_oneof![4 => -12.0..6.0, 1 => Just(f64::NEG_INFINITY)];
        let possible = proptest::collection::vec(target, n)
            .prop_filter("some outcome is possible", |target| {
                target.iter().any(|score| *score > f64::NEG_INFINITY)
            });
        (possible, proptest::collection::vec(-6.0..0.0, n))
            .prop_map(|(target, proposal)| (target, normalised(&proposal)))
    })
}

proptest! {
    #[test]
    fn diagnostics_are_the_sums((target, proposal) in problem(), log_beta in -20.0..20.0) {
        let feature: Vec<f64> = (0..target.len()).map(|i| 100.0 + (i as f64).sin()).collect();
        let ratios = Ratios::exact(&target, &proposal).unwrap().with_feature("f", &feature).unwrap();
        let point = ratios.point(log_beta).unwrap();
        let sampler = clipped(&target, &proposal, log_beta);
        let close = |found: f64, expected: f64, what: &str| {
            prop_assert!((found - expected).abs() <= ROUNDING * (1.0 + expected.abs()), "{what}: {found} {expected}");
            Ok(())
        };
        close(ratios.log_z().value, log_sum_exp(&target), "ln Z")?;
        close(point.log_z_beta.value, log_sum_exp(&sampler), "ln Z_beta")?;
        close(point.acceptance_rate.value, (log_sum_exp(&sampler) - log_beta).exp(), "acceptance rate")?;
        let divergence = |divergence: FDivergence| exact(&divergence, &target, &sampler).unwrap();
        close(point.total_variation.value, divergence(FDivergence::TotalVariation), "tv")?;
        close(point.forward_kl.value, divergence(FDivergence::KlForward), "forward kl")?;
        close(point.reverse_kl.value, divergence(FDivergence::KlReverse), "reverse kl")?;
        close(point.jensen_shannon.value, divergence(FDivergence::JensenShannon), "js")?;
        let mean: f64 = normalised(&sampler).iter().zip(&feature).map(|(log, value)| log.exp() * value).sum();
        close(point.features[0].value, mean, "feature")?;
        prop_assert_eq!(point.total_variation.std_error, 0.0);
    }

    #[test]
    fn beta_trades_acceptance_for_fidelity((target, proposal) in problem(), low in -10.0..10.0, step in 0.0..5.0) {
        let ratios = Ratios::exact(&target, &proposal).unwrap();
        let curve = ratios.curve(&[low, low + step]).unwrap();
        let [one, two] = [&curve.points[0], &curve.points[1]];
        prop_assert!(two.acceptance_rate.value <= one.acceptance_rate.value + ROUNDING);
        prop_assert!(two.total_variation.value <= one.total_variation.value + ROUNDING);
        prop_assert!(two.forward_kl.value <= one.forward_kl.value + ROUNDING);
    }

    #[test]
    fn a_constant_in_the_target_moves_beta_only((target, proposal) in problem(), log_beta in -9.0..9.0, c in -300.0..300.0) {
        let shifted: Vec<f64> = target.iter().map(|score| score + c).collect();
        let one = Ratios::exact(&target, &proposal).unwrap().point(log_beta).unwrap();
        let two = Ratios::exact(&shifted, &proposal).unwrap().point(log_beta + c).unwrap();
        prop_assert!((one.acceptance_rate.value - two.acceptance_rate.value).abs() < 1e-9);
        prop_assert!((one.total_variation.value - two.total_variation.value).abs() < 1e-9);
        prop_assert!((one.forward_kl.value - two.forward_kl.value).abs() < 1e-9);
    }

    #[test]
    fn filtering_costs_what_it_accepts((target, _) in problem(), base in proptest::collection::vec(-6.0..0.0, 20), tuned in proptest::collection::vec(-6.0..0.0, 20)) {
        // g filters a, g' filters a' by the same constraint: KL(g||a') = KL(g||g') - ln(acceptance rate).
        let n = target.len();
        let filter = |scores: &[f64]| -> Vec<f64> {
            scores.iter().zip(&target).map(|(s, t)| if t.is_finite() { *s } else { f64::NEG_INFINITY }).collect()
        };
        let (a, tuned) = (normalised(&base[..n]), normalised(&tuned[..n]));
        let (g, g_tuned) = (filter(&a), filter(&tuned));
        // Rejection sampling of a' by the constraint: P = a' b and beta = 1.
        let rate = Ratios::exact(&g_tuned, &tuned).unwrap().acceptance_rate(0.0).unwrap().value;
        let kl = |from: &[f64], to: &[f64]| exact(&FDivergence::KlForward, from, to).unwrap();
        let (left, right) = (kl(&g, &tuned), kl(&g, &g_tuned) - rate.ln());
        prop_assert!((left - right).abs() < ROUNDING * (1.0 + left), "{left} {right}");
    }

    #[test]
    fn chosen_beta_reaches_the_goal((target, proposal) in problem(), wanted in 0.001..1.0f64) {
        let ratios = Ratios::exact(&target, &proposal).unwrap();
        let most: f64 = target.iter().zip(&proposal).filter(|(t, _)| t.is_finite()).map(|(_, q)| q.exp()).sum();
        match ratios.choose(Goal::AcceptanceRate(wanted)) {
            Ok(choice) => prop_assert!((choice.point.acceptance_rate.value - wanted).abs() < ROUNDING),
            Err(error) => {
                prop_assert!(wanted > most - ROUNDING);
                prop_assert!(error.to_string().contains("no beta has an acceptance rate of"));
            }
        }
        let choice = ratios.choose(Goal::TotalVariation(wanted)).unwrap();
        let least = ratios.point(ratios.smallest_log_ratio()).unwrap().total_variation.value;
        let expected = wanted.min(least);
        prop_assert!((choice.point.total_variation.value - expected).abs() < ROUNDING, "{choice:?} {expected}");
        let choice = ratios.choose(Goal::LargestRatio).unwrap();
        prop_assert!(choice.point.total_variation.value < ROUNDING && choice.point.above == 0);
    }
}

#[test]
fn ratios_of_any_spread_are_summed() {
    // Ratios of e^-5000 to e^5000: as plain numbers, 0 and infinity.
    let target = [-5000.0, -10.0, 0.0, 10.0, 5000.0];
    let proposal = [0.2f64.ln(); 5];
    let ratios = Ratios::exact(&target, &proposal).unwrap();
    for log_beta in [-6000.0, -5000.0, -3000.0, 0.0, 3000.0, 5000.0] {
        let point = ratios.point(log_beta).unwrap();
        let sampler = clipped(&target, &proposal, log_beta);
        assert!((point.log_z_beta.value - log_sum_exp(&sampler)).abs() < 1e-9);
        let kl = exact(&FDivergence::KlForward, &target, &sampler).unwrap();
        assert!((point.forward_kl.value - kl).abs() < 1e-9 * (1.0 + kl), "{log_beta}: {point:?} {kl}");
        let kl = exact(&FDivergence::KlReverse, &target, &sampler).unwrap();
        assert!((point.reverse_kl.value - kl).abs() < 1e-9 * (1.0 + kl), "{log_beta}: {point:?} {kl}");
        let tv = exact(&FDivergence::TotalVariation, &target, &sampler).unwrap();
        assert!((point.total_variation.value - tv).abs() < 1e-12, "{log_beta}: {point:?} {tv}");
    }
}

#[test]
fn the_target_as_proposal_has_nothing_to_gain() {
    let proposal = normalised(&[0.3, -1.0, 0.5]);
    let ratios = Ratios::exact(&proposal, &proposal).unwrap();
    let point = ratios.point(0.0).unwrap();
    assert!((point.acceptance_rate.value - 1.0).abs() < 1e-12 && point.total_variation.value < 1e-12);
    let grid = ratios.grid(5).unwrap();
    assert!(grid.len() == 5 && grid.iter().all(|log_beta| log_beta.abs() < 0.1));
}

#[test]
fn outcomes_that_the_proposal_nearly_never_draws_count_in_full() {
    // q = e^-800 underflows, and P is large there: Z = 1.5, of which the proposal all but misses 1.
    let (target, proposal) = ([0.0, 0.25f64.ln(), 0.25f64.ln()], [-800.0, 0.5f64.ln(), 0.5f64.ln()]);
    let ratios = Ratios::exact(&target, &proposal).unwrap().with_feature("first", &[1.0, 0.0, 0.0]).unwrap();
    assert!((ratios.log_z().value - 1.5f64.ln()).abs() < ROUNDING);
    // At beta = 1, p_beta is p without the first outcome.
    let p: Vec<f64> = normalised(&target);
    let sampler = normalised(&clipped(&target, &proposal, 0.0));
    let point = ratios.point(0.0).unwrap();
    assert!((point.total_variation.value - 2.0 / 3.0).abs() < ROUNDING, "{:?}", point.total_variation);
    for (divergence, found) in [
        (FDivergence::KlForward, point.forward_kl),
        (FDivergence::KlReverse, point.reverse_kl),
        (FDivergence::JensenShannon, point.jensen_shannon),
    ] {
        let expected = exact(&divergence, &p, &sampler).unwrap();
        assert!((found.value - expected).abs() < ROUNDING * (1.0 + expected), "{divergence}: {found:?}");
    }
    assert!(point.features[0].value < 1e-300);
    // At the largest ratio, p_beta is the target, and nearly nothing is accepted.
    let choice = ratios.choose(Goal::LargestRatio).unwrap();
    assert!((choice.log_beta - 800.0).abs() < 1e-12);
    assert!((choice.point.log_z_beta.value - 1.5f64.ln()).abs() < ROUNDING);
    assert!(choice.point.total_variation.value < ROUNDING && choice.point.forward_kl.value < ROUNDING);
    assert!((choice.point.features[0].value - 2.0 / 3.0).abs() < ROUNDING);
    // A beta for a total variation in between exists: p_beta has the first outcome with 1/2 at TV 1/6.
    let choice = ratios.choose(Goal::TotalVariation(1.0 / 6.0)).unwrap();
    assert!((choice.point.total_variation.value - 1.0 / 6.0).abs() < 1e-9);
    assert!((choice.point.features[0].value - 0.5).abs() < 1e-9);
    // Only there: every diagnostic is that of the one outcome.
    let lonely = Ratios::exact(&[1.0, f64::NEG_INFINITY], &[-900.0, 0.0]).unwrap();
    assert!((lonely.log_z().value - 1.0).abs() < ROUNDING);
    let curve = lonely.curve(&lonely.grid(5).unwrap()).unwrap();
    assert!(curve.points.iter().all(|point| point.total_variation.value < ROUNDING));
}

#[test]
fn an_exact_curve_comes_back_from_json() {
    let ratios = Ratios::exact(&[0.0, -1.0, 2.0], &normalised(&[0.5, 0.0, -3.0])).unwrap();
    let ratios = ratios.with_feature("f", &[1.0, 2.0, 4.0]).unwrap();
    let curve = ratios.curve(&ratios.grid(4).unwrap()).unwrap();
    assert_eq!(curve.ess, f64::INFINITY);
    let text = serde_json::to_string(&curve).unwrap();
    assert_eq!(serde_json::from_str::<disco_qrs::Curve>(&text).unwrap(), curve);
    let choice = ratios.choose(Goal::TotalVariation(0.1)).unwrap();
    let text = serde_json::to_string(&choice).unwrap();
    assert_eq!(serde_json::from_str::<disco_qrs::Choice>(&text).unwrap(), choice);
}

#[test]
fn a_choice_of_unknown_error_comes_back_from_json() {
    // One proposal has no error: infinite, which is not the same as none.
    let choice = Ratios::new(&[0.0], &[0.0]).unwrap().choose(Goal::AcceptanceRate(0.5)).unwrap();
    assert_eq!(choice.std_error, Some(f64::INFINITY));
    let text = serde_json::to_string(&choice).unwrap();
    assert_eq!(serde_json::from_str::<disco_qrs::Choice>(&text).unwrap(), choice);
}
