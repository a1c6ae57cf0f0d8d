//! Log-space arithmetic (natural logarithms, `f64`).

use crate::{Error, Result};

/// A sum of logarithms below this is rounded by less than 1e-13: above it, a difference of large terms should be taken before
/// small ones are added.
pub const ROUNDS_LITTLE: f64 = 1000.0;

/// `ln sum_i exp(x_i)`, without overflow; `-inf` for no terms, NaN if a term is NaN, `+inf` if a term is.
///
/// Two passes: the largest term is taken out, so that one `exp` is 1 and the others cannot overflow.
pub fn log_sum_exp(terms: &[f64]) -> f64 {
    let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest.is_infinite() {
        // `f64::max` passes over NaN, which must not become -inf.
        return if terms.iter().any(|term| term.is_nan()) { f64::NAN } else { largest };
    }
    largest + terms.iter().map(|term| (term - largest).exp()).sum::<f64>().ln()
}

/// `ln(exp(x_i) / sum_j exp(x_j))` of each term: the log-probabilities of unnormalised log-scores.
///
/// A large constant in all terms costs no digits, as it would in `x_i - log_sum_exp(x)`. A difference of finite terms beyond
/// the range of `f64` is `f64::MIN`: `-inf` comes only from `-inf`.
///
/// NaN if a term is NaN or `+inf`, and where all are `-inf`: there is no such distribution.
///
/// ```
/// use disco_core::numerics::log_softmax;
/// let fair = log_softmax(&[-1e16, -1e16, f64::NEG_INFINITY]);
/// assert_eq!(fair, [0.5f64.ln(), 0.5f64.ln(), f64::NEG_INFINITY]);
/// ```
pub fn log_softmax(terms: &[f64]) -> Vec<f64> {
    let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_sum = terms.iter().map(|term| (term - largest).exp()).sum::<f64>().ln();
    if largest.abs() < ROUNDS_LITTLE {
        return terms.iter().map(|term| log_ratio(*term, largest + log_sum)).collect();
    }
    // The largest term first: its sum with the logarithm would be rounded to its own last digits.
    terms.iter().map(|term| log_ratio(log_ratio(*term, largest), log_sum)).collect()
}

/// `a - b`, the logarithm of the ratio of two numbers given by their logarithms: of finite ones beyond the range of `f64`,
/// `f64::MIN` or `f64::MAX`. Infinite only if one of them is; NaN if one of them is, and for two equal infinities.
pub fn log_ratio(a: f64, b: f64) -> f64 {
    let difference = a - b;
    if a.is_finite() && b.is_finite() { difference.clamp(f64::MIN, f64::MAX) } else { difference }
}

/// `ln(exp(a) + exp(b))`; NaN if a term is NaN.
pub fn log_add_exp(a: f64, b: f64) -> f64 {
    let (high, low) = if a >= b { (a, b) } else { (b, a) };
    // Equal terms first: the difference of two infinities is NaN.
    if low == high { high + std::f64::consts::LN_2 } else { high + (low - high).exp().ln_1p() }
}

/// `ln(1 - exp(x))` for `x <= 0`, accurate near 0 and far from it (Mächler 2012); NaN above 0.
pub fn log_1m_exp(x: f64) -> f64 {
    if x > -std::f64::consts::LN_2 { (-x.exp_m1()).ln() } else { (-x.exp()).ln_1p() }
}

/// `ln(1 + exp(x))`.
pub fn softplus(x: f64) -> f64 {
    if x > 0.0 { x + (-x).exp().ln_1p() } else { x.exp().ln_1p() }
}

/// `ln(p / (1 - p))`.
pub fn logit(p: f64) -> f64 {
    p.ln() - (-p).ln_1p()
}

/// Checks that log-scores are neither NaN nor `+inf`; `by` names the scorer that gave them.
///
/// # Errors
/// [`Error::NotANumber`] with the index of the first that is.
pub fn check_log_scores(by: &str, log_scores: &[f64]) -> Result<()> {
    match log_scores.iter().position(|score| score.is_nan() || *score == f64::INFINITY) {
        None => Ok(()),
        Some(index) => Err(Error::NotANumber { by: by.into(), index, value: log_scores[index] }),
    }
}
