//! Importance weights `w = P / q`, kept as logarithms.

use crate::{
    Error, Estimate, Result,
    estimate::{has_all_digits, norm},
    numerics::{check_log_scores, log_ratio},
    sums::{KEPT, WeightedSums, sum_of, sum_of_pairs, weighted_sums},
};

/// The importance weights of a set of samples drawn from `q`: `w_i = P(x_i) / q(x_i)`.
///
/// Weights may be unnormalised: `P` need not sum to 1, and the mean weight estimates its `Z`. A sample
/// outside the support of `P` has weight zero and counts as a sample; a sample with `q(x) = 0` cannot have been drawn
/// and is an error.
///
/// # Which estimate
/// | quantity | method | needs |
/// |---|---|---|
/// | `ln Z` | [`log_z`](Self::log_z) | |
/// | `E_p[v]`, any `P` | [`mean`](Self::mean), self-normalised: bias of order 1/n | |
/// | `E_P[v] = sum_x P(x) v(x)` | [`plain_mean`](Self::plain_mean), unbiased | `P` normalised, if a mean is wanted |
///
/// Errors are by the delta method; [`bootstrap_mean`](Self::bootstrap_mean) and
/// [`bootstrap_log_z`](Self::bootstrap_log_z) resample instead. Their reliability is shown by
/// [`ess`](Self::ess), [`largest_share`](Self::largest_share) and [`pareto_tail`](Self::pareto_tail).
///
/// ```
/// use disco_core::{Discrete, Distribution, ImportanceWeights, Streams, statrs::distribution::Poisson};
/// let (target, proposal) = (Discrete(Poisson::new(11.0)?), Discrete(Poisson::new(10.0)?));
/// let samples = proposal.sample(&(), &Streams::new(7, 20_000))?;
/// let values: Vec<&u64> = samples.iter().map(|sample| &sample.value).collect();
/// let log_q: Vec<f64> = samples.iter().map(|sample| sample.log_prob).collect();
/// let weights = ImportanceWeights::new(&target.log_probs(&(), &values)?, &log_q)?;
///
/// let mean = weights.mean(&values.iter().map(|x| **x as f64).collect::<Vec<_>>())?;
/// assert!((mean.value - 11.0).abs() < 5.0 * mean.std_error);
/// assert!(weights.log_z().value.abs() < 5.0 * weights.log_z().std_error);
/// assert!(weights.pareto_tail().is_some_and(|tail| tail.is_reliable()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ImportanceWeights {
    // Invariant: neither NaN nor +inf, not all -inf.
    log_weights: Vec<f64>,
    // Invariant: normalised[i] = exp(log_weights[i] - log_sum), so it sums to 1.
    normalised: Vec<f64>,
    log_sum: f64,
    ess: f64,
}

impl ImportanceWeights {
    /// Weights from their logarithms.
    ///
    /// # Errors
    /// [`Error::Empty`]; [`Error::NotANumber`] for NaN or `+inf`; [`Error::ZeroWeights`] if all are `-inf`.
    pub fn from_log(log_weights: Vec<f64>) -> Result<Self> {
        if log_weights.is_empty() {
            return Err(Error::Empty { what: "importance weights".into() });
        }
        check_log_scores("importance weight", &log_weights)?;
        let largest = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if largest == f64::NEG_INFINITY {
            return Err(Error::ZeroWeights { count: log_weights.len() });
        }
        let mut normalised: Vec<f64> =
            log_weights.iter().map(|log_weight| (log_weight - largest).exp()).collect();
        let sum = sum_of(&normalised, |weight| weight);
        normalised.iter_mut().for_each(|weight| *weight /= sum);
        let log_sum = largest + sum.ln();
        let ess = 1.0 / sum_of(&normalised, |weight| weight * weight);
        Ok(Self { log_weights, normalised, log_sum, ess })
    }

    /// Weights from the log-scores `ln P(x_i)` of the target and the log-probabilities `ln q(x_i)` of the proposal (nats), one
    /// of each per sample.
    ///
    /// # Errors
    /// As [`from_log`](Self::from_log), also for a sample with `q(x_i) = 0`; [`Error::Length`].
    pub fn new(log_target: &[f64], log_proposal: &[f64]) -> Result<Self> {
        Error::check_length("proposal log-probabilities", log_target.len(), log_proposal.len())?;
        check_log_scores("target", log_target)?;
        check_log_scores("proposal", log_proposal)?;
        Self::from_log(
            log_target
                .iter()
                .zip(log_proposal)
                .map(|(target, proposal)| log_ratio(*target, *proposal))
                .collect(),
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
        self.ess
    }

    /// The largest weight's share of the sum, between 1/n and 1.
    pub fn largest_share(&self) -> f64 {
        self.normalised.iter().copied().fold(0.0, f64::max)
    }

    /// `ln Z`, with Z the mean weight; error by the delta method, `sd(w) / (sqrt(n) mean(w))`.
    pub fn log_z(&self) -> Estimate {
        log_z_estimate(self.log_weights.len(), self.log_sum, self.ess)
    }

    /// The self-normalised mean `sum w v / sum w`; error by the delta method,
    /// `sqrt(n/(n-1) sum W^2 (v - mean)^2)` with `W` the normalised weights; infinite for one sample.
    ///
    /// # Performance
    /// One pass over weights and values, at the speed of memory; a second one where the first values are so far from
    /// the mean that digits of the error would be lost, as where the first 256 samples have no weight and the mean is
    /// far from zero.
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::NotANumber`] for a value that is not finite in a sample of weight above zero;
    /// [`Error::Invalid`] where the mean is beyond the range of `f64`.
    pub fn mean(&self, values: &[f64]) -> Result<Estimate> {
        Error::check_length("values to average", self.normalised.len(), values.len())?;
        let (origin, sums) = self.sums_of(values);
        let mean = origin + sums.first;
        if !mean.is_finite() {
            return self.mean_where_weighted(values);
        }
        let estimate = |mean, squares| Ok(self.mean_with_error(values, mean, squares));
        let (squares, terms) = sums.squares_about(sums.first, 1.0 / self.ess);
        if squares >= KEPT * terms {
            return estimate(mean, squares);
        }
        let sums = weighted_sums(&self.normalised, values, mean);
        estimate(mean + sums.first, sums.squares_about(sums.first, 1.0 / self.ess).0)
    }

    /// A mean with `squares = sum W^2 (v - mean)^2`, where these have all their digits.
    fn mean_with_error(&self, values: &[f64], mean: f64, squares: f64) -> Estimate {
        let estimate = mean_estimate(self.normalised.len(), mean, squares, self.ess);
        if self.normalised.len() == 1 || has_all_digits(squares) {
            return estimate;
        }
        let n = self.normalised.len() as f64;
        let distances = || {
            let pairs = self.normalised.iter().zip(values).filter(|(weight, _)| **weight > 0.0);
            pairs.map(|(weight, value)| weight * (value - mean))
        };
        Estimate { std_error: norm(distances) * (n / (n - 1.0)).sqrt(), ..estimate }
    }

    /// Weighted sums about an origin: the mean of the first values, so that a mean far from zero costs no digits.
    fn sums_of(&self, values: &[f64]) -> (f64, WeightedSums) {
        let first = values.len().min(256);
        let weight: f64 = self.normalised[..first].iter().sum();
        let weighted =
            sum_of_pairs(&self.normalised[..first], &values[..first], |weight, value| weight * value);
        let origin = if weight > 0.0 { weighted / weight } else { 0.0 };
        (origin, weighted_sums(&self.normalised, values, origin))
    }

    /// [`mean`](Self::mean) where some value is not finite: an error, unless its weight is zero.
    fn mean_where_weighted(&self, values: &[f64]) -> Result<Estimate> {
        let mut counted = values.to_vec();
        for (index, (weight, value)) in self.normalised.iter().zip(&mut counted).enumerate() {
            if !value.is_finite() {
                if *weight > 0.0 {
                    let by = "value to average".into();
                    return Err(Error::NotANumber { by, index, value: *value });
                }
                *value = 0.0;
            }
        }
        let mean = sum_of_pairs(&self.normalised, &counted, |weight, value| weight * value);
        if !mean.is_finite() {
            return Err(Error::invalid("mean of the values", mean, "finite: the values are too large"));
        }
        let squares =
            sum_of_pairs(&self.normalised, &counted, |weight, value| (weight * (value - mean)).powi(2));
        Ok(self.mean_with_error(&counted, mean, squares))
    }

    /// The plain importance-sampling mean `(1/n) sum w v`, unbiased for `sum_x P(x) v(x)`: for the mean of
    /// `v` if `P` is normalised; error `sd(w v) / sqrt(n)`.
    ///
    /// # Performance
    /// One pass, as [`mean`](Self::mean); two more where all `w v` are nearly equal.
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::NotANumber`] for a value that is not finite in a sample of weight above zero;
    /// [`Error::Invalid`] where the mean is beyond the range of `f64`.
    pub fn plain_mean(&self, values: &[f64]) -> Result<Estimate> {
        Error::check_length("values to average", self.normalised.len(), values.len())?;
        // (1/n) sum w v = Z mean_W(v), with Z the mean weight.
        let n = self.normalised.len() as f64;
        let z = (self.log_sum - n.ln()).exp();
        // sum (W v - mean/n)^2 = sum (W v)^2 - mean^2/n: the variance of the normalised terms.
        let (origin, sums) = self.sums_of(values);
        let mean = origin + sums.first;
        let (products, terms) = sums.squares_about(-origin, 1.0 / self.ess);
        let of_mean = mean * mean / n;
        let (mean, squares) = if products - of_mean >= KEPT * (terms + of_mean) {
            (mean, products - of_mean)
        } else {
            let mean = self.mean(values)?.value;
            let squares = sum_of_pairs(&self.normalised, values, |weight, value| {
                let term = if weight > 0.0 { weight * value } else { 0.0 } - mean / n;
                term * term
            });
            (mean, squares)
        };
        let std_error = if n == 1.0 {
            f64::INFINITY
        } else if has_all_digits(squares) {
            z * (squares * n / (n - 1.0)).sqrt()
        } else {
            let terms = || {
                let pairs = self.normalised.iter().zip(values);
                pairs.map(|(weight, value)| if *weight > 0.0 { weight * value } else { 0.0 } - mean / n)
            };
            z * norm(terms) * (n / (n - 1.0)).sqrt()
        };
        // A Z that underflows times squares that overflow.
        let std_error = if std_error.is_nan() { f64::INFINITY } else { std_error };
        let value = z * mean;
        if !value.is_finite() {
            return Err(Error::invalid("plain mean", value, "finite: normalise the target"));
        }
        Ok(Estimate { value, std_error, ess: self.ess })
    }
}

/// `ln Z` from the number of samples, the log of the sum of their weights, and their ESS.
pub(crate) fn log_z_estimate(count: usize, log_sum: f64, ess: f64) -> Estimate {
    let n = count as f64;
    // With m = mean(w): sum (w/m - 1)^2 = n^2 sum normalised^2 - n.
    let squares = (n * n / ess - n).max(0.0);
    let std_error = if count > 1 { (squares / (n - 1.0) / n).sqrt() } else { f64::INFINITY };
    Estimate { value: log_sum - n.ln(), std_error, ess }
}

/// A self-normalised mean, with `squares = sum W^2 (v - mean)^2`.
pub(crate) fn mean_estimate(count: usize, mean: f64, squares: f64, ess: f64) -> Estimate {
    let n = count as f64;
    // Rounding can leave a sum of squares just below zero; a sum that is not finite tells nothing.
    let known = count > 1 && squares.is_finite();
    let std_error = if known { (squares.max(0.0) * n / (n - 1.0)).sqrt() } else { f64::INFINITY };
    Estimate { value: mean, std_error, ess }
}
