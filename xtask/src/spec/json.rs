//! The kind `json`: whether a text is JSON, and what stands at a place in it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use toml::de::DeValue;

use super::{
    allowed::{FINITE, SOME_TEXT},
    json_path::JsonPath,
    section::Section,
    values::as_number,
};

/// A question to a text that may be one JSON value of [RFC 8259](https://www.rfc-editor.org/rfc/rfc8259), white space around it
/// aside. A text of which something else follows or which has a number such as NaN is no JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JsonSpec {
    /// The place that is asked about; `None` to ask whether the text is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<JsonPath>,
    /// The feature is 1 where this value stands at the place, else 0; without it, the feature is the number at the place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub equals: Option<JsonScalar>,
    /// The value of a text that has no number at the place; without it, such a sample is skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<f64>,
}

impl JsonSpec {
    /// Whether its values are 0 and 1.
    pub(super) fn is_binary(&self) -> bool {
        self.path.is_none() || self.equals.is_some()
    }
}

/// A JSON value that has no parts.
#[derive(Clone, Debug, PartialEq)]
pub enum JsonScalar {
    /// A string.
    Text(String),
    /// A number, as the nearest `f64`: 1 and 1.0 are the same.
    Number(f64),
    /// A truth value.
    Truth(bool),
}

impl Serialize for JsonScalar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) => serializer.serialize_f64(*number),
            Self::Truth(truth) => serializer.serialize_bool(*truth),
        }
    }
}

impl<'de> Deserialize<'de> for JsonScalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self::Text(text)),
            Value::Bool(truth) => Ok(Self::Truth(truth)),
            Value::Number(number) => {
                number.as_f64().map(Self::Number).ok_or("a number beyond f64".to_owned())
            }
            other => Err(format!("{other}: allowed is a string, a number or a truth value")),
        }
        .map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for JsonPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|problem| de::Error::custom(format!("a path {problem}")))
    }
}

impl Serialize for JsonPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// The fields of a feature of this kind, beside those of all kinds.
pub(super) const JSON_FIELDS: &[&str] = &["path", "equals", "otherwise"];

/// Reads the fields of a feature of this kind.
pub(super) fn read_json(section: &Section<'_>) -> JsonSpec {
    let path = section.string("path", &SOME_TEXT).and_then(|text| {
        let wrong = |problem: String| section.wrong("path", &problem, JsonPath::ALLOWED);
        JsonPath::parse(&text).map_err(wrong).ok()
    });
    let equals = section.value("equals").and_then(|value| {
        let value = match value.get_ref() {
            DeValue::String(text) => Some(JsonScalar::Text(text.clone().into_owned())),
            DeValue::Boolean(truth) => Some(JsonScalar::Truth(*truth)),
            other => as_number(other).filter(|number| number.is_finite()).map(JsonScalar::Number),
        };
        if value.is_none() {
            section.wrong("equals", "cannot stand there", "a string, a finite number, true or false");
        }
        value
    });
    let otherwise = section.number("otherwise", &FINITE);
    for field in ["equals", "otherwise"] {
        if section.has(field) && !section.may_have("path") && !section.is_doubtful(field) {
            section.wrong(field, "is of a place in the text", "path = \"$\" beside it, or another path");
        }
    }
    let is_doubtful = ["path", "equals", "otherwise"].iter().any(|field| section.is_doubtful(field));
    if section.has("equals") && section.has("otherwise") && !is_doubtful {
        let message = "is of a number, and with `equals` every text has a value";
        section.wrong("otherwise", message, "one of `equals` and `otherwise`");
    }
    JsonSpec { path, equals, otherwise }
}
