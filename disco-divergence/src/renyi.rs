//! Renyi divergences, from alpha divergences.

use disco_core::{
    Error, Estimate,
    numerics::{log_ratio, log_sum_exp},
};

use crate::{FDivergence, Result, exact, exact::normalised};

/// The rounding of a largest `D_a`, relative to it.
const ROUNDING: f64 = 1e-14;

/// The Renyi divergence `R_a(pi||p) = ln E_p[(pi/p)^a] / (a - 1)` of order `a > 0` (nats).
///
/// It is no f-divergence but a function of one: `E_p[(pi/p)^a] = 1 + a (a - 1) D_a`, with `D_a` the alpha
/// divergence, so `R_a = ln(1 + a (a - 1) D_a) / (a - 1)` (van Erven and Harremoes 2014). Order 1 is
/// KL(pi||p), which the formula meets smoothly.
///
/// ```
/// use disco_divergence::{Renyi, exact};
/// let (p, pi) = ([0.5f64.ln(); 2], [0.25f64.ln(), 0.75f64.ln()]);
/// let renyi = Renyi::new(2.0)?;
/// let expected = (2.0 * (0.0625 + 0.5625f64)).ln();
/// assert!((renyi.exact(&p, &pi)? - expected).abs() < 1e-15);
/// // The same from a value of D_a. From an estimate of it: `from_estimate`.
/// assert!((renyi.from_alpha(exact(&renyi.alpha(), &p, &pi)?)? - expected).abs() < 1e-15);
/// # Ok::<(), disco_divergence::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Renyi {
    // Invariant: positive and finite.
    order: f64,
}

impl Renyi {
    /// The Renyi divergence of an order.
    ///
    /// # Errors
    /// [`Error::Invalid`] unless it is positive and finite.
    pub fn new(order: f64) -> Result<Self> {
        if order > 0.0 && order.is_finite() {
            Ok(Self { order })
        } else {
            Err(Error::invalid("order of a Renyi divergence", order, "positive and finite").into())
        }
    }

    /// The alpha divergence that is to be computed or estimated first.
    pub fn alpha(self) -> FDivergence {
        FDivergence::alpha(self.order).expect("a Renyi order is finite")
    }

    /// `R_a(pi||p)` exactly, from the log-scores (nats) of target and policy at every outcome, which are normalised
    /// first.
    ///
    /// # Numerics
    /// `ln sum p^(1-a) pi^a / (a - 1)` by log-sum-exp, so that ratios of `e^700` are ordinary numbers, which
    /// their `D_a` is not; where `E_p[(pi/p)^a]` is near 1, and always for an order near 1, through `D_a`, which
    /// keeps the digits that the logarithm would cancel.
    ///
    /// # Errors
    /// As [`exact`](crate::exact()).
    pub fn exact(self, log_target: &[f64], log_policy: &[f64]) -> Result<f64> {
        let a = self.order;
        let alpha = exact(&self.alpha(), log_target, log_policy)?;
        if a == 1.0 || (a * (a - 1.0) * alpha).abs() < 0.5 {
            return self.from_alpha(alpha);
        }
        let (target, policy) = (normalised("target", log_target)?, normalised("policy", log_policy)?);
        let (mut terms, mut largest_of_infinite_order) =
            (Vec::with_capacity(target.len()), f64::NEG_INFINITY);
        for (&target, &policy) in target.iter().zip(&policy) {
            if policy == f64::NEG_INFINITY {
                // pi^a = 0, whatever p is.
            } else if target > f64::NEG_INFINITY {
                // Not target + a (policy - target): where both are huge, the difference cancels.
                let term = (1.0 - a) * target + a * policy;
                terms.push(if term.is_nan() { policy + (a - 1.0) * log_ratio(policy, target) } else { term });
                let at_order = log_ratio(policy, target) + policy / (a - 1.0);
                largest_of_infinite_order = largest_of_infinite_order.max(at_order);
            } else if a > 1.0 {
                return Ok(f64::INFINITY);
            }
        }
        let log_moment = log_sum_exp(&terms);
        // An order so large that the moment overflows even as a logarithm: the largest term is the sum.
        Ok(if log_moment == f64::INFINITY { largest_of_infinite_order } else { log_moment / (a - 1.0) })
    }

    /// The Renyi divergence, given the value `D_a` of the divergence [`alpha`](Self::alpha). It is `+inf` where `D_a` is as
    /// large as it can be: `1 / (a (1 - a))` for orders below 1 (disjoint supports), `+inf` for others.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a `D_a` below 0, or, for orders below 1, above `1 / (a (1 - a))`: then an
    /// estimate is too noisy to have a Renyi divergence.
    pub fn from_alpha(self, alpha: f64) -> Result<f64> {
        let a = self.order;
        // Order 1 first: 0 * inf.
        if a == 1.0 && alpha >= 0.0 {
            return Ok(alpha);
        }
        let x = a * (a - 1.0) * alpha;
        if !(alpha >= 0.0 && x >= -1.0 - ROUNDING) {
            let field = format!("alpha divergence of order {a}");
            return Err(
                Error::invalid(field, alpha, "0 to 1 / (a (1 - a)) for a < 1, else at least 0").into()
            );
        }
        Ok(x.max(-1.0).ln_1p() / (a - 1.0))
    }

    /// An estimate of the Renyi divergence, given an estimate of the divergence [`alpha`](Self::alpha) with standard error
    /// `se`. Its error is `a se / (1 + a (a - 1) D_a)` (delta method), and 0 where the value is `+inf`.
    ///
    /// # Errors
    /// As [`from_alpha`](Self::from_alpha).
    pub fn from_estimate(self, alpha: Estimate) -> Result<Estimate> {
        let value = self.from_alpha(alpha.value)?;
        let moment = 1.0 + self.order * (self.order - 1.0) * alpha.value;
        let std_error = if value == f64::INFINITY { 0.0 } else { self.order * alpha.std_error / moment };
        Ok(Estimate { value, std_error, ess: alpha.ess })
    }
}
