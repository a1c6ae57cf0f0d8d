//! Importance weights `w = P / q`, kept as logarithms.

use crate::{
    Error, Estimate, Result,
    numerics::{check_log_scores, log_sum_exp},
};

/// The importance weights of a set of samples drawn from `q`: `w_i = P(x_i) / q(x_i)`.
///
/// Weights may be unnormalised: `P` need not sum to 1, and the mean weight estimates its `Z`.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportanceWeights {
    // Invariant: neither NaN nor +inf, not all -inf.
    log_weights: Vec<f64>,
    // Invariant: normalised[i] = exp(log_weights[i] - log sum exp), so it sums to 1.
    normalised: Vec<f64>,
    log_sum: f64,
}

impl ImportanceWeights {
    /// Weights from their logarithms.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::NotANumber`] for NaN or `+inf`, [`Error::ZeroWeights`].
    pub fn from_log(log_weights: Vec<f64>) -> Result<Self> {
        if log_weights.is_empty() {
            return Err(Error::Empty { what: "importance weights".into() });
        }
        check_log_scores("importance weight", &log_weights)?;
        let log_sum = log_sum_exp(&log_weights);
        if log_sum == f64::NEG_INFINITY {
            return Err(Error::ZeroWeights { count: log_weights.len() });
        }
        let normalised = log_weights.iter().map(|log_weight| (log_weight - log_sum).exp()).collect();
        Ok(Self { log_weights, normalised, log_sum })
    }

    /// Weights from the log-scores of target and proposal.
    ///
    /// # Errors
    /// As [`from_log`](Self::from_log), and [`Error::Length`].
    pub fn new(log_target: &[f64], log_proposal: &[f64]) -> Result<Self> {
        Error::check_length("proposal log-probabilities", log_target.len(), log_proposal.len())?;
        Self::from_log(
            log_target.iter().zip(log_proposal).map(|(target, proposal)| target - proposal).collect(),
        )
    }

    /// The logarithms of the weights.
    pub fn log_weights(&self) -> &[f64] {
        &self.log_weights
    }

    /// The weights divided by their sum.
    pub fn normalised(&self) -> &[f64] {
        &self.normalised
    }

    /// The effective sample size `(sum w)^2 / sum w^2`, between 1 and n.
    pub fn ess(&self) -> f64 {
        1.0 / self.normalised.iter().map(|weight| weight * weight).sum::<f64>()
    }

    /// The largest weight's share of the sum, between 1/n and 1.
    pub fn largest_share(&self) -> f64 {
        self.normalised.iter().copied().fold(0.0, f64::max)
    }

    /// `ln Z`, with Z the mean weight; error by the delta method, `sd(w) / (sqrt(n) mean(w))`.
    pub fn log_z(&self) -> Estimate {
        let n = self.log_weights.len() as f64;
        // With m = mean(w): sum (w/m - 1)^2 = n^2 sum normalised^2 - n.
        let squares = (n * n / self.ess() - n).max(0.0);
        let std_error = if n > 1.0 { (squares / (n - 1.0) / n).sqrt() } else { f64::INFINITY };
        Estimate { value: self.log_sum - n.ln(), std_error, ess: self.ess() }
    }

    /// The self-normalised mean `sum w v / sum w`; error by the delta method, `sqrt(sum W^2 (v - mean)^2)`
    /// with `W` the normalised weights.
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::NotANumber`] for a value that is not finite and has weight.
    pub fn mean(&self, values: &[f64]) -> Result<Estimate> {
        Error::check_length("values to average", self.normalised.len(), values.len())?;
        let mut mean = 0.0;
        for (index, (&weight, &value)) in self.normalised.iter().zip(values).enumerate() {
            if weight > 0.0 {
                if !value.is_finite() {
                    return Err(Error::NotANumber { by: "value to average".into(), index, value });
                }
                mean += weight * value;
            }
        }
        let weighted = self.normalised.iter().zip(values).filter(|(weight, _)| **weight > 0.0);
        let variance: f64 = weighted.map(|(weight, value)| (weight * (value - mean)).powi(2)).sum();
        Ok(Estimate { value: mean, std_error: variance.sqrt(), ess: self.ess() })
    }
}
