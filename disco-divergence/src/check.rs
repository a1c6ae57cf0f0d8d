//! A check of a user's own divergence.

use crate::{Divergence, Error, Property, Result};

/// Rounding that a derivative or a product may carry, relative to its size.
const ROUNDING: f64 = 1e-9;
/// Rounding of a value of `f`, relative to `1 + t`: the error of a simple formula for a generator at `t = 1`.
const GENERATOR_ROUNDING: f64 = 1e-14;
/// The length of the chords in `l`: `f'` is tested up to its change over this length.
const STEP: f64 = 1e-2;
/// Chords are laid where `exp(l)` leaves enough of `f64` for a slope.
const CHORDS: f64 = 12.0;
/// The log-ratios at which values must be numbers.
const FAR: f64 = 700.0;

/// Tests that `divergence` keeps the contract of [`Divergence`]: `f(1) = 0`, `f >= 0` in the form with
/// `f'(1) = 0`, `f` convex, `f'` against finite differences, `f'(inf)`, products formed in log space, and
/// numbers for every `l` in [-700, 700] and at both infinities.
///
/// `f'` is compared with chords of length 0.01 in `l`: for a convex `f`, the slope of a chord lies between
/// the derivatives at its ends. This holds at a kink too, where a central difference would not.
///
/// ```
/// use std::borrow::Cow;
/// use disco_divergence::{Divergence, check};
///
/// /// t ln t, but not in the form with f'(1) = 0.
/// #[derive(Debug)]
/// struct Mine;
/// impl Divergence for Mine {
///     fn name(&self) -> Cow<'static, str> { "mine".into() }
///     fn generator(&self, l: f64) -> f64 { if l == f64::NEG_INFINITY { 0.0 } else { l.exp() * l } }
///     fn derivative(&self, l: f64) -> f64 { l + 1.0 }
///     fn derivative_at_infinity(&self) -> f64 { f64::INFINITY }
/// }
/// let error = check(&Mine).unwrap_err();
/// assert!(error.to_string().contains("f is negative"));
/// ```
///
/// # Errors
/// [`Error::Broken`] names the first property that fails, and where.
pub fn check<D: Divergence + ?Sized>(divergence: &D) -> Result<()> {
    let broken =
        |property, l, found| Err(Error::Broken { name: divergence.name().into_owned(), property, l, found });
    let far = (-1400..=1400).map(|i| f64::from(i) * FAR / 1400.0);
    let limits = [f64::NEG_INFINITY, f64::INFINITY];

    let at_one = divergence.generator(0.0);
    if !(at_one.abs() <= GENERATOR_ROUNDING) {
        return broken(Property::ZeroAtOne, 0.0, at_one);
    }
    for l in far.clone().chain(limits) {
        let (value, slope) = (divergence.generator(l), divergence.derivative(l));
        if value.is_nan() || slope.is_nan() {
            return broken(Property::Number, l, f64::NAN);
        }
        if value < -GENERATOR_ROUNDING * (1.0 + l.exp().min(f64::MAX)) {
            return broken(Property::NonNegative, l, value);
        }
    }
    let mut last = divergence.derivative(f64::NEG_INFINITY);
    for l in far.clone().chain([f64::INFINITY]) {
        let slope = divergence.derivative(l);
        if slope < last - ROUNDING * last.abs().min(f64::MAX) {
            return broken(Property::Convex, l, slope);
        }
        last = slope;
    }

    let slope_at_one = divergence.derivative(0.0);
    let chords = (CHORDS / STEP) as i32;
    for from in (-chords..chords).map(|i| f64::from(i) * STEP) {
        let to = from + STEP;
        let run = from.exp() * STEP.exp_m1();
        let (start, end) = (divergence.generator(from), divergence.generator(to));
        let slope = (end - start) / run + slope_at_one;
        let (low, high) = (divergence.derivative(from), divergence.derivative(to));
        let rounding = GENERATOR_ROUNDING * (1.0 + start.abs() + end.abs() + to.exp()) / run
            + ROUNDING * (low.abs() + high.abs() + slope_at_one.abs());
        if !(slope >= low - rounding && slope <= high + rounding) {
            return broken(Property::Derivative, from, slope - slope_at_one);
        }
    }

    let (limit, at_infinity) = (divergence.derivative_at_infinity(), divergence.derivative(f64::INFINITY));
    let (middle, end) = (divergence.derivative(FAR / 2.0), divergence.derivative(FAR));
    let still_grows = end > middle || end == f64::INFINITY;
    let same = limit == at_infinity || (limit - at_infinity).abs() <= ROUNDING * (1.0 + limit.abs());
    if !same || (limit == f64::INFINITY && !still_grows) {
        return broken(Property::DerivativeAtInfinity, f64::INFINITY, limit);
    }
    check_products(divergence)
}

/// The products with a weight: equal to the plain ones where those are safe, and never NaN.
fn check_products<D: Divergence + ?Sized>(divergence: &D) -> Result<()> {
    let broken =
        |property, l, found| Err(Error::Broken { name: divergence.name().into_owned(), property, l, found });
    for l in (-20..=20).map(|i| 0.37 * f64::from(i)) {
        for log_weight in [-5.0_f64, 0.0, 3.0] {
            let close = |found: f64, expected: f64| {
                (found - expected).abs() <= ROUNDING * (expected.abs() + log_weight.exp())
            };
            let found = divergence.weighted_derivative(l, log_weight);
            if !close(found, log_weight.exp() * divergence.derivative(l)) {
                return broken(Property::WeightedDerivative, l, found);
            }
            let found = divergence.weighted_generator(l, log_weight);
            if !close(found, log_weight.exp() * divergence.generator(l)) {
                return broken(Property::WeightedGenerator, l, found);
            }
            let found = divergence.perspective(log_weight, log_weight + l);
            if !close(found, log_weight.exp() * divergence.generator(l)) {
                return broken(Property::Perspective, l, found);
            }
            let found = divergence.perspective_derivative(log_weight - l, log_weight);
            if !close(found, log_weight.exp() * divergence.derivative(l)) {
                return broken(Property::Perspective, l, found);
            }
        }
    }
    for l in [-700.0, -350.0, 350.0, 700.0] {
        for log_weight in [f64::NEG_INFINITY, -700.0, 0.0] {
            let found = divergence.weighted_derivative(l, log_weight);
            if found.is_nan() || (log_weight == f64::NEG_INFINITY && found != 0.0) {
                return broken(Property::WeightedDerivative, l, found);
            }
            let found = divergence.weighted_generator(l, log_weight);
            if found.is_nan() || (log_weight == f64::NEG_INFINITY && found != 0.0) {
                return broken(Property::WeightedGenerator, l, found);
            }
        }
    }
    Ok(())
}
