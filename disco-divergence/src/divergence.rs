//! The trait of an f-divergence.

use std::{borrow::Cow, fmt::Debug};

/// An f-divergence `D_f(pi || p) = E_{x~p}[f(pi(x) / p(x))]`, with `f` convex and `f(1) = 0`.
///
/// Everything is a function of `l = ln(pi / p)` (nats), which keeps its precision where `t = exp(l)` over-
/// or underflows.
pub trait Divergence: Debug + Send + Sync {
    /// The name in reports.
    fn name(&self) -> Cow<'static, str>;

    /// `f(exp(l))` of the form with `f'(1) = 0`, which is never negative. `l` may be infinite.
    fn generator(&self, l: f64) -> f64;

    /// `f'(exp(l))`, up to a constant.
    fn derivative(&self, l: f64) -> f64;

    /// `f'(inf) = lim f(t) / t`, with the same constant as [`derivative`](Self::derivative); `+inf` where
    /// the policy must not leave the target's support.
    fn derivative_at_infinity(&self) -> f64;

    /// `exp(log_weight) * f'(exp(l))`, formed in log space where a factor alone would overflow.
    fn weighted_derivative(&self, l: f64, log_weight: f64) -> f64 {
        log_weight.exp() * self.derivative(l)
    }
}
