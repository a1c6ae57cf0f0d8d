//! The pieces that the generators are made of, each exact to a few units in the last place.

use disco_core::numerics::log_1m_exp;

/// Beyond this, `exp` is within reach of overflow and values are formed through their logarithms.
pub(crate) const LARGE: f64 = 700.0;

/// Below this, differences of exponentials cancel and power series take over.
const SMALL: f64 = 0.5;

/// `sum_{k>=2} s_k l^k / k!` with `s_2 = 1`, `s_{k+1} = a s_k + 1`: the alpha generator near `l = 0`.
///
/// `s_k = (a^(k-1) - 1) / (a - 1)`, and its recurrence has no cancellation at any `a`. Call it for
/// `|l| max(1, |a|) < 1`.
fn series(a: f64, l: f64) -> f64 {
    let (mut power, mut coefficient, mut sum) = (0.5 * l * l, 1.0, 0.5 * l * l);
    // Term k is below 2 (k - 1) SMALL^(k - 2) / k! of the first: under 1e-16 from k = 17 on. No early stop: a
    // coefficient may be zero (s_3 at a = -1).
    for k in 3..17 {
        power *= l / f64::from(k);
        coefficient = a * coefficient + 1.0;
        sum += coefficient * power;
    }
    sum
}

/// Whether [`series`] converges fast at `l`.
pub(crate) fn small(a: f64, l: f64) -> bool {
    l.abs() * a.abs().max(1.0) < SMALL
}

/// The alpha generator by its power series; `None` where `l` is too large for it.
pub(crate) fn near_one(a: f64, l: f64) -> Option<f64> {
    small(a, l).then(|| series(a, l))
}

/// `t - 1 - ln t`: the generator of KL(p||pi).
pub(crate) fn forward_kl(l: f64) -> f64 {
    if l.abs() < SMALL {
        series(0.0, l)
    } else if l.is_infinite() {
        f64::INFINITY
    } else {
        l.exp_m1() - l
    }
}

/// The logarithm of [`forward_kl`], also where that overflows.
pub(crate) fn log_forward_kl(l: f64) -> f64 {
    if l > LARGE { l } else { forward_kl(l).ln() }
}

/// `t ln t - t + 1`: the generator of KL(pi||p).
pub(crate) fn reverse_kl(l: f64) -> f64 {
    if l == f64::NEG_INFINITY {
        1.0
    } else if l < -1.0 {
        1.0 + l.exp() * (l - 1.0)
    } else {
        l.exp() * forward_kl(-l)
    }
}

/// `exp(log_weight) * (exp(x) - 1)` for a weight above zero, without `inf - inf`.
pub(crate) fn weighted_exp_m1(x: f64, log_weight: f64) -> f64 {
    if x.abs() < 1.0 {
        log_weight.exp() * x.exp_m1()
    } else if x > 0.0 {
        (log_weight + x + log_1m_exp(-x)).exp()
    } else {
        -(log_weight + log_1m_exp(x)).exp()
    }
}

/// `(exp(x) - 1) / x`, which is 1 at 0.
pub(crate) fn relative_exp_m1(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { x.exp_m1() / x }
}

/// `exp(log_mass) * value`, infinite for an infinite value however small the mass; 0 for a mass of 0.
pub(crate) fn of_mass(value: f64, log_mass: f64) -> f64 {
    if log_mass == f64::NEG_INFINITY {
        0.0
    } else if value == f64::INFINITY {
        value
    } else {
        log_mass.exp() * value
    }
}
