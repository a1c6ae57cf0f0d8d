//! The trait of an f-divergence.

use std::{borrow::Cow, fmt::Debug, sync::Arc};

/// An f-divergence `D_f(pi || p) = E_{x~p}[f(pi(x) / p(x))]`, with `f` convex and `f(1) = 0`.
///
/// Everything is a function of `l = ln(pi / p)` (nats), which keeps its precision where `t = exp(l)` over-
/// or underflows. [`check`](crate::check) tests an implementation against this contract.
///
/// `f(t)` and `f(t) + c (t - 1)` give the same divergence. "The form with `f'(1) = 0`" is the one of these that has its
/// minimum, 0, at `t = 1`: `f(t) - f'(1) (t - 1)`.
pub trait Divergence: Debug + Send + Sync {
    /// The name in reports.
    fn name(&self) -> Cow<'static, str>;

    /// `f(exp(l))` of the form with `f'(1) = 0`, which is never negative. `l` may be infinite.
    fn generator(&self, l: f64) -> f64;

    /// `f'(exp(l))`, up to one additive constant for all `l`. `l` may be infinite.
    fn derivative(&self, l: f64) -> f64;

    /// `f'(inf) = lim f(t) / t`, with the same constant as [`derivative`](Self::derivative); `+inf` where
    /// the policy must not leave the target's support.
    fn derivative_at_infinity(&self) -> f64;

    /// `exp(log_weight) * f'(exp(l))`; 0 for a weight of zero.
    ///
    /// The default multiplies the two factors. Override it with a product formed in log space if one factor can overflow or
    /// underflow while the product is an ordinary number.
    fn weighted_derivative(&self, l: f64, log_weight: f64) -> f64 {
        if log_weight == f64::NEG_INFINITY { 0.0 } else { log_weight.exp() * self.derivative(l) }
    }

    /// `exp(log_weight) * f(exp(l))` of the form with `f'(1) = 0`; 0 for a weight of zero.
    ///
    /// The default multiplies the two factors; override it as [`weighted_derivative`](Self::weighted_derivative).
    fn weighted_generator(&self, l: f64, log_weight: f64) -> f64 {
        if log_weight == f64::NEG_INFINITY { 0.0 } else { log_weight.exp() * self.generator(l) }
    }
}

macro_rules! forward_divergence {
    ($($pointer:ty),*) => {$(
        impl<D: Divergence + ?Sized> Divergence for $pointer {
            fn name(&self) -> Cow<'static, str> {
                (**self).name()
            }

            fn generator(&self, l: f64) -> f64 {
                (**self).generator(l)
            }

            fn derivative(&self, l: f64) -> f64 {
                (**self).derivative(l)
            }

            fn derivative_at_infinity(&self) -> f64 {
                (**self).derivative_at_infinity()
            }

            fn weighted_derivative(&self, l: f64, log_weight: f64) -> f64 {
                (**self).weighted_derivative(l, log_weight)
            }

            fn weighted_generator(&self, l: f64, log_weight: f64) -> f64 {
                (**self).weighted_generator(l, log_weight)
            }
        }
    )*};
}
forward_divergence!(&D, Box<D>, Arc<D>);
