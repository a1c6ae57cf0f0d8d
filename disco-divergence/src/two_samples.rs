//! Divergences between two distributions, from samples of both.

use disco_core::{
    Error, Estimate,
    numerics::{check_log_scores, log_ratio},
};
use serde::{Deserialize, Serialize};

use crate::{
    Divergence, DivergenceEstimate, Error as DivergenceError, LogZ, Result,
    contribution::Integrand,
    estimator::{check_drawn, summarise},
    moments::Moments,
};

/// The log-scores (nats) that one set of samples has under both distributions.
#[derive(Clone, Copy, Debug)]
pub struct Scored<'a> {
    /// Under the target.
    pub log_target: &'a [f64],
    /// Under the policy.
    pub log_policy: &'a [f64],
}

/// Estimates divergences between a target `p` and a policy `pi` from samples of both.
///
/// The `n` samples of `p` and `m` of `pi` are pooled as samples of their mixture
/// `q = (n p + m pi)/(n + m)` (Veach and Guibas 1995, the balance heuristic), so that `u = p/q` and
/// `v = pi/q` are bounded: no weight can dominate, and disjoint supports have a total variation of 1.
/// As in [`Estimator`](crate::Estimator), `D = mean(u f(v/u))`; the standard error is computed for a stratified
/// sample.
///
/// Log-scores may be unnormalised. Only the difference `zeta = ln Z_p - ln Z_pi` matters; it is known, or
/// estimated as the root of `mean(u) = 1`, which is Bennett's acceptance ratio (Bennett 1976, eq. 12). The
/// standard errors account for that.
///
/// # Cost
/// Time O((n + m) k) for k divergences, and about ten passes for zeta; memory O(n + m).
#[derive(Clone, Debug)]
pub struct TwoSamples {
    // Invariant: ln(pi/P) of each sample, at least one in either stratum; no NaN; +inf where P = 0.
    log_ratios: [Vec<f64>; 2],
    log_ratio_z: LogZ,
}

/// The result of [`TwoSamples::estimate`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TwoSampleComparison {
    /// The divergences `D_f(pi||p)`, in the order they were asked for.
    pub divergences: Vec<DivergenceEstimate>,
    /// `ln Z_p - ln Z_pi` (nats): as given, or estimated.
    pub log_ratio_z: Estimate,
}

/// Newton steps for zeta; each is kept inside a bracket that at least halves when Newton leaves it.
const STEPS: usize = 200;
/// The width of a bracket of zeta (nats) above which it is not halved but searched by orders of magnitude.
const WIDE: f64 = 1e4;
/// Zeta is found when its step is below this (nats, relative to 1 + |zeta|).
const STEP_TOLERANCE: f64 = 1e-13;

impl TwoSamples {
    /// From samples of the target and samples of the policy, each scored by both. Unless
    /// [`log_ratio_z`](Self::log_ratio_z) is called, the log-scores are taken to be log-probabilities (`LogZ::Known(0.0)`).
    ///
    /// # Errors
    /// Lengths that differ, no samples, NaN or `+inf`, and a sample with log-score `-inf` under the distribution
    /// that drew it.
    pub fn new(from_target: Scored<'_>, from_policy: Scored<'_>) -> Result<Self> {
        let log_ratios = |scored: Scored<'_>, what: &'static str| {
            if scored.log_target.is_empty() {
                return Err(Error::Empty { what: what.into() });
            }
            Error::check_length("policy log-scores", scored.log_target.len(), scored.log_policy.len())?;
            check_log_scores("target", scored.log_target)?;
            check_log_scores("policy", scored.log_policy)?;
            Ok(scored
                .log_policy
                .iter()
                .zip(scored.log_target)
                .map(|(policy, target)| log_ratio(*policy, *target))
                .collect())
        };
        check_drawn("target", from_target.log_target)?;
        check_drawn("policy", from_policy.log_policy)?;
        let target = log_ratios(from_target, "samples of the target")?;
        let policy = log_ratios(from_policy, "samples of the policy")?;
        Ok(Self { log_ratios: [target, policy], log_ratio_z: LogZ::Known(0.0) })
    }

    /// How `ln Z_p - ln Z_pi` is known: `Known(0.0)` for log-probabilities.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a value that is not finite.
    pub fn log_ratio_z(mut self, log_ratio_z: LogZ) -> Result<Self> {
        self.log_ratio_z = log_ratio_z.validated("difference of the two ln Z")?;
        Ok(self)
    }

    /// The divergences, in one pass over the samples.
    ///
    /// # Errors
    /// [`Error::NoOverlap`](crate::Error::NoOverlap) if zeta is to be estimated and the samples of one lie
    /// outside the support of the other; [`Error::NotANumber`] if a user's divergence gives NaN.
    pub fn estimate<D: Divergence>(&self, divergences: &[D]) -> Result<TwoSampleComparison> {
        let zeta = match self.log_ratio_z {
            LogZ::Known(value) => value,
            LogZ::Estimated => self.solve()?,
        };
        let rho = self.shares();
        let integrands: Vec<_> = divergences.iter().map(Integrand::new).collect();
        let mut moments = vec![[Moments::default(), Moments::default()]; integrands.len()];
        // The derivative of each estimate in zeta, and the strata of u itself.
        let mut slopes = vec![0.0; integrands.len()];
        let (mut overlap, mut index) = (0.0, 0);
        let mut densities = [const { Vec::new() }; 2];
        for (stratum, log_ratios) in self.log_ratios.iter().enumerate() {
            for log_ratio in log_ratios {
                let (log_u, log_v) = pooled(shifted(*log_ratio, zeta), rho);
                let (u, v) = (log_u.exp(), log_v.exp());
                densities[stratum].push(u);
                overlap += u * v;
                for ((integrand, moments), slope) in integrands.iter().zip(&mut moments).zip(&mut slopes) {
                    let contribution = integrand.at(index, log_u, log_v)?;
                    // d ln u / d zeta = -rho_pi v, d ln v / d zeta = rho_p u.
                    let target_slope = contribution.value - contribution.policy_slope;
                    *slope += contribution.policy_slope * rho[0] * u - target_slope * rho[1] * v;
                    moments[stratum].push(contribution, u, v);
                }
                index += 1;
            }
        }
        let estimated = self.log_ratio_z == LogZ::Estimated;
        // Ratios that are finite, but so large that no sample has mass under both, leave zeta as free as infinite ones.
        if estimated && overlap == 0.0 {
            return Err(DivergenceError::NoOverlap);
        }
        let divergences =
            integrands.iter().zip(&moments).zip(&slopes).map(|((integrand, moments), slope)| {
                // zeta moves by (mean(u) - 1) / (rho_pi mean(u v)).
                let a = if estimated { -slope / (rho[1] * overlap) } else { 0.0 };
                summarise(integrand, moments, (a, 0.0))
            });
        let divergences = divergences.collect();
        let variance: f64 =
            densities.iter().zip(rho).map(|(u, rho)| (rho * Estimate::mean(u).std_error).powi(2)).sum();
        let count = index as f64;
        let std_error = if estimated { variance.sqrt() * count / (rho[1] * overlap) } else { 0.0 };
        Ok(TwoSampleComparison { divergences, log_ratio_z: Estimate { value: zeta, std_error, ess: count } })
    }

    /// The shares of the target's and of the policy's samples in the pool.
    fn shares(&self) -> [f64; 2] {
        let counts = [0, 1].map(|stratum: usize| self.log_ratios[stratum].len() as f64);
        counts.map(|count| count / (counts[0] + counts[1]))
    }

    /// The zeta for which the mean of `u` is 1: Newton's method in a bracket, on a decreasing function.
    fn solve(&self) -> Result<f64> {
        let rho = self.shares();
        let [from_target, from_policy] = &self.log_ratios;
        let reaches = |log_ratios: &[f64]| log_ratios.iter().any(|log_ratio| log_ratio.is_finite());
        if !(reaches(from_target) && reaches(from_policy)) {
            return Err(DivergenceError::NoOverlap);
        }
        let finite = self.log_ratios.iter().flatten().copied().filter(|log_ratio| log_ratio.is_finite());
        let (least, most) =
            finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), l| (least.min(l), most.max(l)));
        // mean(u) - 1 and its derivative.
        let excess = |zeta: f64| {
            let (mut sum, mut slope, mut count) = (0.0, 0.0, 0.0);
            for log_ratio in self.log_ratios.iter().flatten() {
                let (log_u, log_v) = pooled(shifted(*log_ratio, zeta), rho);
                sum += log_u.exp();
                slope -= rho[1] * (log_u + log_v).exp();
                count += 1.0;
            }
            (sum / count - 1.0, slope / count)
        };
        let (mut low, mut high) = (-most - 1.0, -least + 1.0);
        let mut width = 1.0;
        while excess(low).0 < 0.0 {
            low -= width;
            width *= 2.0;
        }
        width = 1.0;
        while excess(high).0 > 0.0 {
            high += width;
            width *= 2.0;
        }
        let mut zeta = middle(low, high);
        for _ in 0..STEPS {
            let (value, slope) = excess(zeta);
            if value > 0.0 {
                low = zeta;
            } else {
                high = zeta;
            }
            let newton = zeta - value / slope;
            let next = if newton > low && newton < high { newton } else { middle(low, high) };
            let step = (next - zeta).abs();
            zeta = next;
            if step <= STEP_TOLERANCE * (1.0 + zeta.abs()) {
                break;
            }
        }
        Ok(zeta)
    }
}

/// A number between two others from which bisection is fast however wide the interval: the middle of a narrow one; of a
/// wide one 0, or the number that halves the logarithm of its width.
fn middle(low: f64, high: f64) -> f64 {
    if high - low < WIDE {
        0.5 * (low + high)
    } else if low < 0.0 && high > 0.0 {
        0.0
    } else if low >= 0.0 {
        low.max(1.0).sqrt() * high.sqrt()
    } else {
        -((-high).max(1.0).sqrt() * (-low).sqrt())
    }
}

/// `log_ratio + zeta`; finite where the ratio is.
fn shifted(log_ratio: f64, zeta: f64) -> f64 {
    if log_ratio.is_finite() { (log_ratio + zeta).clamp(f64::MIN, f64::MAX) } else { log_ratio }
}

/// `ln u` and `ln v` at the log-ratio `l = ln(pi/p)`: `u = 1 / (rho_p + rho_pi exp(l))`, `v = u exp(l)`.
fn pooled(l: f64, rho: [f64; 2]) -> (f64, f64) {
    if l <= 0.0 {
        let log_u = -(rho[0] + rho[1] * l.exp()).ln();
        (log_u, log_u + l)
    } else {
        let log_v = -(rho[1] + rho[0] * (-l).exp()).ln();
        (log_v - l, log_v)
    }
}
