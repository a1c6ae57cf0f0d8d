//! The texts that a model may give: a list of choices, or a grammar.

use std::{collections::HashSet, path::Path};

use disco_core::input;
use serde::{Deserialize, Serialize};

use super::{
    allowed::{SOME_TEXT, TEXTS},
    fields::Fields,
    section::Section,
};
use crate::contexts::TextContext;

/// The list of the only texts that the model may give; each is scored exactly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ChoicesSpec {
    /// The same in every context.
    Texts(Vec<String>),
    /// The strings in a column of each context.
    Column {
        /// The name of the column: a list of strings in JSON lines.
        column: String,
    },
}

impl ChoicesSpec {
    /// The choices in a context.
    ///
    /// # Errors
    /// The problem with the column, as a sentence that names it.
    pub fn of(&self, context: &TextContext) -> Result<Vec<String>, String> {
        let column = match self {
            Self::Texts(texts) => return Ok(texts.clone()),
            Self::Column { column } => column,
        };
        let wrong = || format!("field `{column}` is no list of different strings, at least one");
        let value = context.columns().get(column);
        let value = value.ok_or_else(|| format!("there is no field `{column}`"))?;
        let texts: Option<Vec<String>> = value
            .as_array()
            .and_then(|items| items.iter().map(|item| item.as_str().map(str::to_owned)).collect());
        texts.filter(|texts| is_list(texts)).ok_or_else(wrong)
    }
}

/// Whether texts are at least one, and all different.
fn is_list(texts: &[String]) -> bool {
    let mut known = HashSet::new();
    !texts.is_empty() && texts.iter().all(|text| known.insert(text))
}

/// A grammar: the model may give only its texts. The files that a run file names are read with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrammarSpec {
    /// Texts that match a JSON schema.
    JsonSchema(String),
    /// Texts that match a regular expression as a whole.
    Regex(String),
    /// Texts of a grammar in the format of Lark.
    Lark(String),
    /// These texts.
    Choices(Vec<String>),
}

/// The fields of `[model.grammar]`, of which there is one.
const GRAMMAR: [&str; 4] = ["json_schema", "regex", "lark", "choices"];

/// Reads the field `choices` of `[model]`.
pub(super) fn read_choices(model: &Section<'_>) -> Option<ChoicesSpec> {
    if model.is_table("choices") {
        return model.column_name("choices").map(|column| ChoicesSpec::Column { column });
    }
    let texts = model.strings("choices", &TEXTS)?;
    if !is_list(&texts) {
        model.wrong("choices", "has a text twice", "texts that differ");
        return None;
    }
    Some(ChoicesSpec::Texts(texts))
}

/// Reads the table `[model.grammar]`.
pub(super) fn read_grammar(model: &Section<'_>, folder: &Path) -> Option<GrammarSpec> {
    if !model.has("grammar") {
        return None;
    }
    model.table(
        "grammar",
        |_| Fields::of(&GRAMMAR),
        |grammar| {
            let given = GRAMMAR.into_iter().filter(|field| grammar.has(field)).count();
            let may_have = GRAMMAR.into_iter().any(|field| grammar.may_have(field));
            if given > 1 || !may_have {
                let message = if given > 1 { "has more than one grammar" } else { "has no grammar" };
                grammar.wrong_table(message, "one of: json_schema, regex, lark, choices", &GRAMMAR);
                return None;
            }
            let file = |field: &'static str| {
                let path = folder.join(grammar.string(field, &SOME_TEXT)?);
                let text = input::read_text(&path);
                text.map_err(|error| {
                    grammar.wrong(field, &format!("gives no grammar: {error}"), "a file (UTF-8)")
                })
                .ok()
            };
            if let Some(schema) = file("json_schema") {
                if let Err(error) = serde_json::from_str::<serde_json::Value>(&schema) {
                    grammar.wrong(
                        "json_schema",
                        &format!("gives no grammar: {error}"),
                        "a file with a JSON schema",
                    );
                }
                return Some(GrammarSpec::JsonSchema(schema));
            }
            if let Some(expression) = grammar.string("regex", &SOME_TEXT) {
                return Some(GrammarSpec::Regex(expression));
            }
            file("lark")
                .map(GrammarSpec::Lark)
                .or_else(|| grammar.strings("choices", &TEXTS).map(GrammarSpec::Choices))
        },
    )
}
