//! Importance weights and feature values, from which the dual is computed.

use disco_core::{Error, numerics::check_log_scores};
use ndarray::Array2;

use crate::Result;

/// The evaluated samples (points) of one context: importance weights `ln a(x|c)/q(x|c)` and feature values.
///
/// A point that a pointwise constraint forbids has log-weight `-inf`; it counts for `Z`, and its feature
/// values do not matter.
///
/// # Shapes
/// - log-weights: `[points]`
/// - values: `[points, features]`
#[derive(Clone, Debug)]
pub struct EvaluatedSamples {
    // Invariant: as many as rows of values, at least one, neither NaN nor +inf.
    pub(crate) log_weights: Vec<f64>,
    // Invariant: finite.
    pub(crate) values: Array2<f64>,
    pub(crate) exact: bool,
    pub(crate) left_out: usize,
}

impl EvaluatedSamples {
    /// Samples drawn from a proposal: `Z = mean(a/q exp(lambda . phi))`.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::Length`], and [`Error::NotANumber`] for a log-weight that is NaN or `+inf`
    /// or a value that is not finite.
    pub fn sampled(log_weights: Vec<f64>, values: Array2<f64>) -> Result<Self> {
        Self::new(log_weights, values, false)
    }

    /// All points of a finite space, with `ln a(x|c)` as log-weights: `Z = sum(a exp(lambda . phi))`,
    /// exactly.
    ///
    /// # Errors
    /// As [`sampled`](Self::sampled).
    pub fn exact(log_weights: Vec<f64>, values: Array2<f64>) -> Result<Self> {
        Self::new(log_weights, values, true)
    }

    fn new(log_weights: Vec<f64>, values: Array2<f64>, exact: bool) -> Result<Self> {
        if log_weights.is_empty() {
            return Err(Error::Empty { what: "points of a context".into() }.into());
        }
        Error::check_length("rows of feature values", log_weights.len(), values.nrows())?;
        check_log_scores("importance weight", &log_weights)?;
        for (index, row) in values.rows().into_iter().enumerate() {
            if let Some((column, value)) = row.iter().enumerate().find(|(_, value)| !value.is_finite()) {
                return Err(
                    Error::NotANumber { by: format!("feature {column}"), index, value: *value }.into()
                );
            }
        }
        Ok(Self { log_weights, values, exact, left_out: 0 })
    }

    /// Adds `count` samples that could not be evaluated: they count for `Z`, with weight zero.
    #[must_use]
    pub fn with_left_out(self, count: usize) -> Self {
        Self { left_out: count, ..self }
    }

    /// The number of points.
    #[allow(clippy::len_without_is_empty)] // It is never empty.
    pub fn len(&self) -> usize {
        self.log_weights.len()
    }

    /// Whether any point has positive weight.
    pub fn has_support(&self) -> bool {
        self.log_weights.iter().any(|weight| *weight > f64::NEG_INFINITY)
    }
}
