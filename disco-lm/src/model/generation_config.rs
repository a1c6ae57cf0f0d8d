//! Settings of generation.

use serde::{Deserialize, Serialize};

use crate::{Decoding, Error, Result};

/// Settings of generation: when a sequence ends, how it is decoded, and how many are drawn at once.
///
/// | parameter | default | range |
/// |---|---|---|
/// | `max_new_tokens` | 40 | 1 to the model's positions less the context |
/// | `decoding` | the model's own distribution | see [`Decoding`] |
/// | `batch` | 128 | at least 1 |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Generation {
    /// A sequence is cut after this many tokens, if it has no end token before.
    pub max_new_tokens: usize,
    /// How logits become the distribution of the next token.
    pub decoding: Decoding,
    /// How many sequences are in progress at once, on all threads together; when one ends, its batch slot goes to another. Fewer
    /// are in progress if their contexts are many and long. A larger batch is faster. The value changes results only by rounding; on
    /// `flex`, it does not change any bit of what a decoder draws.
    pub batch: usize,
}

impl Default for Generation {
    fn default() -> Self {
        Self { max_new_tokens: 40, decoding: Decoding::default(), batch: 128 }
    }
}

impl Generation {
    /// Checks every field on its own, without a model.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the field.
    pub fn validate(&self) -> Result<()> {
        if self.max_new_tokens == 0 {
            return Err(Error::invalid("max_new_tokens", 0, "at least 1"));
        }
        if self.batch == 0 {
            return Err(Error::invalid("batch", 0, "at least 1"));
        }
        self.decoding.validate()
    }

    /// Checks every field, also against the size of a vocabulary and its end tokens.
    pub(crate) fn validate_for(&self, vocabulary: usize, end_tokens: &[u32]) -> Result<()> {
        self.validate()?;
        self.decoding.validate_for(vocabulary, end_tokens, self.max_new_tokens)
    }
}
