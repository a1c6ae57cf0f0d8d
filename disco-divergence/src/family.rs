//! The named f-divergences.

use std::borrow::Cow;

use disco_core::{Error, numerics::log_ratio};
use serde::{Deserialize, Serialize};

use crate::{
    Divergence, Order, Weight,
    terms::{LARGE, forward_kl, log_forward_kl, of_mass, reverse_kl, weighted_exp_m1},
};

/// The f-divergences `D_f(pi||p)` that have a name, with `t = pi/p`, `l = ln t` and `m = (1-w) p + w pi`.
///
/// `f'` and `f'(inf)` belong to the `f` of the second column. [`generator`](Divergence::generator) gives the form with
/// `f'(1) = 0`; where it differs, it stands in brackets.
///
/// | name | f(t) | f'(t) | f'(inf) |
/// |---|---|---|---|
/// | `forward-kl` | -l (t - 1 - l) | -exp(-l) | 0 |
/// | `reverse-kl` | t l (t l - t + 1) | l + 1 | +inf |
/// | `tv` | abs(1 - t) / 2 | sign(l) / 2 | 1/2 |
/// | `js` | (t l - (1 + t) ln((1 + t)/2)) / 2 | (ln 2 - softplus(-l)) / 2 | ln(2) / 2 |
/// | `chi2-forward` | 1/t - 1 (t + 1/t - 2) | -exp(-2 l) | 0 |
/// | `chi2-reverse` | (t - 1)^2 | 2 (t - 1) | +inf |
/// | `hellinger` | (sqrt t - 1)^2 / 2 | (1 - exp(-l/2)) / 2 | 1/2 |
/// | `jeffreys` | (t - 1) l | l + 1 - exp(-l) | +inf |
/// | `alpha:A` | (t^A - A t - (1 - A)) / (A (A - 1)) | expm1((A - 1) l) / (A - 1) | 1/(1 - A) for A < 1, else +inf |
/// | `skewed-kl:W` | -ln(1 - W + W t) (W (t - 1) - ln(1 - W + W t)) | -W p/m | 0 |
/// | `skewed-js:W` | W t ln(pi/m) - (1 - W) ln(m/p) | W ln(pi/m) | -W ln W |
///
/// `FromStr` reads the name, `Display` writes it, and serde stores it: `"alpha:0.5".parse()`.
///
/// ```
/// use disco_divergence::{Divergence, FDivergence};
/// let js: FDivergence = "js".parse()?;
/// assert_eq!(js, FDivergence::JensenShannon);
/// // f(1) = 0, and f is never negative; l = ln(pi/p).
/// assert!(js.generator(0.0) == 0.0 && js.generator(1.0) > 0.0);
/// assert_eq!(FDivergence::alpha(0.5)?.to_string(), "alpha:0.5");
/// # Ok::<(), disco_divergence::Error>(())
/// ```
///
/// # Numerics
/// Relative error of the generator: a few units in the last place near `l = 0` and in the tails; no NaN for
/// any `l`, infinite or not. `f` beyond the range of `f64` is `+inf`; its product with a weight,
/// [`weighted_generator`](Divergence::weighted_generator), is formed in log space.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum FDivergence {
    /// KL(p||pi).
    KlForward,
    /// KL(pi||p).
    KlReverse,
    /// Total variation, `sum |pi - p| / 2`.
    TotalVariation,
    /// Jensen-Shannon with weights of one half, `(KL(p||m) + KL(pi||m)) / 2`, `m = (p + pi) / 2`.
    JensenShannon,
    /// Chi-squared (p||pi), `sum (p - pi)^2 / pi`.
    ChiSquaredForward,
    /// Chi-squared (pi||p), `sum (pi - p)^2 / p`.
    ChiSquaredReverse,
    /// Squared Hellinger distance, `sum (sqrt pi - sqrt p)^2 / 2`.
    SquaredHellinger,
    /// KL(p||pi) + KL(pi||p).
    Jeffreys,
    /// The alpha divergence: order 0 is KL(p||pi), 1 is KL(pi||p), 1/2 four times squared Hellinger, 2 half
    /// of chi-squared (pi||p), -1 half of chi-squared (p||pi).
    Alpha(Order),
    /// KL(p||m) with the policy's weight `w` in `m` (Lee 1999); it approaches KL(p||pi) as `w` approaches 1.
    SkewedKl(Weight),
    /// `(1 - w) KL(p||m) + w KL(pi||m)` (Lin 1991, eq. 4.1 for two distributions).
    SkewedJs(Weight),
}

impl FDivergence {
    /// The divergences without a parameter.
    pub const NAMED: [Self; 8] = [
        Self::KlForward,
        Self::KlReverse,
        Self::TotalVariation,
        Self::JensenShannon,
        Self::ChiSquaredForward,
        Self::ChiSquaredReverse,
        Self::SquaredHellinger,
        Self::Jeffreys,
    ];

    /// The alpha divergence of a finite order.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn alpha(order: f64) -> Result<Self, Error> {
        Ok(Self::Alpha(Order::new(order)?))
    }

    /// KL(p||m), `m = (1 - weight) p + weight pi`, `0 < weight < 1`.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn skewed_kl(weight: f64) -> Result<Self, Error> {
        Ok(Self::SkewedKl(Weight::new(weight)?))
    }

    /// `(1 - weight) KL(p||m) + weight KL(pi||m)`, `m = (1 - weight) p + weight pi`, `0 < weight < 1`.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn skewed_js(weight: f64) -> Result<Self, Error> {
        Ok(Self::SkewedJs(Weight::new(weight)?))
    }

    /// The dual generator `t f(1/t)` at `t = exp(l)`, which is the generator of the divergence of `p` from `pi`.
    fn dual(&self, l: f64) -> f64 {
        match self {
            Self::KlForward => reverse_kl(l),
            Self::KlReverse => forward_kl(l),
            Self::ChiSquaredForward => Self::ChiSquaredReverse.generator(l),
            Self::ChiSquaredReverse => Self::ChiSquaredForward.generator(l),
            Self::Alpha(order) => order.dual().generator(l),
            Self::SkewedKl(weight) => weight.dual_kl_generator(l),
            Self::SkewedJs(weight) => weight.dual().js_generator(l),
            Self::TotalVariation | Self::JensenShannon | Self::SquaredHellinger | Self::Jeffreys => {
                self.generator(l)
            }
        }
    }

    /// `ln` of [`dual`](Self::dual) for finite `l`, also where it overflows.
    fn log_dual(&self, l: f64) -> f64 {
        match self {
            Self::ChiSquaredReverse => Self::ChiSquaredForward.log_generator(l),
            Self::Alpha(order) => order.dual().log_generator(l),
            _ => self.dual(l).ln(),
        }
    }

    /// `ln f(exp(l))` for finite `l`, also where `f` overflows.
    fn log_generator(&self, l: f64) -> f64 {
        match self {
            Self::KlForward => log_forward_kl(l),
            Self::KlReverse if l > LARGE => l + (l - 1.0).ln(),
            Self::TotalVariation | Self::SquaredHellinger if l > LARGE => l - std::f64::consts::LN_2,
            Self::JensenShannon => Weight::HALF.log_js_generator(l),
            Self::ChiSquaredForward if l.abs() > LARGE => l.abs(),
            Self::ChiSquaredReverse if l > LARGE / 2.0 => 2.0 * l,
            Self::Jeffreys if l > LARGE => l + l.ln(),
            Self::Alpha(order) => order.log_generator(l),
            Self::SkewedKl(weight) => weight.log_kl_generator(l),
            Self::SkewedJs(weight) => weight.log_js_generator(l),
            _ => self.generator(l).ln(),
        }
    }
}

impl Divergence for FDivergence {
    fn name(&self) -> Cow<'static, str> {
        self.to_string().into()
    }

    fn generator(&self, l: f64) -> f64 {
        match self {
            Self::KlForward => forward_kl(l),
            Self::KlReverse => reverse_kl(l),
            Self::TotalVariation => l.exp_m1().abs() / 2.0,
            Self::JensenShannon => Weight::HALF.js_generator(l),
            Self::ChiSquaredForward => (2.0 * (l / 2.0).sinh()).powi(2),
            Self::ChiSquaredReverse => l.exp_m1().powi(2),
            Self::SquaredHellinger => (l / 2.0).exp_m1().powi(2) / 2.0,
            Self::Jeffreys => l * l.exp_m1(),
            Self::Alpha(order) => order.generator(l),
            Self::SkewedKl(weight) => weight.kl_generator(l),
            Self::SkewedJs(weight) => weight.js_generator(l),
        }
    }

    fn derivative(&self, l: f64) -> f64 {
        match self {
            Self::KlForward => -(-l).exp(),
            Self::KlReverse => l + 1.0,
            // The middle of the subgradients at the kink.
            Self::TotalVariation => 0.5 * if l == 0.0 { 0.0 } else { l.signum() },
            Self::JensenShannon => Weight::HALF.js_derivative(l),
            Self::ChiSquaredForward => -(-2.0 * l).exp(),
            Self::ChiSquaredReverse => 2.0 * l.exp_m1(),
            Self::SquaredHellinger => -0.5 * (-l / 2.0).exp_m1(),
            Self::Jeffreys => l - (-l).exp_m1(),
            Self::Alpha(order) => order.derivative(l),
            Self::SkewedKl(weight) => weight.kl_derivative(l),
            Self::SkewedJs(weight) => weight.js_derivative(l),
        }
    }

    fn derivative_at_infinity(&self) -> f64 {
        match self {
            Self::KlForward | Self::ChiSquaredForward | Self::SkewedKl(_) => 0.0,
            Self::TotalVariation | Self::SquaredHellinger => 0.5,
            Self::JensenShannon => Weight::HALF.js_derivative_at_infinity(),
            Self::KlReverse | Self::ChiSquaredReverse | Self::Jeffreys => f64::INFINITY,
            Self::Alpha(order) => order.derivative_at_infinity(),
            Self::SkewedJs(weight) => weight.js_derivative_at_infinity(),
        }
    }

    fn weighted_derivative(&self, l: f64, log_weight: f64) -> f64 {
        if log_weight == f64::NEG_INFINITY {
            return 0.0;
        }
        match self {
            Self::KlForward => -(log_weight - l).exp(),
            Self::ChiSquaredForward => -(log_weight - 2.0 * l).exp(),
            Self::ChiSquaredReverse => 2.0 * weighted_exp_m1(l, log_weight),
            Self::SquaredHellinger => -0.5 * weighted_exp_m1(-l / 2.0, log_weight),
            Self::Jeffreys => log_weight.exp() * l - weighted_exp_m1(-l, log_weight),
            Self::Alpha(order) => order.weighted_derivative(l, log_weight),
            _ => log_weight.exp() * self.derivative(l),
        }
    }

    fn weighted_generator(&self, l: f64, log_weight: f64) -> f64 {
        let (weight, value) = (log_weight.exp(), self.generator(l));
        if log_weight == f64::NEG_INFINITY || value == 0.0 {
            0.0
        } else if l.is_infinite() || is_safe(weight, value) {
            weight * value
        } else {
            (log_weight + self.log_generator(l)).exp()
        }
    }

    fn perspective(&self, log_u: f64, log_v: f64) -> f64 {
        let l = log_ratio(log_v, log_u);
        if log_u == f64::NEG_INFINITY || log_v == f64::NEG_INFINITY {
            let zero = log_v == f64::NEG_INFINITY;
            return if zero { of_mass(self.generator(l), log_u) } else { of_mass(self.dual(-l), log_v) };
        }
        // The larger weight, so that a bounded value stays next to it whatever the smaller one is.
        if l <= 0.0 || is_safe(log_u.exp(), self.generator(l)) {
            return self.weighted_generator(l, log_u);
        }
        let (weight, value) = (log_v.exp(), self.dual(-l));
        if value == 0.0 || is_safe(weight, value) {
            weight * value
        } else {
            (log_v + self.log_dual(-l)).exp()
        }
    }

    fn perspective_derivative(&self, log_u: f64, log_v: f64) -> f64 {
        let l = log_ratio(log_v, log_u);
        if log_v == f64::NEG_INFINITY {
            return 0.0;
        } else if log_u == f64::NEG_INFINITY {
            return of_mass(self.derivative_at_infinity(), log_v);
        } else if l.abs() < LARGE && log_v.abs() < LARGE {
            return self.weighted_derivative(l, log_v);
        }
        // As `weighted_derivative`, without `ln v` in powers of v that cancel: `ln v - l` has lost `ln u`.
        match self {
            Self::KlForward => -log_u.exp(),
            Self::ChiSquaredForward => -(log_u - l).exp(),
            Self::SquaredHellinger => 0.5 * (log_v.exp() - (0.5 * log_u + 0.5 * log_v).exp()),
            Self::Jeffreys => log_v.exp() * l + log_v.exp() - log_u.exp(),
            Self::Alpha(order) => order.perspective_derivative(log_u, log_v),
            _ => self.weighted_derivative(l, log_v),
        }
    }
}

/// Whether a product with a weight may be formed as it stands: a weight below the normal numbers has lost digits.
fn is_safe(weight: f64, value: f64) -> bool {
    value.is_finite() && weight.is_finite() && weight >= f64::MIN_POSITIVE
}
