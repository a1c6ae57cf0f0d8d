//! The values of beta that can be used.

use disco_core::Error;

use crate::{Ratios, Result, ratios::NEGLIGIBLE};

/// The largest distance of `ln beta` above the largest `ln(P/q)`: `exp(-700)` is still a normal number.
pub(crate) const LARGEST_EXCESS: f64 = 700.0;

impl Ratios {
    /// Refuses a beta at which the acceptance rate underflows, and one at which proposals would be accepted that count as
    /// impossible.
    pub(crate) fn check_log_beta(&self, log_beta: f64) -> Result<f64> {
        let largest = self.largest_log_ratio();
        let (least, most) = (largest - NEGLIGIBLE, largest + LARGEST_EXCESS);
        if log_beta > most && log_beta.is_finite() {
            let allowed = format!("at most {most}, {LARGEST_EXCESS} above the largest ln(P/q)");
            return Err(Error::invalid("ln beta", log_beta, allowed).into());
        }
        if log_beta < least && log_beta.is_finite() {
            let allowed = format!("at least {least}, {NEGLIGIBLE:e} below the largest ln(P/q)");
            return Err(Error::invalid("ln beta", log_beta, allowed).into());
        }
        check_log_beta(log_beta)
    }
}

/// Refuses a `ln beta` that is not finite: beta is zero, infinite or NaN.
pub(crate) fn check_log_beta(log_beta: f64) -> Result<f64> {
    if log_beta.is_finite() {
        Ok(log_beta)
    } else {
        Err(Error::invalid("ln beta", log_beta, "finite: beta is positive and finite").into())
    }
}
