//! Divergences to the mixture `m = (1 - w) p + w pi`.

use disco_core::{Error, numerics::log_add_exp};
use serde::{Deserialize, Serialize};

use crate::terms::{forward_kl, log_forward_kl, reverse_kl};

/// The policy's weight `w` in the mixture `(1 - w) p + w pi`: strictly between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Weight(f64);

impl TryFrom<f64> for Weight {
    type Error = Error;

    fn try_from(weight: f64) -> Result<Self, Error> {
        Self::new(weight)
    }
}

impl From<Weight> for f64 {
    fn from(weight: Weight) -> Self {
        weight.0
    }
}

impl Weight {
    /// One half.
    pub(crate) const HALF: Self = Self(0.5);

    /// A weight.
    ///
    /// # Errors
    /// [`Error::Invalid`] unless `0 < weight < 1`.
    pub fn new(weight: f64) -> Result<Self, Error> {
        if weight > 0.0 && weight < 1.0 {
            Ok(Self(weight))
        } else {
            Err(Error::invalid("weight of a skewed divergence", weight, "0 < weight < 1"))
        }
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }

    /// `ln(m / p)`.
    fn log_mixture(self, l: f64) -> f64 {
        if l.abs() < 1.0 {
            (self.0 * l.exp_m1()).ln_1p()
        } else {
            log_add_exp((-self.0).ln_1p(), self.0.ln() + l)
        }
    }

    /// `ln(pi / m)`.
    fn log_ratio(self, l: f64) -> f64 {
        if l.abs() < 1.0 {
            -((1.0 - self.0) * (-l).exp_m1()).ln_1p()
        } else {
            -log_add_exp(self.0.ln(), (-self.0).ln_1p() - l)
        }
    }

    /// The generator of KL(p||m): `m/p - 1 - ln(m/p)`, since `m/p - 1 = w (t - 1)`.
    pub(crate) fn kl_generator(self, l: f64) -> f64 {
        forward_kl(self.log_mixture(l))
    }

    pub(crate) fn log_kl_generator(self, l: f64) -> f64 {
        log_forward_kl(self.log_mixture(l))
    }

    /// The dual generator of KL(p||m), at `l = ln(p/pi)`: KL(p||m) is also the reverse KL of `p` from `m`.
    pub(crate) fn dual_kl_generator(self, l: f64) -> f64 {
        (-self.log_ratio(-l)).exp() * reverse_kl(-self.log_mixture(-l))
    }

    /// The weight of the other distribution.
    pub(crate) fn dual(self) -> Self {
        Self(1.0 - self.0)
    }

    /// `-w p/m`.
    pub(crate) fn kl_derivative(self, l: f64) -> f64 {
        -self.0 * (-self.log_mixture(l)).exp()
    }

    /// The generator of `(1 - w) KL(p||m) + w KL(pi||m)`, as the sum of the two non-negative forms: their
    /// linear parts cancel.
    pub(crate) fn js_generator(self, l: f64) -> f64 {
        let mixture = self.log_mixture(l);
        if mixture == f64::INFINITY {
            return f64::INFINITY;
        }
        (1.0 - self.0) * forward_kl(mixture) + self.0 * mixture.exp() * reverse_kl(self.log_ratio(l))
    }

    pub(crate) fn log_js_generator(self, l: f64) -> f64 {
        let mixture = self.log_mixture(l);
        log_add_exp(
            (-self.0).ln_1p() + log_forward_kl(mixture),
            self.0.ln() + mixture + reverse_kl(self.log_ratio(l)).ln(),
        )
    }

    /// `w ln(pi/m)`.
    pub(crate) fn js_derivative(self, l: f64) -> f64 {
        self.0 * self.log_ratio(l)
    }

    /// `-w ln w`.
    pub(crate) fn js_derivative_at_infinity(self) -> f64 {
        -self.0 * self.0.ln()
    }
}
