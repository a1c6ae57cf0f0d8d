//! The texts of a language model for a server: prompts become token ids, and tokens become text.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use disco_lm::{LanguageModel, Message};

use super::engine::{ChatMessage, Prompt, Refusal};

/// The texts of a language model.
#[derive(Debug)]
pub(super) struct LmText {
    model: LanguageModel,
    positions: usize,
    /// The texts of tokens that were shown.
    texts: Mutex<HashMap<u32, String>>,
}

impl LmText {
    pub(super) fn new(model: LanguageModel) -> Self {
        let positions = model.tokens().positions();
        Self { model, positions, texts: Mutex::default() }
    }

    pub(super) fn positions(&self) -> usize {
        self.positions
    }

    pub(super) fn of_text(&self, text: String) -> Result<Prompt, Refusal> {
        let ids = self.model.encode(&text).map_err(|error| Refusal::Invalid(error.to_string()))?;
        Ok(Prompt { ids, text })
    }

    pub(super) fn of_ids(&self, ids: Vec<u32>) -> Result<Prompt, Refusal> {
        let text = self.text_after(&[], &ids)?;
        Ok(Prompt { ids, text })
    }

    pub(super) fn of_chat(&self, messages: &[ChatMessage]) -> Result<Prompt, Refusal> {
        let message = |message: &ChatMessage| Message::new(&*message.role, &*message.content);
        let messages: Vec<Message> = messages.iter().map(message).collect();
        let ids = self.model.chat_ids(&messages).map_err(|error| Refusal::Invalid(error.to_string()))?;
        Ok(Prompt { ids, text: String::new() })
    }

    /// The text that tokens add to the text of the tokens before them.
    pub(super) fn text_after(&self, before: &[u32], tokens: &[u32]) -> Result<String, Refusal> {
        if let Some(id) = tokens.iter().find(|id| **id as usize >= self.model.tokens().vocabulary()) {
            return Err(Refusal::Invalid(format!("token id {id} is not in the vocabulary")));
        }
        let completion = self.model.completion_after(before, tokens.to_vec());
        completion.map(|completion| completion.text).map_err(|error| Refusal::Failed(error.to_string()))
    }

    /// The text of a token by itself: its id, where it has none of its own.
    pub(super) fn token_text(&self, id: u32) -> String {
        let own = || {
            let text = self.model.completion(vec![id]).map(|completion| completion.text).unwrap_or_default();
            let is_own = !text.is_empty() && !text.contains(char::REPLACEMENT_CHARACTER);
            if is_own { text } else { format!("token_id:{id}") }
        };
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        texts.entry(id).or_insert_with(own).clone()
    }
}
