//! Divergences between the target and `p_beta`, with their errors.

use disco_core::{Error, Estimate};
use disco_divergence::{Divergence, FDivergence};

use crate::{Ratios, Result, quadrature::QuadratureNode, sums::not_negative};

/// The quantities at one beta that do not depend on the divergence. Densities are relative to q: `u = p/q`, `v =
/// p_beta/q`.
pub(crate) struct Setting<'a> {
    pub(crate) ratios: &'a Ratios,
    pub(crate) log_beta: f64,
    pub(crate) log_z: f64,
    /// `ln v` above beta.
    pub(crate) log_v: f64,
    /// `ln(v/u)` up to beta, where it is constant.
    pub(crate) log_gain: f64,
    /// The mass of p up to beta, as a logarithm: it may underflow where the mass of p_beta does not.
    pub(crate) log_target_below: f64,
    /// The mass of p_beta up to beta.
    pub(crate) sampler_below: f64,
    /// `sum u^2 / (sum u)^2` up to beta.
    pub(crate) concentration: f64,
    pub(crate) above: &'a [QuadratureNode],
}

impl Setting<'_> {
    /// One divergence, as [`Ratios::curve`] describes.
    pub(crate) fn estimate(&self, divergence: &FDivergence) -> Result<Estimate> {
        let derivative_at_one = divergence.derivative(0.0);
        // Of degree one in u and v: a unit of mass that both contain comes out as a factor.
        let term = |log_u: f64, log_v: f64| {
            let slope = divergence.perspective_derivative(log_u, log_v);
            (divergence.perspective(log_u, log_v), slope - log_v.exp() * derivative_at_one)
        };
        let (below, slope_below) = if self.log_target_below == f64::NEG_INFINITY {
            (0.0, 0.0)
        } else {
            term(self.log_target_below, self.log_target_below + self.log_gain)
        };
        let log_u = |node: &QuadratureNode| node.log_ratio - self.log_z + node.log_unit;
        let terms: Vec<(f64, f64)> =
            self.above.iter().map(|node| term(log_u(node), self.log_v + node.log_unit)).collect();
        let (mut value, mut b) = (below, slope_below);
        for (node, (term, slope)) in self.above.iter().zip(&terms) {
            value += node.mass * term;
            b += node.mass * slope;
        }
        if value.is_nan() {
            let field = format!("{divergence} at ln beta = {}", self.log_beta);
            return Err(Error::invalid(field, value, "a number: the ln(P/q) are too far apart").into());
        }
        let std_error = if self.ratios.is_exact() { 0.0 } else { self.error(value - b, b, below, &terms) };
        // Interpolation can leave a divergence outside of its bounds by rounding.
        let value = not_negative(value).min(divergence.supremum());
        Ok(Estimate { value, std_error, ess: self.ratios.ess() })
    }

    /// The standard error of the divergence: the error of the mean of `c - a u - b v`, with `below` the sum of `c`
    /// up to beta.
    fn error(&self, a: f64, b: f64, below: f64, terms: &[(f64, f64)]) -> f64 {
        // Up to beta, the influence function is proportional to u.
        let mut squares =
            self.concentration * (below - a * self.log_target_below.exp() - b * self.sampler_below).powi(2);
        for (node, (term, _)) in self.above.iter().zip(terms) {
            let u = (node.log_ratio - self.log_z + node.log_unit).exp();
            let v = (self.log_v + node.log_unit).exp();
            // The square of three numbers contains the unit of mass twice; it belongs once.
            squares += node.mass * (term - a * u - b * v).powi(2) * (-node.log_unit).exp();
        }
        self.ratios.error_of_mean(squares)
    }
}
