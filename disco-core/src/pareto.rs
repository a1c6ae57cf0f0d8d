//! The shape of the tail of importance weights.

use crate::ImportanceWeights;

/// The smallest tail that is fitted: with fewer points the shape would be the prior's.
const SHORTEST_TAIL: usize = 5;

/// Excesses below this share of the largest weight count as this share, so that their inverse is finite. Where
/// they are so small, `k` is above 1 whatever they are.
const LEAST_EXCESS: f64 = 1e-290;

/// `ln` of the largest weight over the smallest that is a normal number next to it.
const LOG_RANGE: f64 = 708.0;

/// The upper tail of importance weights, as a generalised Pareto distribution.
///
/// Weights with shape `k` have finite moments of the orders below `1/k`. If `k` is below the threshold, standard errors are
/// reliable. If not, the samples do not cover the target's mass, and no number computed from them shows how large the error
/// is[^psis].
///
/// [^psis]: Vehtari, Simpson, Gelman, Yao, Gabry (2024), *Pareto smoothed importance sampling*, JMLR 25(72),
///   <https://jmlr.org/papers/v25/19-556.html>
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ParetoTail {
    /// The estimated shape, `k` hat; `+inf` where the largest weights are so far above the others that these are zero in `f64`
    /// next to them: such a tail has no shape that could be fitted, and no moment.
    pub k: f64,
    /// The largest `k` at which estimates from this many samples are reliable: `min(1 - 1/log10(n), 0.7)`.
    pub threshold: f64,
    /// The number of weights that were fitted, or of those that the others are zero next to.
    pub fitted: usize,
}

impl ParetoTail {
    /// Whether `k` is below the threshold.
    pub fn is_reliable(&self) -> bool {
        self.k < self.threshold
    }
}

impl ImportanceWeights {
    /// The shape of the tail. The tail is the `min(n/5, 3 sqrt(n))` largest weights; a generalised Pareto distribution is
    /// fitted to their excesses over the largest weight outside the tail, by the method of Zhang and Stephens[^zs] with their
    /// weakly informative prior.
    ///
    /// Where fewer than five weights of the tail exceed that weight by more than nothing in `f64`, `k` is `+inf` if the others
    /// are smaller by a factor of `e^708` or more, or are zero and these differ; so is it for a single weight above zero.
    ///
    /// `None` for at most 20 samples, and where fewer than five exceed it by less, or are equal among zeros, as with a bounded
    /// ratio over few outcomes. Then the ESS is the only diagnostic. Cost: a partial sort.
    ///
    /// [^zs]: Zhang and Stephens (2009), *A new and efficient estimation method for the generalized Pareto
    ///   distribution*, Technometrics 51(3), <https://doi.org/10.1198/tech.2009.08017>
    pub fn pareto_tail(&self) -> Option<ParetoTail> {
        let n = self.normalised().len();
        let tail = (0.2 * n as f64).min(3.0 * (n as f64).sqrt()).ceil() as usize;
        if tail < SHORTEST_TAIL {
            return None;
        }
        let threshold = (1.0 - 1.0 / (n as f64).log10()).min(0.7);
        let mut weights = self.normalised().to_vec();
        let (_, cutoff, largest) = weights.select_nth_unstable_by(n - tail - 1, f64::total_cmp);
        // In units of the largest weight, so that nothing underflows when squared or inverted.
        let (cutoff, unit) = (*cutoff, self.largest_share());
        let mut excesses: Vec<f64> =
            largest.iter().map(|weight| (weight - cutoff) / unit).filter(|excess| *excess > 0.0).collect();
        if excesses.len() < SHORTEST_TAIL {
            return self.has_endless_tail(tail).then_some(ParetoTail {
                k: f64::INFINITY,
                threshold,
                fitted: excesses.len(),
            });
        }
        excesses.iter_mut().for_each(|excess| *excess = excess.max(LEAST_EXCESS));
        excesses.sort_unstable_by(f64::total_cmp);
        let count = excesses.len() as f64;
        // The prior is worth ten observations at k = 1/2, as in the reference implementation by the authors.
        let k = (count * generalised_pareto_shape(&excesses) + 10.0 * 0.5) / (count + 10.0);
        Some(ParetoTail { k, threshold, fitted: excesses.len() })
    }

    /// Whether the weights outside a tail of this many, of which few are above zero in `f64`, are out of reach of those.
    fn has_endless_tail(&self, tail: usize) -> bool {
        let mut log_weights = self.log_weights().to_vec();
        log_weights.sort_unstable_by(f64::total_cmp);
        let (outside, tail) = log_weights.split_at(log_weights.len() - tail);
        let (cutoff, largest) = (outside[outside.len() - 1], tail[tail.len() - 1]);
        if cutoff > f64::NEG_INFINITY {
            return largest - cutoff >= LOG_RANGE;
        }
        // Weights of zero outside the support say nothing of its tail.
        let supported = &tail[tail.partition_point(|log_weight| *log_weight == f64::NEG_INFINITY)..];
        supported.len() == 1 || supported[0] < largest
    }
}

/// The shape of a generalised Pareto distribution fitted to ascending positive excesses: the profile
/// likelihood averaged over a grid of `b = -k / sigma` under a prior that depends on the data
/// (Zhang and Stephens 2009, section 3, with their `k` negated).
fn generalised_pareto_shape(excesses: &[f64]) -> f64 {
    let n = excesses.len();
    let points = 30 + (n as f64).sqrt() as usize;
    let largest = excesses[n - 1];
    let quartile = excesses[((n as f64 / 4.0 + 0.5) as usize).max(1) - 1];
    let shape_at = |b: f64| excesses.iter().map(|excess| (-b * excess).ln_1p()).sum::<f64>() / n as f64;
    let grid: Vec<f64> = (1..=points)
        .map(|j| 1.0 / largest + (1.0 - (points as f64 / (j as f64 - 0.5)).sqrt()) / (3.0 * quartile))
        .collect();
    let log_likelihoods: Vec<f64> = grid
        .iter()
        .map(|&b| {
            let k = shape_at(b);
            // -b/k is 1/sigma; at b = 0 the distribution is exponential, and sigma its mean.
            let inverse_scale = if b == 0.0 { n as f64 / excesses.iter().sum::<f64>() } else { -b / k };
            n as f64 * (inverse_scale.ln() - k - 1.0)
        })
        .collect();
    let log_total = crate::numerics::log_sum_exp(&log_likelihoods);
    let b = grid.iter().zip(&log_likelihoods).map(|(b, log)| b * (log - log_total).exp()).sum();
    shape_at(b)
}
