//! Log-space arithmetic (natural logarithms, `f64`).

use crate::{Error, Result};

/// `ln sum_i exp(x_i)`, without overflow; `-inf` for no terms, NaN if a term is NaN.
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

/// `ln(exp(a) + exp(b))`.
pub fn log_add_exp(a: f64, b: f64) -> f64 {
    let (high, low) = if a >= b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

/// `ln(1 - exp(x))` for `x <= 0`, accurate near 0 and far from it (Mächler 2012).
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
