//! Divergences from samples of any proposal.

use disco_core::{
    Error, Estimate, ImportanceWeights,
    numerics::{check_log_scores, log_ratio, log_softmax},
};

use crate::{Comparison, Divergence, DivergenceEstimate, LogZ, contribution::Integrand, moments::Moments};

/// A `ln Z` below this is rounded by less than 1e-13.
const ROUNDS_LITTLE: f64 = 1000.0;

/// Estimates `D_f(pi||p)` from samples `x_i ~ q`, for any number of divergences in one pass.
///
/// With `u = p/q` and `v = pi/q` at each sample, `p = P/Z` and `f` in the form with `f'(1) = 0`,
///
/// ```text
/// D = 1/n sum_i c_i,   c_i = u_i f(v_i / u_i) >= 0
/// ```
///
/// which is unbiased where both Z are known, for any `q` that covers `p` and `pi`, but for one step: a value above
/// `f(0) + f'(inf)`, the largest that a bounded divergence can have (1 for `tv`, ln 2 for `js`), is set to it. `q` is the policy
/// itself, the target's proposal, the target, or anything else that has probability wherever `p` or `pi` has.
/// Where P(x) = 0, `c = v f'(inf)`; where pi(x) = 0, `c = u f(0)`.
///
/// Where a Z is [`LogZ::Estimated`], it is the mean weight of the same samples. The estimate is then biased by
/// O(1/n), and its standard error is computed from the influence function
/// `c - a (u - 1) - b (v - 1)`, `b = mean(v f'(v/u))` and `a = D - b` (delta method; each only for the Z that
/// is estimated).
///
/// # Cost
/// Time O(n k) for k divergences; memory O(n).
///
/// ```
/// use disco_divergence::{Estimator, FDivergence, LogZ};
/// // Two outcomes, each drawn once from a fair coin; P = (3, 1) is unnormalised, pi = (1/4, 3/4).
/// let (target, policy, coin) = ([3f64.ln(), 0.0], [0.25f64.ln(), 0.75f64.ln()], [0.5f64.ln(); 2]);
/// let found = Estimator::new(&target, &policy, &coin)?
///     .target_log_z(LogZ::Estimated)?
///     .estimate(&[FDivergence::TotalVariation, FDivergence::KlForward])?;
/// assert!((found.target_log_z.value - 4f64.ln()).abs() < 1e-12);
/// assert!((found.divergences[0].estimate.value - 0.5).abs() < 1e-12);
/// assert!((found.divergences[1].estimate.value - 0.5 * 3f64.ln()).abs() < 1e-12);
/// # Ok::<(), disco_divergence::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Estimator<'a> {
    // Invariants: equal lengths, at least one; neither NaN nor +inf; no proposal -inf; not all of the targets,
    // nor all of the policies, -inf.
    log_target: &'a [f64],
    log_policy: &'a [f64],
    log_proposal: &'a [f64],
    target_log_z: LogZ,
    policy_log_z: LogZ,
}

impl<'a> Estimator<'a> {
    /// From `ln P(x_i)`, `ln pi(x_i)` and `ln q(x_i)` (nats) of samples drawn from `q`.
    ///
    /// By default the target's Z is estimated, and the policy's is known to be 1. Where both Z are estimated, `q`
    /// may be known up to a constant.
    ///
    /// # Errors
    /// Lengths that differ, no samples, NaN or `+inf`, a proposal with log-probability `-inf` (it cannot have
    /// drawn the sample), and no sample in the support of the target, or of the policy.
    pub fn new(log_target: &'a [f64], log_policy: &'a [f64], log_proposal: &'a [f64]) -> crate::Result<Self> {
        if log_target.is_empty() {
            return Err(Error::Empty { what: "samples to compare distributions with".into() }.into());
        }
        Error::check_length("policy log-probabilities", log_target.len(), log_policy.len())?;
        Error::check_length("proposal log-probabilities", log_target.len(), log_proposal.len())?;
        check_drawn("proposal", log_proposal)?;
        for (by, scores) in [("target", log_target), ("policy", log_policy)] {
            check_log_scores(by, scores)?;
            if scores.iter().all(|score| *score == f64::NEG_INFINITY) {
                return Err(Error::ZeroWeights { count: scores.len() }.into());
            }
        }
        let (target_log_z, policy_log_z) = (LogZ::Estimated, LogZ::Known(0.0));
        Ok(Self { log_target, log_policy, log_proposal, target_log_z, policy_log_z })
    }

    /// How the target's `ln Z` is known.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a value that is not finite.
    pub fn target_log_z(mut self, log_z: LogZ) -> crate::Result<Self> {
        self.target_log_z = log_z.validated("ln Z of the target")?;
        Ok(self)
    }

    /// How the policy's `ln Z` is known: `Known(0.0)` for log-probabilities.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a value that is not finite.
    pub fn policy_log_z(mut self, log_z: LogZ) -> crate::Result<Self> {
        self.policy_log_z = log_z.validated("ln Z of the policy")?;
        Ok(self)
    }

    /// The divergences, in one pass over the samples.
    ///
    /// # Errors
    /// [`Error::NotANumber`] if a user's divergence gives NaN; [`Error::Invalid`] if a ratio `p/q` or `pi/q` is beyond the
    /// range of `f64`, for example because a known `ln Z` is far too small.
    pub fn estimate<D: Divergence>(&self, divergences: &[D]) -> crate::Result<Comparison> {
        let (target_log_z, log_u) = self.densities("target", self.log_target, self.target_log_z)?;
        let (policy_log_z, log_v) = self.densities("policy", self.log_policy, self.policy_log_z)?;
        let integrands: Vec<_> = divergences.iter().map(Integrand::new).collect();
        let mut moments = vec![Moments::default(); integrands.len()];
        for (index, (&log_u, &log_v)) in log_u.iter().zip(&log_v).enumerate() {
            let (u, v) = (log_u.exp(), log_v.exp());
            for (integrand, moments) in integrands.iter().zip(&mut moments) {
                moments.push(integrand.at(index, log_u, log_v)?, u, v);
            }
        }
        let divergences = integrands.iter().zip(&moments).map(|(integrand, moments)| {
            let slope = moments.policy_slope();
            let a = if self.target_log_z == LogZ::Estimated { moments.mean() - slope } else { 0.0 };
            let b = if self.policy_log_z == LogZ::Estimated { slope } else { 0.0 };
            summarise(integrand, std::slice::from_ref(moments), (a, b))
        });
        let (u, v): (Vec<f64>, Vec<f64>) = (exp(&log_u), exp(&log_v));
        let outside: Vec<f64> = u.iter().zip(&v).map(|(&u, &v)| if u == 0.0 { v } else { 0.0 }).collect();
        Ok(Comparison {
            divergences: divergences.collect(),
            target_log_z,
            policy_log_z,
            target_mass: Estimate::mean(&u),
            policy_mass: Estimate::mean(&v),
            policy_mass_outside: Estimate::mean(&outside),
        })
    }

    /// `ln Z`, and `ln` of the density relative to the proposal at each sample.
    fn densities(&self, of: &str, log_scores: &[f64], log_z: LogZ) -> crate::Result<(Estimate, Vec<f64>)> {
        let weights = ImportanceWeights::new(log_scores, self.log_proposal)?;
        let (estimate, is_known) = match log_z {
            LogZ::Known(value) => (Estimate { value, std_error: 0.0, ess: weights.ess() }, true),
            LogZ::Estimated => (weights.log_z(), false),
        };
        let densities: Vec<f64> = if is_known || estimate.value.abs() < ROUNDS_LITTLE {
            weights.log_weights().iter().map(|log_weight| log_ratio(*log_weight, estimate.value)).collect()
        } else {
            // A large ln Z is rounded to its own last digits: it must not be subtracted as one number.
            let log_count = (log_scores.len() as f64).ln();
            log_softmax(weights.log_weights()).iter().map(|log_share| log_share + log_count).collect()
        };
        match densities.iter().position(|density| density.exp() == f64::INFINITY) {
            None => Ok((estimate, densities)),
            Some(index) => {
                let field = format!("ln of {of} / proposal at sample {index}");
                Err(Error::invalid(field, densities[index], "below 709, where exp overflows").into())
            }
        }
    }
}

fn exp(logs: &[f64]) -> Vec<f64> {
    logs.iter().map(|log| log.exp()).collect()
}

/// Checks that the log-scores of samples are finite under the distribution that drew them.
pub(crate) fn check_drawn(by: &'static str, log_scores: &[f64]) -> Result<(), Error> {
    check_log_scores(by, log_scores)?;
    match log_scores.iter().position(|score| *score == f64::NEG_INFINITY) {
        None => Ok(()),
        Some(index) => {
            let field = format!("log-score of sample {index} under the {by} that drew it");
            Err(Error::invalid(field, f64::NEG_INFINITY, "finite"))
        }
    }
}

/// One divergence from the moments of its strata; `a` and `b` weigh `u` and `v` in the influence function.
pub(crate) fn summarise<D: Divergence + ?Sized>(
    integrand: &Integrand<'_, D>,
    strata: &[Moments],
    (a, b): (f64, f64),
) -> DivergenceEstimate {
    let name = integrand.name();
    let total: f64 = strata.iter().map(Moments::count).sum();
    let share = |moments: &Moments| moments.count() / total;
    let value: f64 = strata.iter().map(|moments| share(moments) * moments.mean()).sum();
    if value == f64::INFINITY {
        let estimate = Estimate { value, std_error: 0.0, ess: 1.0 };
        return DivergenceEstimate { name, estimate, largest_share: 1.0 };
    }
    let variance: f64 =
        strata.iter().map(|moments| share(moments).powi(2) * moments.variance_of_mean(a, b)).sum();
    let largest = strata.iter().map(Moments::largest).fold(0.0, f64::max);
    let mean_square: f64 = strata.iter().map(|moments| share(moments) * moments.mean_square()).sum();
    // All contributions are zero: every sample agrees, and no sample dominates.
    let (ess, largest_share) = if value > 0.0 {
        // Of contributions that are subnormal or near overflow, the products are rough.
        let largest_share = (largest / (total * value)).clamp(1.0 / total, 1.0);
        ((total * (value / mean_square * value)).clamp(1.0, total), largest_share)
    } else {
        (total, 1.0 / total)
    };
    // Known Z leave the means of u and v free, so that the noise of few samples can exceed the bound.
    let value = value.min(integrand.supremum());
    DivergenceEstimate { name, estimate: Estimate { value, std_error: variance.sqrt(), ess }, largest_share }
}
