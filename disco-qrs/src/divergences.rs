//! Divergences between the target and `p_beta`, with their errors.

use disco_core::Estimate;
use disco_divergence::{Divergence, FDivergence};

use crate::{Ratios, nodes::Node};

/// What does not depend on the divergence at one beta. Densities are relative to q: `u = p/q`, `v = p_beta/q`.
pub(crate) struct Setting<'a> {
    pub(crate) ratios: &'a Ratios,
    pub(crate) log_z: f64,
    /// `ln v` above beta.
    pub(crate) log_v: f64,
    /// `ln(v/u)` up to beta, where it is constant.
    pub(crate) log_gain: f64,
    /// The mass of p up to beta, as a logarithm: it may underflow where that of p_beta does not.
    pub(crate) log_target_below: f64,
    /// The mass of p_beta up to beta.
    pub(crate) sampler_below: f64,
    /// `sum u^2 / (sum u)^2` up to beta.
    pub(crate) concentration: f64,
    pub(crate) above: &'a [Node],
}

impl Setting<'_> {
    /// One divergence, as [`Ratios::curve`] describes.
    pub(crate) fn estimate(&self, divergence: &FDivergence) -> Estimate {
        let derivative_at_one = divergence.derivative(0.0);
        let term = |log_u: f64, log_v: f64| {
            let slope = divergence.weighted_derivative(log_v - log_u, log_v);
            let value = divergence.weighted_generator(log_v - log_u, log_u);
            (value, slope - log_v.exp() * derivative_at_one)
        };
        let (below, slope_below) = if self.log_target_below == f64::NEG_INFINITY {
            (0.0, 0.0)
        } else {
            term(self.log_target_below, self.log_target_below + self.log_gain)
        };
        let terms: Vec<(f64, f64)> =
            self.above.iter().map(|node| term(node.log_ratio - self.log_z, self.log_v)).collect();
        let (mut value, mut b) = (below, slope_below);
        for (node, (term, slope)) in self.above.iter().zip(&terms) {
            value += node.mass * term;
            b += node.mass * slope;
        }
        let a = value - b;
        // Up to beta, the influence function is proportional to u.
        let mut squares =
            self.concentration * (below - a * self.log_target_below.exp() - b * self.sampler_below).powi(2);
        let v = self.log_v.exp();
        for (node, (term, _)) in self.above.iter().zip(&terms) {
            let u = (node.log_ratio - self.log_z).exp();
            squares += node.mass * (term - a * u - b * v).powi(2);
        }
        // Interpolation can leave a divergence of zero below it by rounding.
        let value = value.max(0.0);
        Estimate { value, std_error: self.ratios.error_of_mean(squares), ess: self.ratios.ess() }
    }
}
