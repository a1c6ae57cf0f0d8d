//! The contribution of one sample to a divergence.

use disco_core::Error;

use crate::Divergence;

/// The terms of one sample with densities `u = p/q` and `v = pi/q`: `c = u f(v/u)` and its derivative
/// `b = v f'(v/u)` in `ln v`. Both are homogeneous of degree one, so that `c - b` is the derivative in
/// `ln u`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contribution {
    pub(crate) value: f64,
    pub(crate) policy_slope: f64,
}

/// A divergence with its values that do not depend on the sample.
#[derive(Debug)]
pub(crate) struct Integrand<'a, D: ?Sized> {
    divergence: &'a D,
    derivative_at_one: f64,
    /// `f'(inf) - f'(1)`.
    outside: f64,
    /// `f(0)`.
    at_zero: f64,
}

impl<'a, D: Divergence + ?Sized> Integrand<'a, D> {
    pub(crate) fn new(divergence: &'a D) -> Self {
        let derivative_at_one = divergence.derivative(0.0);
        Self {
            divergence,
            derivative_at_one,
            outside: divergence.derivative_at_infinity() - derivative_at_one,
            at_zero: divergence.generator(f64::NEG_INFINITY),
        }
    }

    pub(crate) fn name(&self) -> String {
        self.divergence.name().into_owned()
    }

    /// The contribution of sample `index` with `ln u` and `ln v`.
    ///
    /// `u = 0` gives `v f'(inf)`, `v = 0` gives `u f(0)`: the limits.
    pub(crate) fn at(&self, index: usize, log_u: f64, log_v: f64) -> Result<Contribution, Error> {
        let contribution = if log_v == f64::NEG_INFINITY {
            Contribution { value: scaled(self.at_zero, log_u), policy_slope: 0.0 }
        } else if log_u == f64::NEG_INFINITY {
            let value = scaled(self.outside, log_v);
            Contribution { value, policy_slope: value }
        } else {
            let l = log_v - log_u;
            let slope = self.divergence.weighted_derivative(l, log_v);
            Contribution {
                value: self.divergence.weighted_generator(l, log_u),
                policy_slope: slope - log_v.exp() * self.derivative_at_one,
            }
        };
        if contribution.value.is_nan() {
            let by = format!("generator of `{}`", self.divergence.name());
            return Err(Error::NotANumber { by, index, value: f64::NAN });
        }
        Ok(contribution)
    }
}

/// `exp(log_weight) * value`, infinite for an infinite value however small the weight; 0 for a weight of 0.
fn scaled(value: f64, log_weight: f64) -> f64 {
    if log_weight == f64::NEG_INFINITY {
        0.0
    } else if value == f64::INFINITY {
        value
    } else {
        log_weight.exp() * value
    }
}
