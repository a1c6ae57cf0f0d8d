//! A number estimated from samples, with how far it can be trusted.

use serde::{Deserialize, Serialize};

/// Sums of squares from here on have all their digits: no square that underflowed would have counted.
const SAFE_SQUARES: f64 = 1e-280;

/// An estimate with its standard error.
///
/// In JSON, an infinite error or effective sample size is `null`, an infinite value `"inf"` or `"-inf"`
/// ([`infinite`](crate::infinite)). NaN and negative errors are refused, both ways.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Estimate {
    /// The estimate.
    #[serde(with = "crate::infinite")]
    pub value: f64,
    /// Its standard error: the square root of its estimated variance.
    #[serde(with = "crate::infinite::size")]
    pub std_error: f64,
    /// How many independent, equally weighted samples would carry the same information.
    #[serde(with = "crate::infinite::size")]
    pub ess: f64,
}

impl Estimate {
    /// The mean of `n` equally weighted values. The standard error is `s / sqrt(n)`, with `s` the sample standard deviation
    /// (divisor `n - 1`); it is infinite for a single value, and where the mean is.
    ///
    /// The mean is NaN for an empty slice, a value that is NaN, and infinities of both signs, so callers check first.
    pub fn mean(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let sum = values.iter().sum::<f64>();
        // Divided first where finite values have a sum beyond `f64`.
        let mean = if sum.is_finite() { sum / n } else { values.iter().map(|value| value / n).sum() };
        let std_error = if values.len() < 2 || mean.is_infinite() {
            f64::INFINITY
        } else {
            error_of_mean(|| values.iter().map(|value| value - mean), n)
        };
        Self { value: mean, std_error, ess: n }
    }

    /// The two-sided interval `value -+ z * std_error`; `z = 1.96` covers 95% where the estimate is normal. All numbers where
    /// the error is infinite.
    pub fn interval(&self, z: f64) -> (f64, f64) {
        if self.std_error == f64::INFINITY {
            return (f64::NEG_INFINITY, f64::INFINITY);
        }
        (self.value - z * self.std_error, self.value + z * self.std_error)
    }
}

/// `sqrt(sum d^2 / ((n - 1) n))` of the deviations from a mean, also where their squares over- or underflow.
fn error_of_mean<I: Iterator<Item = f64>>(deviations: impl Fn() -> I, n: f64) -> f64 {
    let squares: f64 = deviations().map(|deviation| deviation.powi(2)).sum();
    if squares.is_nan() || has_all_digits(squares) {
        (squares / (n - 1.0) / n).sqrt()
    } else {
        norm(deviations) / ((n - 1.0) * n).sqrt()
    }
}

/// Whether a sum of squares has neither overflowed nor lost terms that underflowed.
pub(crate) fn has_all_digits(squares: f64) -> bool {
    (SAFE_SQUARES..=f64::MAX).contains(&squares)
}

/// `sqrt(sum t^2)` in units of the largest term, so that no square over- or underflows.
pub(crate) fn norm<I: Iterator<Item = f64>>(terms: impl Fn() -> I) -> f64 {
    let unit = terms().map(f64::abs).fold(0.0, f64::max);
    if unit == 0.0 || unit == f64::INFINITY {
        return unit;
    }
    unit * terms().map(|term| (term / unit).powi(2)).sum::<f64>().sqrt()
}
