//! Tokenizers: text to token ids and back.

use std::path::Path;

use tokenizers::{Tokenizer as HfTokenizer, TruncationParams};

use crate::{Error, Result};

/// A tokenizer of Hugging Face's library, as `tokenizer.json` describes it.
#[derive(Clone, Debug)]
pub struct Tokenizer(HfTokenizer);

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Format`] if it does not describe a tokenizer.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = disco_core::input::read_bytes(path).map_err(|source| Error::io(path, source))?;
        Self::from_json(&bytes, path)
    }

    /// Reads the content of a `tokenizer.json`; error messages name `path`.
    pub(crate) fn from_json(bytes: &[u8], path: &Path) -> Result<Self> {
        let mut tokenizer = HfTokenizer::from_bytes(bytes).map_err(|error| Error::format(path, error))?;
        // Files may ask for padding and truncation, which would change what is scored.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|cause| Error::Tokenizer { cause })?;
        Ok(Self(tokenizer))
    }

    /// This tokenizer, which cuts texts on the right so that they have at most `tokens` tokens, with the special tokens.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if there are more special tokens than that.
    pub(crate) fn truncated(mut self, tokens: usize) -> Result<Self> {
        let truncation = TruncationParams { max_length: tokens, ..TruncationParams::default() };
        self.0.with_truncation(Some(truncation)).map_err(|cause| Error::Tokenizer { cause })?;
        Ok(self)
    }

    /// The content of a `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn to_json(&self) -> Result<String> {
        self.0.to_string(false).map_err(|cause| Error::Tokenizer { cause })
    }

    /// The ids of `text`, with the special tokens that the tokenizer itself adds (such as a begin token).
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.ids(text, true)
    }

    /// The ids of `text` without added special tokens; special tokens that `text` spells out are recognised.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn encode_as_is(&self, text: &str) -> Result<Vec<u32>> {
        self.ids(text, false)
    }

    fn ids(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>> {
        let encoding = self.0.encode_fast(text, add_special_tokens);
        Ok(encoding.map_err(|cause| Error::Tokenizer { cause })?.get_ids().to_vec())
    }

    /// The text of `ids`, special tokens left out.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.0.decode(ids, true).map_err(|cause| Error::Tokenizer { cause })
    }

    /// The id of a token by its text.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.0.token_to_id(token)
    }

    /// Checks that a model with a vocabulary of this size has every id that the tokenizer can produce.
    ///
    /// # Errors
    /// [`Error::Vocabulary`] if an id is not below `vocabulary`.
    pub fn check_fits(&self, vocabulary: usize) -> Result<()> {
        match self.0.get_vocab(true).into_values().max() {
            Some(largest_id) if largest_id as usize >= vocabulary => {
                Err(Error::Vocabulary { largest_id, vocabulary })
            }
            _ => Ok(()),
        }
    }
}

impl From<HfTokenizer> for Tokenizer {
    fn from(tokenizer: HfTokenizer) -> Self {
        Self(tokenizer)
    }
}
