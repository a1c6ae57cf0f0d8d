//! The share of each context in means over contexts.

use disco_core::Error;

use crate::Result;

/// Context weights that sum to 1: equal if `weights` is `None`. A weight may be 0, as in [`disco_core::Contexts::weighted`].
///
/// # Errors
/// [`Error::Empty`], [`Error::Length`]; [`Error::Invalid`] for a weight that is negative or not finite, and where all are
/// zero.
pub(crate) fn context_shares(weights: Option<&[f64]>, contexts: usize) -> Result<Vec<f64>> {
    if contexts == 0 {
        return Err(Error::Empty { what: "list of contexts".into() }.into());
    }
    let Some(weights) = weights else {
        return Ok(vec![1.0 / contexts as f64; contexts]);
    };
    Error::check_length("context weights", contexts, weights.len())?;
    if let Some((index, value)) =
        weights.iter().enumerate().find(|(_, weight)| !(**weight >= 0.0 && weight.is_finite()))
    {
        return Err(
            Error::invalid(format!("weight of context {index}"), value, "finite and not negative").into()
        );
    }
    // Divided by the largest first, so that the sum cannot overflow.
    let largest = weights.iter().copied().fold(0.0, f64::max);
    if largest == 0.0 {
        let field =
            if contexts == 1 { "weight of context 0".into() } else { "weights of contexts".to_owned() };
        return Err(Error::invalid(field, "zero", "one above zero").into());
    }
    let sum: f64 = weights.iter().map(|weight| weight / largest).sum();
    Ok(weights.iter().map(|weight| weight / largest / sum).collect())
}
