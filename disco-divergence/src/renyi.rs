//! Renyi divergences, from alpha divergences.

use disco_core::{Error, Estimate};

use crate::{FDivergence, Result};

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
/// let found = renyi.from_alpha(exact(&renyi.alpha(), &p, &pi)?)?;
/// assert!((found - (2.0 * (0.0625 + 0.5625f64)).ln()).abs() < 1e-15);
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

    /// The value that belongs to the value `D_a` of [`alpha`](Self::alpha): `+inf` at its largest, which
    /// disjoint supports have.
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
        if !(alpha >= 0.0 && x >= -1.0) {
            let field = format!("alpha divergence of order {a}");
            return Err(
                Error::invalid(field, alpha, "0 to 1 / (a (1 - a)) for a < 1, else at least 0").into()
            );
        }
        Ok(x.ln_1p() / (a - 1.0))
    }

    /// The estimate that belongs to an estimate of [`alpha`](Self::alpha): error by the delta method,
    /// `a se / (1 + a (a - 1) D_a)`.
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
