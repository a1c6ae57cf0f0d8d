//! Known bounds of the ratios of target and proposal.

use disco_core::Error as CoreError;

use crate::{Error, Result};

/// The rounding error by which a ratio may exceed a known bound (nats, relative to 1 + |bound|).
const ROUNDING: f64 = 1e-9;

/// Refuses a ratio above its known bound.
pub(crate) fn check_bound(context: usize, proposal: u64, log_ratio: f64, log_bound: f64) -> Result<()> {
    if log_ratio > log_bound + ROUNDING * (1.0 + log_bound.abs()) {
        return Err(Error::BoundExceeded { context, proposal, log_ratio, log_bound });
    }
    Ok(())
}

/// Refuses a bound that is not finite.
pub(crate) fn check_log_bound(log_bound: f64) -> Result<()> {
    if log_bound.is_finite() {
        Ok(())
    } else {
        Err(CoreError::invalid("known bound of ln(P/q)", log_bound, "finite").into())
    }
}
