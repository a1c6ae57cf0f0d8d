//! Known bounds of the values of a feature.

use disco_core::Error as CoreError;

use crate::{Error, Result};

/// The interval in which the values of a feature are known to lie; its ends may be infinite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Range {
    // Invariant: low <= high, neither is NaN.
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Range {
    pub(crate) const UNKNOWN: Self = Self { low: f64::NEG_INFINITY, high: f64::INFINITY };
    pub(crate) const BINARY: Self = Self { low: 0.0, high: 1.0 };

    pub(crate) fn new(name: &str, low: f64, high: f64) -> Result<Self> {
        if low <= high && low < f64::INFINITY && high > f64::NEG_INFINITY {
            return Ok(Self { low, high });
        }
        let value = format!("{low} to {high}");
        Err(CoreError::invalid(format!("range of `{name}`"), value, "two numbers, the lower one first")
            .into())
    }

    /// A value is in the range.
    pub(crate) fn check(self, name: &str, value: f64) -> Result<()> {
        if value >= self.low && value <= self.high {
            return Ok(());
        }
        Err(Error::OutOfRange { feature: name.into(), value, low: self.low, high: self.high })
    }

    /// The range of `value - shift`.
    pub(crate) fn less(self, shift: f64) -> Self {
        Self { low: self.low - shift, high: self.high - shift }
    }

    /// The range of a value that may be 0 instead.
    pub(crate) fn or_zero(self) -> Self {
        Self { low: self.low.min(0.0), high: self.high.max(0.0) }
    }

    /// The largest `factor * value`; `None` if it is not known.
    pub(crate) fn most(self, factor: f64) -> Option<f64> {
        if factor == 0.0 {
            return Some(0.0);
        }
        let most = if factor > 0.0 { factor * self.high } else { factor * self.low };
        most.is_finite().then_some(most)
    }
}
