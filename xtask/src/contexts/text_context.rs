//! A text that samples continue, and the row that it was made from.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::terminal::cut;

/// The fields of a row, by name.
pub type Columns = BTreeMap<String, Value>;

/// A context: a text, and the columns of the row that it was made from, which features, targets and scorers may look at.
///
/// Two contexts are equal if both the text and the columns are. In JSON a context without columns is a string, and one with columns an
/// object with the fields `text` and `columns`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct TextContext {
    text: String,
    columns: Arc<Columns>,
}

impl TextContext {
    /// A text with these columns.
    pub fn new(text: impl Into<String>, columns: Columns) -> Self {
        Self { text: text.into(), columns: Arc::new(columns) }
    }

    /// The text that is continued.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The columns of its row; empty for a context that is a text alone.
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// The column as a text: a string as it is, a number or truth value as JSON has it.
    ///
    /// # Errors
    /// The problem with it, as a sentence that names the column.
    pub fn text_of(&self, column: &str) -> Result<String, String> {
        text_in(&self.columns, column)
    }

    /// The column as a finite number; a string that is a number counts as one.
    ///
    /// # Errors
    /// The problem with it, as a sentence that names the column.
    pub fn number_of(&self, column: &str) -> Result<f64, String> {
        number_in(&self.columns, column)
    }
}

impl AsRef<str> for TextContext {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl From<&str> for TextContext {
    fn from(text: &str) -> Self {
        Self::new(text, Columns::new())
    }
}

impl From<String> for TextContext {
    fn from(text: String) -> Self {
        Self::new(text, Columns::new())
    }
}

/// A column as a text.
pub(super) fn text_in(columns: &Columns, column: &str) -> Result<String, String> {
    match columns.get(column) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(value.to_string()),
        Some(value) => {
            Err(format!("field `{column}` is {}; allowed: a string, a number or a truth value", shown(value)))
        }
        None => Err(missing(columns, column)),
    }
}

/// A column as a finite number; a string that is a number counts as one, as in CSV.
pub(crate) fn number_in(columns: &Columns, column: &str) -> Result<f64, String> {
    let value = columns.get(column).ok_or_else(|| missing(columns, column))?;
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let number = number.filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| format!("field `{column}` is {}; allowed: a finite number", shown(value)))
}

/// That there is no such column, and which there are.
fn missing(columns: &Columns, column: &str) -> String {
    let names: Vec<&str> = columns.keys().map(String::as_str).collect();
    match names.is_empty() {
        true => format!("there is no field `{column}`: the context is a text alone"),
        false => format!("there is no field `{column}`; there are: {}", names.join(", ")),
    }
}

/// A value in a message.
fn shown(value: &Value) -> String {
    const MOST: usize = 60;
    cut(&value.to_string(), MOST)
}

/// A context as JSON has it.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Row { text: String, columns: Columns },
}

impl From<Written> for TextContext {
    fn from(written: Written) -> Self {
        match written {
            Written::Text(text) => text.into(),
            Written::Row { text, columns } => Self::new(text, columns),
        }
    }
}

impl From<TextContext> for Written {
    fn from(context: TextContext) -> Self {
        match context.columns.is_empty() {
            true => Self::Text(context.text),
            false => Self::Row { text: context.text, columns: context.columns.as_ref().clone() },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_texts_and_numbers_and_come_back_from_json() {
        let row =
            json!({"name": "Ann", "age": 41, "share": "0.25", "is_new": true, "tags": ["a"], "none": null});
        let columns: Columns = serde_json::from_value(row).unwrap();
        let context = TextContext::new("Dear Ann", columns);
        assert_eq!(context.text_of("name").unwrap(), "Ann");
        assert_eq!(context.text_of("age").unwrap(), "41");
        assert_eq!(context.text_of("is_new").unwrap(), "true");
        assert_eq!((context.number_of("age"), context.number_of("share")), (Ok(41.0), Ok(0.25)));
        assert_eq!(
            context.number_of("name").unwrap_err(),
            "field `name` is \"Ann\"; allowed: a finite number"
        );
        assert!(context.number_of("is_new").is_err() && context.text_of("tags").is_err());
        assert!(context.text_of("none").unwrap_err().contains("field `none` is null"));
        assert!(context.text_of("nam").unwrap_err().contains("no field `nam`; there are: age, is_new, name"));
        assert!(TextContext::from("x").text_of("a").unwrap_err().contains("a text alone"));
        for context in [context, "plain".into()] {
            let written = serde_json::to_string(&context).unwrap();
            assert_eq!(serde_json::from_str::<TextContext>(&written).unwrap(), context);
        }
        assert_eq!(serde_json::to_string(&TextContext::from("plain")).unwrap(), "\"plain\"");
    }
}
