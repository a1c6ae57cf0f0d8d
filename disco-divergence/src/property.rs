//! The properties that make a function an f-divergence.

use std::fmt;

/// A property of an f-divergence, as [`check`](crate::check) tests it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Property {
    /// No method gives NaN.
    Number,
    /// `f(1) = 0`.
    ZeroAtOne,
    /// `f >= 0`, which the form with `f'(1) = 0` has.
    NonNegative,
    /// `f'` does not decrease: `f` is convex.
    Convex,
    /// The slope of every chord of `f` lies between the values of `f' - f'(1)` at its two ends.
    Derivative,
    /// `f'(inf)` is the limit of `f'`.
    DerivativeAtInfinity,
    /// `exp(log_weight) f'` is the product of the two.
    WeightedDerivative,
    /// `exp(log_weight) f` is the product of the two.
    WeightedGenerator,
    /// `u f(v/u)` and its derivative are the products of weights and functions, and lie within their limits.
    Perspective,
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number => "a value is NaN",
            Self::ZeroAtOne => "f(1) is not 0",
            Self::NonNegative => "f is negative",
            Self::Convex => "f' decreases, so f is not convex",
            Self::Derivative => "the slope of f does not lie between the f' - f'(1) of the two ends",
            Self::DerivativeAtInfinity => "f'(inf) is not the limit of f'",
            Self::WeightedDerivative => "weighted_derivative is not exp(log_weight) f'",
            Self::WeightedGenerator => "weighted_generator is not exp(log_weight) f",
            Self::Perspective => "perspective is not u f(v/u), or perspective_derivative not v f'(v/u)",
        })
    }
}
