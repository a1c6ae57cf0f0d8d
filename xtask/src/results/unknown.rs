//! Serde for estimates that may be unknown, such as the mean of no sample: their value is NaN, and they are `null` in JSON.

use disco_core::Estimate;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An estimate of nothing.
const UNKNOWN: Estimate = Estimate { value: f64::NAN, std_error: f64::NAN, ess: 0.0 };

/// The estimate, unless it is unknown.
pub(crate) fn known(estimate: Estimate) -> Option<Estimate> {
    (!estimate.value.is_nan()).then_some(estimate)
}

/// Writes an estimate.
///
/// # Errors
/// For an error that is NaN or negative beside a value that is a number.
pub(super) fn serialize<S: Serializer>(estimate: &Estimate, serializer: S) -> Result<S::Ok, S::Error> {
    known(*estimate).serialize(serializer)
}

/// Reads an estimate that [`serialize`] wrote.
///
/// # Errors
/// For anything else.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Estimate, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(UNKNOWN))
}

/// The same for lists of estimates.
pub(super) mod list {
    use super::*;

    /// Writes the estimates.
    ///
    /// # Errors
    /// As [`serialize`](super::serialize).
    pub(crate) fn serialize<S: Serializer>(estimates: &[Estimate], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(estimates.iter().copied().map(known))
    }

    /// Reads estimates that [`serialize`] wrote.
    ///
    /// # Errors
    /// For anything else.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Estimate>, D::Error> {
        let found: Vec<Option<Estimate>> = Vec::deserialize(deserializer)?;
        Ok(found.into_iter().map(|estimate| estimate.unwrap_or(UNKNOWN)).collect())
    }
}
