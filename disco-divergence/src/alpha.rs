//! The alpha divergences, for every real order.

use disco_core::{Error, numerics::log_ratio};
use serde::{Deserialize, Serialize};

use crate::terms::{LARGE, near_one, relative_exp_m1, weighted_exp_m1};

/// The order of an alpha divergence: any finite number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Order(f64);

impl TryFrom<f64> for Order {
    type Error = Error;

    fn try_from(order: f64) -> Result<Self, Error> {
        Self::new(order)
    }
}

impl From<Order> for f64 {
    fn from(order: Order) -> Self {
        order.0
    }
}

impl Order {
    /// An order.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is not finite.
    pub fn new(order: f64) -> Result<Self, Error> {
        if order.is_finite() { Ok(Self(order)) } else { Err(Error::invalid("alpha", order, "finite")) }
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }

    /// `f(t) = (t^a - a t - (1 - a)) / (a (a - 1))`, through whichever of two equal forms is smooth here.
    ///
    /// With `R(x) = expm1(x) / x`:
    /// - `(expm1(l) - l R(a l)) / (1 - a)` has nothing special at `a = 0`,
    /// - `(exp(l) l R((a - 1) l) - expm1(l)) / a` has nothing special at `a = 1`.
    pub(crate) fn generator(self, l: f64) -> f64 {
        let a = self.0;
        if let Some(value) = near_one(a, l) {
            value
        } else if l == f64::INFINITY {
            f64::INFINITY
        } else if l == f64::NEG_INFINITY {
            if a > 0.0 { 1.0 / a } else { f64::INFINITY }
        } else if l > LARGE || a * l > LARGE {
            self.log_large(l).exp()
        } else if l < -LARGE && a >= 0.5 {
            // t^a is below exp(-LARGE / 2).
            1.0 / a
        } else if a < 0.5 {
            (l.exp_m1() - l * relative_exp_m1(a * l)) / (1.0 - a)
        } else {
            (l.exp() * l * relative_exp_m1((a - 1.0) * l) - l.exp_m1()) / a
        }
    }

    /// The order `1 - a`, whose divergence is this one with `p` and `pi` exchanged.
    pub(crate) fn dual(self) -> Self {
        Self(1.0 - self.0)
    }

    /// The logarithm of the generator for finite `l`, also where that overflows.
    pub(crate) fn log_generator(self, l: f64) -> f64 {
        if l > LARGE || self.0 * l > LARGE { self.log_large(l) } else { self.generator(l).ln() }
    }

    /// The logarithm of the generator where `l` or `a l` exceeds [`LARGE`]: the terms left out are below
    /// `exp(-LARGE / 2)` of the value.
    fn log_large(self, l: f64) -> f64 {
        let a = self.0;
        if a < 0.5 {
            // For l > 0, t; for l < 0 and so a < 0, t^a.
            if l > 0.0 { l - (1.0 - a).ln() } else { a * l - (-a).ln() - (1.0 - a).ln() }
        } else {
            // exp(l) (l R((a - 1) l) - 1) / a.
            let x = (a - 1.0) * l;
            let bracket = if x > LARGE { x - (a - 1.0).ln() } else { (l * relative_exp_m1(x) - 1.0).ln() };
            l + bracket - a.ln()
        }
    }

    /// `f'(t) = (t^(a-1) - 1) / (a - 1)`.
    pub(crate) fn derivative(self, l: f64) -> f64 {
        if self.0 == 1.0 { l } else { ((self.0 - 1.0) * l).exp_m1() / (self.0 - 1.0) }
    }

    pub(crate) fn derivative_at_infinity(self) -> f64 {
        if self.0 < 1.0 { 1.0 / (1.0 - self.0) } else { f64::INFINITY }
    }

    pub(crate) fn weighted_derivative(self, l: f64, log_weight: f64) -> f64 {
        if self.0 == 1.0 {
            log_weight.exp() * l
        } else {
            weighted_exp_m1((self.0 - 1.0) * l, log_weight) / (self.0 - 1.0)
        }
    }

    /// `(v^a u^(1-a) - v) / (a - 1)`: `v f'(v/u)`.
    pub(crate) fn perspective_derivative(self, log_u: f64, log_v: f64) -> f64 {
        let a = self.0;
        if a == 1.0 {
            log_v.exp() * log_ratio(log_v, log_u)
        } else {
            let exponent = a * log_v + (1.0 - a) * log_u;
            // Two products that overflow with opposite signs.
            let exponent =
                if exponent.is_nan() { log_v + (a - 1.0) * log_ratio(log_v, log_u) } else { exponent };
            (exponent.exp() - log_v.exp()) / (a - 1.0)
        }
    }
}
