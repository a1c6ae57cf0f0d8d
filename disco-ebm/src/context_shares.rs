//! The share of each context in means over contexts.

use disco_core::Error;

use crate::Result;

/// Context weights that sum to 1: equal if `weights` is `None`.
///
/// # Errors
/// [`Error::Empty`], [`Error::Length`]; [`Error::Invalid`] for a weight that is not positive and finite.
pub(crate) fn context_shares(weights: Option<&[f64]>, contexts: usize) -> Result<Vec<f64>> {
    if contexts == 0 {
        return Err(Error::Empty { what: "list of contexts".into() }.into());
    }
    let Some(weights) = weights else {
        return Ok(vec![1.0 / contexts as f64; contexts]);
    };
    Error::check_length("context weights", contexts, weights.len())?;
    if let Some((index, value)) =
        weights.iter().enumerate().find(|(_, weight)| !(**weight > 0.0 && weight.is_finite()))
    {
        return Err(Error::invalid(format!("weight of context {index}"), value, "positive and finite").into());
    }
    // Divided by the largest first, so that the sum cannot overflow.
    let largest = weights.iter().copied().fold(0.0, f64::max);
    let sum: f64 = weights.iter().map(|weight| weight / largest).sum();
    Ok(weights.iter().map(|weight| weight / largest / sum).collect())
}
