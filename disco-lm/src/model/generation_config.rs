//! Settings of generation.

use serde::{Deserialize, Serialize};

use crate::{Decoding, Error, Result};

/// How long sequences may be, how they are decoded, and how many are drawn at once.
///
/// | parameter | default | range |
/// |---|---|---|
/// | `max_new_tokens` | 40 | at least 1; context and new tokens together fit into the model's positions |
/// | `decoding` | the model's own distribution | see [`Decoding`] |
/// | `batch` | 128 | at least 1 |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Generation {
    /// A sequence is cut after this many tokens, if it has no end token before.
    pub max_new_tokens: usize,
    /// How logits become the distribution of the next token.
    pub decoding: Decoding,
    /// How many sequences are worked on at once, by all threads together; when one has ended, another takes its place. There are
    /// fewer if the contexts are many and long. A larger number is faster. It changes results by rounding at most; on `flex`,
    /// the samples of decoder-only models are the same to the bit.
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
