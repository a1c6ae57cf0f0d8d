//! Texts that a feature looks for: the same in every context, or the column of a context.

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::{Allowed, section::Section};
use crate::contexts::TextContext;

/// A text that a feature looks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Phrase {
    /// The same text in every context.
    Text(String),
    /// The text of a column of the context.
    Column {
        /// The name of the column.
        column: String,
    },
}

impl From<&str> for Phrase {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl Phrase {
    /// The text, if it is the same in every context.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Column { .. } => None,
        }
    }

    /// The phrase with the text that it has in a context.
    ///
    /// # Errors
    /// The problem with the column, as a sentence that names it; an empty text is one.
    pub(crate) fn in_context(&self, context: &TextContext) -> Result<Self, String> {
        match self {
            Self::Text(_) => Ok(self.clone()),
            Self::Column { column } => match context.text_of(column)? {
                text if text.trim().is_empty() => {
                    Err(format!("field `{column}` has no text; allowed: a text that can be looked for"))
                }
                text => Ok(Self::Text(text)),
            },
        }
    }
}

/// A word or piece of text to find.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Words {
    /// The text to find.
    pub text: Phrase,
    /// Whether occurrences count only where neither side continues with a letter, digit or underscore.
    pub whole_word: bool,
    /// Whether upper and lower case are the same.
    pub ignore_case: bool,
}

impl Words {
    /// The regular expression that finds it; `None` where the text depends on the context. A half boundary holds where the other side
    /// has no character of a word, also for words that begin or end with punctuation.
    ///
    /// # Errors
    /// For a text that is too large to compile.
    pub(crate) fn pattern(&self) -> Option<Result<Regex, regex::Error>> {
        let escaped = regex::escape(self.text.text()?);
        let bounded =
            if self.whole_word { format!(r"\b{{start-half}}{escaped}\b{{end-half}}") } else { escaped };
        Some(Regex::new(&if self.ignore_case { format!("(?i){bounded}") } else { bounded }))
    }
}

/// The problem with a regular expression, if it is none.
pub(super) fn pattern_problem(pattern: &str) -> Option<String> {
    let error = Regex::new(pattern).err()?.to_string();
    Some(error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned())
}

/// A text, or the name of a column.
pub(super) const PHRASE: Allowed<String> = Allowed {
    words: "a string that is not empty, or { column = \"NAME\" } for a text that differs by context",
    holds: |text| !text.is_empty(),
};

impl Section<'_> {
    /// A text, or `{ column = NAME }`, if the field is there.
    pub(super) fn phrase(&self, field: &'static str) -> Option<Phrase> {
        if self.value(field)?.get_ref().is_table() {
            return self.column_name(field).map(|column| Phrase::Column { column });
        }
        self.string(field, &PHRASE).map(Phrase::Text)
    }

    /// As [`phrase`](Self::phrase), for a field that has to be there. An empty text stands for a missing one.
    pub(super) fn required_phrase(&self, field: &'static str) -> Phrase {
        self.require(field, PHRASE.words);
        self.phrase(field).unwrap_or_else(|| "".into())
    }
}
