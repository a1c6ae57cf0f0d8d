//! The choices of one context as token sequences.

use std::{collections::BTreeMap, sync::Arc};

use disco_core::Space;

use super::{
    cache::{Cache, Key},
    encode::EncodedContext,
    list::Choices,
};
use crate::{Completion, Error, LanguageModel, Result, error::ChoiceProblem};

/// The choices of one context, encoded.
#[derive(Debug)]
pub(crate) struct Listed {
    /// The token ids of the context.
    pub(crate) context: Vec<u32>,
    /// The choices, in the order of their texts. After several end tokens that a model may have, the first one stands for all.
    pub(crate) space: Space<Completion>,
    /// The sequences whose probabilities are added to that of a choice: [`Self::per_choice`] of them for each choice, in order.
    pub(crate) sequences: Vec<Vec<u32>>,
    pub(crate) per_choice: usize,
    /// The positions of the sequences by the `max_new_tokens` of the model of which they are sequences: as many as the longest
    /// of them has where an end token ends all of them; else as many as each has, after which the model's sequence is cut.
    pub(crate) by_maximum: BTreeMap<usize, Vec<usize>>,
}

/// The choices of every context, each encoded once.
#[derive(Debug)]
pub(crate) struct Listing<C: ?Sized> {
    choices: Choices<C>,
    /// They depend on the tokenizer and the template of the model alone, and on its end tokens.
    encoded: Cache<Arc<Listed>>,
}

impl<C: ?Sized> Listing<C> {
    /// # Errors
    /// [`Error::Choices`] where an end token has to follow and the model has none.
    pub(crate) fn new(model: &LanguageModel, choices: Choices<C>) -> Result<Self> {
        if choices.has_end_token() && model.tokens().shared.end_tokens.is_empty() {
            return Err(Error::Choices { context: None, problem: ChoiceProblem::NoEndToken });
        }
        Ok(Self { choices, encoded: Cache::default() })
    }
}

impl<C: AsRef<str> + ?Sized> Listing<C> {
    /// The text and the choices of a context.
    pub(crate) fn key(&self, context: &C) -> Result<Key> {
        let texts = self.choices.texts(context).map_err(|problem| refused(context.as_ref(), problem))?;
        Ok((context.as_ref().to_owned(), texts))
    }

    /// The encoded choices of a key.
    pub(crate) fn listed(&self, model: &LanguageModel, key: &Key) -> Result<Arc<Listed>> {
        self.encoded.get_or(key, || self.encode(model, key).map(Arc::new))
    }

    fn encode(&self, model: &LanguageModel, (context, texts): &Key) -> Result<Listed> {
        let refused = |problem| refused(context, problem);
        let encoded = EncodedContext::new(model, context)?;
        let shared = &model.tokens().shared;
        let ends: Vec<&[u32]> = match self.choices.has_end_token() {
            // Sorted, and a configuration may name one twice.
            true => shared.end_tokens.chunk_by(|one, other| one == other).map(|same| &same[..1]).collect(),
            false => vec![&[]],
        };
        let (mut completions, mut sequences) = (Vec::with_capacity(texts.len()), Vec::new());
        for text in texts.iter() {
            let ids = encoded.encode(model, text)?.map_err(refused)?;
            model.tokenizer().check_ids(&ids, model.tokens().vocabulary())?;
            if let Some(&id) = ids.iter().find(|id| model.tokens().is_end(**id)) {
                return Err(refused(ChoiceProblem::EndToken { text: text.clone(), id }));
            }
            let length = ids.len() + ends[0].len();
            if length == 0 {
                return Err(refused(ChoiceProblem::NoToken { text: text.clone() }));
            }
            let positions = shared.config.max_positions;
            if encoded.ids.len() + length > positions {
                let (text, context) = (text.clone(), encoded.ids.len());
                return Err(refused(ChoiceProblem::TooLong { text, tokens: length, context, positions }));
            }
            let of_choice = ends.iter().map(|end| [ids.as_slice(), end].concat());
            let first = sequences.len();
            sequences.extend(of_choice);
            let finished = self.choices.has_end_token();
            completions.push(Completion { tokens: sequences[first].clone(), text: text.clone(), finished });
        }
        let longest = sequences.iter().map(Vec::len).max().unwrap_or(0);
        let mut by_maximum: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (position, sequence) in sequences.iter().enumerate() {
            let most = if self.choices.has_end_token() { longest } else { sequence.len() };
            by_maximum.entry(most).or_default().push(position);
        }
        let space = Space::new(completions)?;
        Ok(Listed { context: encoded.ids, space, sequences, per_choice: ends.len(), by_maximum })
    }
}

/// The error for the choices of a context.
pub(crate) fn refused(context: &str, problem: ChoiceProblem) -> Error {
    Error::Choices { context: Some(context.to_owned()), problem }
}
