//! Two contexts with six outcomes each: policies, a target, and the exact gradient of every divergence.

use disco_core::{Contexts, Scorer, Space, numerics::log_sum_exp, scorer};
use disco_divergence::{Divergence, FDivergence, exact};
use disco_tuner::{Baseline, MicroBatch, Partition, Sampling, TunerConfig};
use ndarray::Array2;

use super::scripted::Table;

pub(crate) const CONTEXTS: usize = 2;
pub(crate) const OUTCOMES: usize = 6;
/// All probabilities below are multiples of one over this.
const SAMPLES: usize = 40;

fn table(counts: [[u32; OUTCOMES]; CONTEXTS]) -> Table {
    let logits = Array2::from_shape_fn((CONTEXTS, OUTCOMES), |(row, at)| f64::from(counts[row][at]).ln());
    Table::new(Space::new(0..CONTEXTS).unwrap(), Space::new(0..OUTCOMES).unwrap(), logits).unwrap()
}

pub(crate) fn first() -> Table {
    table([[10, 4, 6, 12, 5, 3], [2, 15, 8, 5, 9, 1]])
}

pub(crate) fn second() -> Table {
    table([[6, 10, 3, 7, 2, 12], [9, 5, 10, 4, 4, 8]])
}

pub(crate) fn third() -> Table {
    table([[3, 3, 20, 4, 6, 4], [11, 7, 2, 3, 10, 7]])
}

/// A normalised target; outcome 4 is forbidden in context 1 if `hard`.
pub(crate) fn log_target(context: usize, hard: bool) -> Vec<f64> {
    let score = |outcome: usize| match (outcome, context, hard) {
        (4, 1, true) => f64::NEG_INFINITY,
        _ => 1.5 * super::hash(context, outcome) - 0.3 * outcome as f64,
    };
    let scores: Vec<f64> = (0..OUTCOMES).map(score).collect();
    let log_z = log_sum_exp(&scores);
    scores.into_iter().map(|score| score - log_z).collect()
}

pub(crate) fn target(hard: bool) -> impl Scorer<usize, usize> {
    let scores: Vec<Vec<f64>> = (0..CONTEXTS).map(|context| log_target(context, hard)).collect();
    scorer(move |context: &usize, outcome: &usize| scores[*context][*outcome])
}

/// `grad mean_c D_f(pi_c||p_c)` by central differences.
pub(crate) fn expected(divergence: FDivergence, policy: &Table, hard: bool) -> Vec<f64> {
    let h = 1e-5;
    let objective = |logits: &Array2<f64>| {
        let of = |context: usize| {
            exact(&divergence, &log_target(context, hard), &logits.row(context).to_vec()).unwrap()
        };
        (0..CONTEXTS).map(of).sum::<f64>() / CONTEXTS as f64
    };
    let moved = |at: usize, by: f64| {
        let mut logits = policy.logits().to_owned();
        logits[[at / OUTCOMES, at % OUTCOMES]] += by;
        objective(&logits)
    };
    (0..CONTEXTS * OUTCOMES).map(|at| (moved(at, h) - moved(at, -h)) / (2.0 * h)).collect()
}

pub(crate) fn divergences() -> Vec<FDivergence> {
    let others = ["alpha:-1", "alpha:0.5", "alpha:3", "skewed-kl:0.3", "skewed-js:0.3"];
    FDivergence::NAMED.into_iter().chain(others.map(|name| name.parse().unwrap())).collect()
}

pub(crate) fn config(divergence: FDivergence) -> TunerConfig {
    TunerConfig {
        steps: 1,
        samples_per_step: CONTEXTS * SAMPLES,
        contexts_per_step: CONTEXTS,
        partition: Partition::Normalised,
        baseline: Baseline::None,
        micro_batch: MicroBatch { samples: 7, tokens: None },
        ..TunerConfig::f_cdpg(divergence)
    }
}

/// A proposal that no paired test replaces.
pub(crate) fn offline() -> Sampling {
    Sampling::Offline { metric: FDivergence::TotalVariation, z: 1e12, every: 1 }
}

pub(crate) fn contexts() -> Contexts<usize> {
    Contexts::new((0..CONTEXTS).collect()).unwrap()
}

/// Whether the policy may leave the target's support.
pub(crate) fn is_soft(divergence: &FDivergence) -> bool {
    divergence.derivative_at_infinity() < f64::INFINITY
}
