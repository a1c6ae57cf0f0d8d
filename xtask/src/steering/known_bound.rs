//! The known bound of the ratios of a target and its base.

use disco_ebm::Tilt;

use crate::{Result, contexts::TextContext, spec::ModelSpec};

/// How far the score of a sample may be from the log-probability with which it was drawn, both in f32: nats, and nats a token. The
/// largest difference that was seen in 40 tokens is 1e-4.
const ROUNDING: [f64; 2] = [1e-3, 1e-5];

/// A number that no `ln P/a` exceeds in a context, if there is one; `a` is the probability with which the base drew a sample, and P is
/// computed from the score of the sample afterwards, so that their ratio may be above the factor of the target by a rounding error. Rejection
/// at this bound accepts fewer proposals by that much, and is exact.
///
/// # Errors
/// For a context that the target was not fitted in.
pub(crate) fn known_bound<X>(
    tilt: &Tilt<TextContext, X>,
    context: &TextContext,
    model: &ModelSpec,
) -> Result<Option<f64>> {
    let [nats, per_token] = ROUNDING;
    let rounding = nats + per_token * model.max_new_tokens as f64;
    let bound = tilt.log_bound(context)?.filter(|bound| bound.is_finite());
    Ok(bound.map(|bound| bound + rounding))
}
