//! Exact rejection where the supremum of P/q is known, and what is said where the claim is wrong.

use disco_core::{Space, Table, numerics::log_sum_exp, scorer};
use disco_qrs::{Budget, Error, Goal, Point, Qrs, Ratios, Rejection, RunConfig, choose_beta};

use crate::common::{all, check_draws, normalise};

const OUTCOMES: usize = 6;

fn base() -> Table<usize> {
    let space = Space::new(0..OUTCOMES).unwrap();
    Table::from_log_scores(space, vec![0.3, -0.4, 0.9, 0.1, -1.0, 0.6]).unwrap()
}

/// `ln P/a` in a context: a feature in [0, 1] with a coefficient, so that the supremum is known without any sample.
fn log_factor(context: &usize, x: &usize) -> f64 {
    let coefficient = [1.5, -2.0, 0.0][*context];
    coefficient * (*x as f64 / (OUTCOMES - 1) as f64)
}

const LOG_BOUNDS: [f64; 3] = [1.5, 0.0, 0.0];

fn log_target(context: &usize) -> Vec<f64> {
    (0..OUTCOMES).map(|x| base().as_log_probs()[x] + log_factor(context, &x)).collect()
}

fn config(seed: u64, budget: Budget) -> RunConfig {
    RunConfig::new(seed, budget)
}

/// n = 20,000 draws in each context, alpha = 1e-4 for each of two samplers.
#[test]
fn at_a_known_bound_the_draws_are_those_of_the_target() {
    let target = scorer(|context: &usize, x: &usize| base().as_log_probs()[*x] + log_factor(context, x));
    let contexts = vec![0, 1, 2];
    let budget = Budget::draws(20_000);
    let bounds = LOG_BOUNDS.map(Some).to_vec();
    // A beta above the bound is exact too.
    let log_betas = vec![1.5, 0.7, 0.0];
    let mut qrs = Qrs::each(base(), target, contexts.clone(), log_betas, config(5, budget)).unwrap();
    assert!(!qrs.is_certified(0));
    qrs = qrs.with_bounds(bounds).unwrap();
    let mut rejection =
        Rejection::each(base(), target, contexts, LOG_BOUNDS.to_vec(), config(6, budget)).unwrap();
    let draws = [all(&mut qrs), all(&mut rejection)];
    for (context, log_bound) in LOG_BOUNDS.into_iter().enumerate() {
        assert!(qrs.is_certified(context));
        let p = normalise(&log_target(&context).iter().map(|score| score.exp()).collect::<Vec<_>>());
        for draws in &draws {
            let own = draws.iter().filter(|draw| draw.context == context);
            assert!(own.clone().all(|draw| draw.log_score == draw.log_target));
            check_draws(own.map(|draw| draw.value), &p);
        }
        // It accepts Z / beta of the proposals.
        let expected = (log_sum_exp(&log_target(&context)) - log_bound).exp();
        let found = rejection.statistics_of(context).unwrap().acceptance_rate().unwrap();
        assert!(
            (found.value - expected).abs() < 4.5 * found.std_error + 1e-12,
            "{context}: {found:?} {expected}"
        );
    }
}

#[test]
fn a_ratio_above_the_claimed_bound_is_an_error() {
    let target = scorer(|context: &usize, x: &usize| base().as_log_probs()[*x] + log_factor(context, x));
    let contexts = vec![2, 0];
    let wrong = vec![Some(0.0), Some(1.4)];
    let qrs = Qrs::each(base(), target, contexts, vec![0.0, 5.0], config(1, Budget::draws(5_000))).unwrap();
    let mut qrs = qrs.with_bounds(wrong).unwrap();
    let error = qrs.find_map(Result::err).expect("a ratio of e^1.5 comes");
    let message = error.to_string();
    assert!(matches!(error, Error::BoundExceeded { context: 1, log_bound: 1.4, .. }), "{message}");
    assert!(message.contains("of context 1") && message.contains("1.4"), "{message}");
    assert!(qrs.next().is_none());
    let ratios = Ratios::new(&[0.0, 1.5], &[0.0, 0.0]).unwrap();
    let error = ratios.clone().with_bound(4, 1.0).unwrap_err();
    assert!(matches!(
        error,
        Error::BoundExceeded { context: 4, proposal: 1, log_ratio: 1.5, log_bound: 1.0 }
    ));
    assert!(ratios.with_bound(0, f64::INFINITY).is_err());
    let target = scorer(|_: &usize, _: &usize| 0.0);
    let qrs = || Qrs::new(base(), target, 0, 0.0, config(1, Budget::draws(1))).unwrap();
    assert!(qrs().with_bounds(vec![None, None]).is_err());
    assert!(qrs().with_bounds(vec![Some(f64::NAN)]).is_err());
}

#[test]
fn diagnostics_at_a_known_bound_are_certified() {
    // Samples that show no ratio as large as the bound: without it, total variation would be a guess.
    let ratios = Ratios::new(&[0.1, 0.2, 0.3, f64::NEG_INFINITY], &[0.0; 4]).unwrap();
    let guess = ratios.point(1.5).unwrap();
    assert!(!guess.certified && guess.above_at_most > 0.5 && !guess.warnings.is_empty());
    let known = ratios.clone().with_bound(0, 1.5).unwrap();
    let point = known.point(1.5).unwrap();
    assert!(point.certified && point.above_at_most == 0.0);
    for exact in [point.total_variation, point.forward_kl, point.reverse_kl, point.jensen_shannon] {
        assert_eq!((exact.value, exact.std_error), (0.0, 0.0));
    }
    assert!(!known.point(1.4).unwrap().certified);
    assert!(!Point::mean(&[point.clone(), guess]).unwrap().certified);
    assert!(Point::mean(&[point.clone(), point.clone()]).unwrap().certified);
    // Z / beta, by hand.
    let z = (0.1f64.exp() + 0.2f64.exp() + 0.3f64.exp()) / 4.0;
    let rate = known.rejection_rate(1.5).unwrap();
    assert!(
        (rate.value - z / 1.5f64.exp()).abs() < 1e-15
            && (rate.value - point.acceptance_rate.value).abs() < 1e-15
    );
    assert!((rate.std_error - point.acceptance_rate.std_error).abs() < 1e-12);
    assert_eq!(known.rejection_rate(5000.0).unwrap().value, 0.0);
    // In JSON too, where older files do not have it.
    let mut json = serde_json::to_value(&point).unwrap();
    assert_eq!(serde_json::from_value::<Point>(json.clone()).unwrap(), point);
    json.as_object_mut().unwrap().remove("certified");
    assert!(!serde_json::from_value::<Point>(json).unwrap().certified);
    let choice = choose_beta(&[known], Goal::LargestRatio).unwrap();
    assert!(!choice.point.certified);
}
