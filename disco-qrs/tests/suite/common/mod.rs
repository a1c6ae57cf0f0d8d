//! A small space on which every sampler's distribution is known.

use std::collections::HashMap;

use disco_core::{
    FnScorer, Space, Table, scorer,
    statrs::distribution::{ChiSquared, ContinuousCDF},
};
use disco_qrs::{Draw, Sampler};

pub(crate) const OUTCOMES: usize = 8;
/// Log-scores of the target: one outcome is impossible.
pub(crate) const LOG_TARGET: [f64; OUTCOMES] = [1.0, 0.2, f64::NEG_INFINITY, 2.5, 0.9, -0.3, 1.4, 0.0];
/// Log-scores of the proposal.
const PROPOSAL: [f64; OUTCOMES] = [0.5, 0.1, 0.4, -0.6, 0.0, 0.9, 0.2, -0.2];

pub(crate) fn proposal() -> Table<usize> {
    Table::from_log_scores(Space::new(0..OUTCOMES).unwrap(), PROPOSAL.to_vec()).unwrap()
}

pub(crate) fn target() -> FnScorer<impl Fn(&(), &usize) -> f64 + Clone> {
    scorer(|_: &(), x: &usize| LOG_TARGET[*x])
}

pub(crate) fn normalise(weights: &[f64]) -> Vec<f64> {
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

pub(crate) fn target_probabilities() -> Vec<f64> {
    normalise(&LOG_TARGET.map(f64::exp))
}

/// `p_beta`.
pub(crate) fn qrs_probabilities(log_beta: f64) -> Vec<f64> {
    let proposal = proposal();
    let clipped: Vec<f64> =
        (0..OUTCOMES).map(|x| LOG_TARGET[x].min(log_beta + proposal.as_log_probs()[x]).exp()).collect();
    normalise(&clipped)
}

pub(crate) fn all<X>(sampler: &mut impl Sampler<X>) -> Vec<Draw<X>> {
    sampler.map(|draw| draw.unwrap()).collect()
}

/// Probabilities below this allow no draw; those above need some five for the chi-squared law.
const IMPOSSIBLE: f64 = 1e-12;

/// Pearson's test that independent draws have these probabilities, at level 1e-4; impossible outcomes must
/// not occur.
#[track_caller]
pub(crate) fn check_draws(draws: impl Iterator<Item = usize>, probabilities: &[f64]) {
    let mut counts: HashMap<usize, f64> = HashMap::new();
    let mut total = 0.0;
    for draw in draws {
        *counts.entry(draw).or_default() += 1.0;
        total += 1.0;
    }
    let (mut statistic, mut classes) = (0.0, 0.0);
    for (outcome, probability) in probabilities.iter().enumerate() {
        let (count, expected) = (counts.get(&outcome).copied().unwrap_or(0.0), probability * total);
        if *probability < IMPOSSIBLE {
            assert_eq!(count, 0.0, "outcome {outcome} is impossible");
        } else {
            assert!(expected > 5.0, "too few draws for outcome {outcome}");
            statistic += (count - expected).powi(2) / expected;
            classes += 1.0;
        }
    }
    let p_value = 1.0 - ChiSquared::new(classes - 1.0).unwrap().cdf(statistic);
    assert!(p_value > 1e-4, "chi-squared {statistic} over {classes} classes: p = {p_value}, {counts:?}");
}
