//! Divergences by exact sums over an enumerated space.

use disco_core::{
    Error,
    numerics::{check_log_scores, log_softmax},
};

use crate::{Divergence, Result, contribution::Integrand};

/// `D_f(pi||p)` exactly, from the log-scores (nats) of target and policy at every outcome.
///
/// Both are normalised first. An outcome to which only the policy gives probability adds `pi f'(inf)`, one
/// to which only the target does adds `p f(0)`; the value may be `+inf`. Cost: time and memory O(n).
///
/// ```
/// use disco_divergence::{FDivergence, exact};
/// let (coin, biased) = ([0.0, 0.0], [1f64.ln(), 3f64.ln()]);
/// assert!((exact(&FDivergence::TotalVariation, &coin, &biased)? - 0.25).abs() < 1e-15);
/// # Ok::<(), disco_divergence::Error>(())
/// ```
///
/// # Errors
/// No outcomes, lengths that differ, NaN or `+inf`, and a distribution without any probability.
pub fn exact<D: Divergence + ?Sized>(divergence: &D, log_target: &[f64], log_policy: &[f64]) -> Result<f64> {
    Error::check_length("policy log-scores", log_target.len(), log_policy.len())?;
    let (target, policy) = (normalised("target", log_target)?, normalised("policy", log_policy)?);
    let integrand = Integrand::new(divergence);
    let mut sum = 0.0;
    for (index, (target, policy)) in target.iter().zip(&policy).enumerate() {
        sum += integrand.at(index, *target, *policy)?.value;
    }
    // Rounding can leave the sum of a bounded divergence above its bound.
    Ok(sum.min(integrand.supremum()))
}

/// The log-probabilities of unnormalised log-scores.
pub(crate) fn normalised(by: &'static str, log_scores: &[f64]) -> Result<Vec<f64>, Error> {
    if log_scores.is_empty() {
        return Err(Error::Empty { what: by.into() });
    }
    check_log_scores(by, log_scores)?;
    if log_scores.iter().all(|score| *score == f64::NEG_INFINITY) {
        return Err(Error::ZeroWeights { count: log_scores.len() });
    }
    Ok(log_softmax(log_scores))
}
