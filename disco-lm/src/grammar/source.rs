//! The public type of a grammar: its source, checked without a model.

use std::fmt;

use llguidance::api::TopLevelGrammar;
use serde_json::Value;

use crate::{Error, Result, grammar::engine::compile, text::token_bytes::SPECIAL};

/// The longest source, in bytes. The library recurses into rules that refer to each other; so many fit onto the stack that it gets.
const LONGEST: usize = 1 << 18;

/// A grammar: a set of texts, which [`LanguageModel::under_grammar`](crate::LanguageModel::under_grammar) keeps a model in.
///
/// It reads the text that a sequence adds to its context, as the bytes of its tokens, from the first to the last: a grammar that shall
/// allow a space before an answer has to say so. Special tokens have no text, and are allowed only where a Lark grammar names them
/// (`<|name|>`). End tokens are allowed where the text so far is a complete one.
///
/// | source | it is |
/// |---|---|
/// | [`regex`](Self::regex) | a regular expression of the whole text, in the syntax of Rust's `regex`, without look-around |
/// | [`json_schema`](Self::json_schema) | a JSON schema; [what is supported](https://github.com/guidance-ai/llguidance/blob/main/docs/json_schema.md) |
/// | [`lark`](Self::lark) | a context-free grammar in a [variant of Lark's syntax](https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md) |
/// | [`choices`](Self::choices) | a list of texts |
///
/// A source has at most 256 KiB, and the library bounds the time and memory of compiling it and of every token: a stranger's source ends
/// in an error, not in hours of work.
#[derive(Clone, PartialEq, Eq)]
pub struct Grammar {
    form: &'static str,
    source: String,
}

impl Grammar {
    /// The texts that a regular expression matches from beginning to end.
    ///
    /// # Errors
    /// [`Error::Grammar`].
    pub fn regex(expression: &str) -> Result<Self> {
        Self::checked("regex", expression.into())
    }

    /// The JSON texts that are valid under a schema, which is given as JSON.
    ///
    /// A keyword that the library does not know is refused rather than ignored. White space between the parts of a value is free; the
    /// schema's field `"x-guidance": {"whitespace_flexible": false}` leaves none. Fields come in the order of `properties`.
    ///
    /// # Errors
    /// [`Error::Grammar`].
    pub fn json_schema(schema: &str) -> Result<Self> {
        Self::checked("json_schema", schema.into())
    }

    /// The texts that a context-free grammar derives from its rule `start`.
    ///
    /// # Errors
    /// [`Error::Grammar`]. Special tokens that the grammar names are looked up when it meets a model.
    pub fn lark(grammar: &str) -> Result<Self> {
        Self::checked("lark", grammar.into())
    }

    /// These texts and no other.
    ///
    /// # Errors
    /// [`Error::Grammar`] for an empty list, or one with an empty text.
    pub fn choices<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Self> {
        let escaped: Vec<String> = texts.into_iter().map(|text| regex::escape(text.as_ref())).collect();
        let refused = |reason: &str| Err(Error::Grammar { form: "choices", reason: reason.into() });
        if escaped.is_empty() {
            return refused("there is no text to choose");
        }
        if escaped.iter().any(String::is_empty) {
            return refused("one of the texts is empty");
        }
        Self::checked("choices", escaped.join("|"))
    }

    fn checked(form: &'static str, source: String) -> Result<Self> {
        let grammar = Self { form, source };
        if grammar.source.len() > LONGEST {
            let reason = format!("it has {} bytes; allowed: up to {LONGEST}", grammar.source.len());
            return Err(grammar.refused(reason));
        }
        // Single bytes are tokens enough for all errors but those of special tokens. The library asks for one special token.
        let bytes =
            (0..=u8::MAX).map(|byte| vec![byte]).chain([[&[SPECIAL], &b"<special>"[..]].concat()]).collect();
        match compile(grammar.parsed()?, bytes, true) {
            Err(reason) if !(form == "lark" && reason.contains("special token")) => {
                Err(grammar.refused(reason))
            }
            _ => Ok(grammar),
        }
    }

    /// The grammar as the library takes it.
    pub(super) fn parsed(&self) -> Result<TopLevelGrammar> {
        match self.form {
            "json_schema" => {
                let schema: Value =
                    serde_json::from_str(&self.source).map_err(|error| self.refused(error.to_string()))?;
                Ok(TopLevelGrammar::from_json_schema(schema))
            }
            "lark" => Ok(TopLevelGrammar::from_lark(self.source.clone())),
            _ => Ok(TopLevelGrammar::from_regex(&format!("(?:{})", self.source))),
        }
    }

    /// The error that this grammar cannot be used, and why.
    pub(crate) fn refused(&self, reason: impl Into<String>) -> Error {
        Error::Grammar { form: self.form, reason: reason.into() }
    }
}

impl fmt::Debug for Grammar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple(self.form).field(&self.source).finish()
    }
}
