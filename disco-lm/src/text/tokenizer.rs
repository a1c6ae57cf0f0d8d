//! Tokenizers: text to token ids and back.

use std::{path::Path, sync::Arc};

use tokenizers::{ModelWrapper, Tokenizer as HfTokenizer, TruncationParams};

use crate::{
    Error, Result,
    text::{contained::contained, tokenizer_settings::TokenizerSettings, vetting::vet},
};

/// The name of the library, for messages.
const LIBRARY: &str = "tokenizers";

/// Tokens at the end of a context that a completion is decoded with, at first.
const WINDOW: usize = 8;

/// A tokenizer of Hugging Face's library, as `tokenizer.json` describes it.
///
/// The same text always has the same ids: truncation, padding and the dropout of merges, which a file may ask for, are left out.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    library: HfTokenizer,
    /// The file, for messages.
    path: Arc<Path>,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`, without the files beside it.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Format`] if it does not describe a tokenizer, [`Error::Config`] for a
    /// setting that is not supported.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = disco_core::input::read_bytes(path).map_err(|source| Error::io(path, source))?;
        Self::from_json(&bytes, path, None)
    }

    /// Reads the content of a `tokenizer.json`, and applies the settings of the files beside it; error messages name `path`.
    pub(crate) fn from_json(bytes: &[u8], path: &Path, settings: Option<&TokenizerSettings>) -> Result<Self> {
        vet(bytes, path)?;
        let read = contained(LIBRARY, || -> Result<HfTokenizer> {
            let mut tokenizer = HfTokenizer::from_bytes(bytes).map_err(|error| Error::format(path, error))?;
            tokenizer.with_padding(None);
            tokenizer.with_truncation(None).map_err(|cause| Error::Tokenizer { cause })?;
            if let ModelWrapper::BPE(model) = tokenizer.get_model()
                && model.dropout.is_some()
            {
                let mut model = model.clone();
                model.dropout = None;
                tokenizer.with_model(model);
            }
            settings.map_or(Ok(()), |settings| settings.apply(&mut tokenizer))?;
            Ok(tokenizer)
        });
        let library = read.map_err(|reason| Error::format(path, reason))??;
        Ok(Self { library, path: path.into() })
    }

    /// The answer of the library to its input; a failure names the file.
    fn ask<T>(&self, question: impl FnOnce(&HfTokenizer) -> tokenizers::Result<T>) -> Result<T> {
        let failed =
            |reason: String| Error::Tokenizer { cause: format!("{}: {reason}", self.path.display()).into() };
        contained(LIBRARY, || question(&self.library))
            .map_err(failed)?
            .map_err(|error| failed(error.to_string()))
    }

    /// This tokenizer, which cuts texts on the right so that they have at most `tokens` tokens, with the special tokens.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if there are more special tokens than that.
    pub(crate) fn truncated(mut self, tokens: usize) -> Result<Self> {
        let truncation = TruncationParams { max_length: tokens, ..TruncationParams::default() };
        self.library.with_truncation(Some(truncation)).map_err(|cause| Error::Tokenizer { cause })?;
        Ok(self)
    }

    /// The content of a `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn to_json(&self) -> Result<String> {
        self.ask(|library| library.to_string(false))
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
        let encoding = self.ask(|library| library.encode_fast(text, add_special_tokens))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of `ids`, special tokens left out.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.ask(|library| library.decode(ids, true))
    }

    /// The text that `ids` add to the text of `before`: what stands after it in the text of both together.
    ///
    /// It is not always the text of `ids` alone. A decoder of SentencePiece takes a space off the beginning of a text, one of
    /// WordPiece puts a space before each word but the first, and the bytes of one character may be spread over several tokens.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn decode_after(&self, before: &[u32], ids: &[u32]) -> Result<String> {
        // The end of the context is enough, once it has a text of its own: only the beginning of a text is changed.
        let mut length = WINDOW;
        let (before, base) = loop {
            let window = &before[before.len().saturating_sub(length)..];
            let text = self.decode(window)?;
            if !text.is_empty() || window.len() == before.len() {
                break (window, text);
            }
            length *= 4;
        };
        let whole = self.decode(&[before, ids].concat())?;
        // A context that ends inside of a character has a replacement character there, which the next tokens complete.
        let complete = base.trim_end_matches(char::REPLACEMENT_CHARACTER);
        let kept = if whole.starts_with(&base) { &base } else { complete };
        let common = whole.char_indices().zip(kept.chars()).find(|((_, a), b)| a != b);
        let end = common.map_or(kept.len().min(whole.len()), |((at, _), _)| at);
        Ok(whole[end..].to_string())
    }

    /// An ordinary token whose text is the same after itself as alone, for the text of a completion whose context is not known.
    fn anchor(&self) -> Option<u32> {
        let is_anchor = |id: &u32| {
            let decode = |ids: &[u32]| self.decode(ids).ok().filter(|text| !text.trim().is_empty());
            let (Some(one), Some(two)) = (decode(&[*id]), decode(&[*id, *id])) else { return false };
            !one.contains(char::REPLACEMENT_CHARACTER) && two.starts_with(&one) && two.len() >= 2 * one.len()
        };
        let letters = ["a", "\u{2581}a", "e", "the", "A", "0", "."]
            .into_iter()
            .filter_map(|text| self.library.token_to_id(text));
        letters.chain(0..1024).find(is_anchor)
    }

    /// The text that `ids` add to some text before them, which ends with a letter or a word.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub(crate) fn decode_after_text(&self, ids: &[u32]) -> Result<String> {
        self.decode_after(self.anchor().as_slice(), ids)
    }

    /// The id of a token by its text.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.library.token_to_id(token)
    }

    /// The decoder, as `tokenizer.json` describes it.
    pub(crate) fn decoder(&self) -> Result<serde_json::Value> {
        self.ask(|library| Ok(serde_json::to_value(library.get_decoder())?))
    }

    /// The text of each id below `vocabulary`, if the id has a token, and whether the token is special.
    pub(crate) fn tokens(&self, vocabulary: usize) -> Result<Vec<Option<(String, bool)>>> {
        self.ask(|library| {
            let added = library.get_added_tokens_decoder();
            let is_special = |id: u32| added.get(&id).is_some_and(|token| token.special);
            let token = |id: u32| library.id_to_token(id).map(|text| (text, is_special(id)));
            Ok((0..vocabulary as u32).map(token).collect())
        })
    }

    /// Checks that a model with a vocabulary of this size has the ids of the tokenizer's vocabulary. Added tokens may lie outside of
    /// it: a text that holds one cannot be read by the model, and other texts can.
    ///
    /// # Errors
    /// [`Error::Vocabulary`] if an id is not below `vocabulary`.
    pub fn check_fits(&self, vocabulary: usize) -> Result<()> {
        let added = self.library.get_added_tokens_decoder();
        let ids = self.library.get_vocab(false).into_values().filter(|id| !added.contains_key(id));
        match ids.max() {
            Some(largest_id) if largest_id as usize >= vocabulary => {
                Err(Error::Vocabulary { largest_id, vocabulary })
            }
            _ => Ok(()),
        }
    }

    /// Checks that a model with a vocabulary of this size has all of these ids.
    ///
    /// # Errors
    /// [`Error::TokenOutside`], which names the first token that it has not.
    pub(crate) fn check_ids(&self, ids: &[u32], vocabulary: usize) -> Result<()> {
        match ids.iter().find(|id| **id as usize >= vocabulary) {
            None => Ok(()),
            Some(id) => {
                let token = self.library.id_to_token(*id).unwrap_or_default();
                Err(Error::TokenOutside { token, id: *id, vocabulary })
            }
        }
    }
}

impl From<HfTokenizer> for Tokenizer {
    fn from(library: HfTokenizer) -> Self {
        Self { library, path: Path::new("tokenizer").into() }
    }
}
