//! The trait of an f-divergence.

use std::{borrow::Cow, fmt::Debug, sync::Arc};

use disco_core::numerics::log_ratio;

use crate::terms::{LARGE, of_mass};

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

    /// The largest value that the divergence can have, `f(0) + f'(inf)` of the form with `f'(1) = 0` (Liese and Vajda 2006,
    /// <https://doi.org/10.1109/TIT.2006.881731>, theorem 5): that of distributions with disjoint supports. It is 1 for total
    /// variation, ln 2 for Jensen-Shannon, and `+inf` where there is no bound.
    fn supremum(&self) -> f64 {
        self.generator(f64::NEG_INFINITY) + (self.derivative_at_infinity() - self.derivative(0.0))
    }

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

    /// The perspective of `f`: `u f(v/u)` of the form with `f'(1) = 0`, given `ln u` and `ln v`, neither `+inf`. With
    /// `u = p(x)` and `v = pi(x)`, the divergence is its sum over `x`.
    ///
    /// `v = 0` gives `u f(0)`, and `u = 0` gives `v f'(inf)`, with `f'(inf)` of that form: the limits.
    ///
    /// # Numerics
    /// Where `ln u` is hugely negative and `ln v` is not, `l = ln v - ln u` has lost `ln v`, and
    /// [`weighted_generator`](Self::weighted_generator) cannot find it again: `v` has to be the weight. The default gives the
    /// product, and, where that is no finite number for `l` above 700 and `f'(inf)` is finite, the value at the limit,
    /// `v f'`. Override it if your `weighted_generator` is formed in log space.
    fn perspective(&self, log_u: f64, log_v: f64) -> f64 {
        let outside = || self.derivative_at_infinity() - self.derivative(0.0);
        if log_v == f64::NEG_INFINITY {
            return of_mass(self.generator(f64::NEG_INFINITY), log_u);
        } else if log_u == f64::NEG_INFINITY {
            return of_mass(outside(), log_v);
        }
        let l = log_ratio(log_v, log_u);
        let product = self.weighted_generator(l, log_u);
        if l > LARGE && !product.is_finite() && outside().is_finite() {
            of_mass(self.derivative(l) - self.derivative(0.0), log_v)
        } else {
            product
        }
    }

    /// `v f'(v/u)`, given `ln u` and `ln v`, neither `+inf`: the derivative of [`perspective`](Self::perspective) in `ln v`,
    /// with the constant of [`derivative`](Self::derivative). `v = 0` gives 0, and `u = 0` gives `v f'(inf)`.
    ///
    /// The default is [`weighted_derivative`](Self::weighted_derivative); override it as `perspective`.
    fn perspective_derivative(&self, log_u: f64, log_v: f64) -> f64 {
        if log_v == f64::NEG_INFINITY {
            0.0
        } else if log_u == f64::NEG_INFINITY {
            of_mass(self.derivative_at_infinity(), log_v)
        } else {
            self.weighted_derivative(log_ratio(log_v, log_u), log_v)
        }
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

            fn supremum(&self) -> f64 {
                (**self).supremum()
            }

            fn weighted_derivative(&self, l: f64, log_weight: f64) -> f64 {
                (**self).weighted_derivative(l, log_weight)
            }

            fn weighted_generator(&self, l: f64, log_weight: f64) -> f64 {
                (**self).weighted_generator(l, log_weight)
            }

            fn perspective(&self, log_u: f64, log_v: f64) -> f64 {
                (**self).perspective(log_u, log_v)
            }

            fn perspective_derivative(&self, log_u: f64, log_v: f64) -> f64 {
                (**self).perspective_derivative(log_u, log_v)
            }
        }
    )*};
}
forward_divergence!(&D, Box<D>, Arc<D>);
