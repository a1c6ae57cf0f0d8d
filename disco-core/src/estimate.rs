//! A number estimated from samples, with how far it can be trusted.

use serde::{Deserialize, Serialize};

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
    /// (divisor `n - 1`); it is infinite for a single value.
    ///
    /// An empty slice has a NaN mean, so callers check for emptiness first.
    pub fn mean(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let std_error = if values.len() > 1 { (squares / (n - 1.0) / n).sqrt() } else { f64::INFINITY };
        Self { value: mean, std_error, ess: n }
    }

    /// The two-sided interval `value -+ z * std_error`; `z = 1.96` covers 95% where the estimate is normal.
    pub fn interval(&self, z: f64) -> (f64, f64) {
        (self.value - z * self.std_error, self.value + z * self.std_error)
    }
}
