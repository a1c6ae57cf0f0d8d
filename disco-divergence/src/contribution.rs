//! The contribution of one sample to a divergence.

use disco_core::Error;

use crate::{
    Divergence,
    terms::{LARGE, of_mass},
};

/// A logarithm below this is known to no better than 1e-7, and so is the exponent of a value that is finite and above zero
/// although both densities are so small.
const LOG_UNKNOWN: f64 = -1e9;

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

    /// The divergence's largest value.
    pub(crate) fn supremum(&self) -> f64 {
        self.divergence.supremum()
    }

    /// The contribution of sample `index` with `ln u` and `ln v`.
    ///
    /// `u = 0` gives `v f'(inf)`, `v = 0` gives `u f(0)`: the limits.
    pub(crate) fn at(&self, index: usize, log_u: f64, log_v: f64) -> Result<Contribution, Error> {
        let mut contribution = if log_v == f64::NEG_INFINITY {
            Contribution { value: of_mass(self.at_zero, log_u), policy_slope: 0.0 }
        } else if log_u == f64::NEG_INFINITY {
            let value = of_mass(self.outside, log_v);
            Contribution { value, policy_slope: value }
        } else {
            let slope = self.divergence.perspective_derivative(log_u, log_v);
            Contribution {
                value: self.divergence.perspective(log_u, log_v),
                policy_slope: slope - log_v.exp() * self.derivative_at_one,
            }
        };
        if contribution.value.is_nan() {
            let by = format!("generator of `{}`", self.divergence.name());
            return Err(Error::NotANumber { by, index, value: f64::NAN });
        }
        // u f(v/u) lies on or below u f(0) + v f'(inf), since f is convex: rounding must not lift it far above.
        if log_u.min(log_v) < -LARGE {
            let most = of_mass(self.at_zero, log_u) + of_mass(self.outside, log_v);
            contribution.value = contribution.value.min(most);
        }
        self.check_digits(index, log_u, log_v, contribution.value)?;
        Ok(contribution)
    }

    /// Refuses a contribution of a sample without mass whose size depends on digits that its log-scores do not have.
    fn check_digits(&self, index: usize, log_u: f64, log_v: f64, value: f64) -> Result<(), Error> {
        let larger = log_u.max(log_v);
        if value == 0.0 || value.is_infinite() || larger > LOG_UNKNOWN {
            return Ok(());
        }
        let field = format!("log-score of sample {index}, relative to the proposal and ln Z,");
        let allowed = format!(
            "-inf, or above -1e9: `{}` of so small probabilities depends on digits that f64 does not have",
            self.divergence.name()
        );
        Err(Error::invalid(field, larger, allowed))
    }
}
