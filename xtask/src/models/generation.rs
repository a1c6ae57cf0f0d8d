//! How a model is decoded.

use disco_lm::{Decoding, Generation, RepetitionScope};

use crate::spec::ModelSpec;

/// The length and decoding of samples, as a spec file describes them.
pub(crate) fn generation(model: &ModelSpec) -> Generation {
    let decoding = Decoding {
        temperature: model.temperature,
        top_k: model.top_k.unwrap_or(0),
        top_p: model.top_p.unwrap_or(1.0),
        min_p: model.min_p.unwrap_or(0.0),
        typical_p: model.typical_p.unwrap_or(1.0),
        repetition_penalty: model.repetition_penalty,
        repetition_scope: if model.penalize_context { RepetitionScope::All } else { RepetitionScope::New },
        min_new_tokens: model.min_new_tokens,
        forbidden_tokens: model.forbidden_tokens.clone(),
    };
    Generation { max_new_tokens: model.max_new_tokens, decoding, ..Generation::default() }
}
