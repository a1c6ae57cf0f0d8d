//! The fields of a JSON request, each read once with its type and range. A field that nobody reads is an error: a setting that is not
//! known is not left out without a word.

use serde_json::{Map, Value};

use super::api_error::ApiError;

/// The fields of a request that have not been read.
pub(super) struct Fields(Map<String, Value>);

/// Fields that describe the client, and change nothing.
const IGNORED: [&str; 6] =
    ["user", "metadata", "store", "safety_identifier", "prompt_cache_key", "service_tier"];

/// The name of a field, whether a value changes nothing, and such values in words.
type Neutral = (&'static str, fn(&Value) -> bool, &'static str);

/// Fields of OpenAI's API that are not supported, but for a value that leaves everything as it is.
const NEUTRAL: [Neutral; 10] = [
    ("frequency_penalty", is_zero, "0"),
    ("presence_penalty", is_zero, "0"),
    ("logit_bias", is_empty, "{}"),
    ("suffix", is_empty, "null"),
    ("tools", is_empty, "[]"),
    ("functions", is_empty, "[]"),
    ("tool_choice", |value| value == "none" || value == "auto", "\"none\""),
    ("parallel_tool_calls", Value::is_boolean, "a boolean, which changes nothing"),
    ("response_format", |value| value["type"] == "text", "{\"type\": \"text\"}"),
    (
        "modalities",
        |value| value.as_array().is_some_and(|all| all.iter().all(|one| one == "text")),
        "[\"text\"]",
    ),
];

fn is_zero(value: &Value) -> bool {
    value.as_f64() == Some(0.0)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        _ => false,
    }
}

impl Fields {
    pub(super) fn new(body: Value) -> Result<Self, ApiError> {
        match body {
            Value::Object(mut fields) => {
                // Null is the same as a field that is left out.
                fields.retain(|_, value| !value.is_null());
                Ok(Self(fields))
            }
            _ => Err(ApiError::new(axum::http::StatusCode::BAD_REQUEST, "the body is no JSON object")),
        }
    }

    pub(super) fn take(&mut self, field: &str) -> Option<Value> {
        self.0.remove(field)
    }

    /// A text.
    pub(super) fn text(&mut self, field: &str) -> Result<Option<String>, ApiError> {
        self.read(field, "a string", |value| value.as_str().map(str::to_owned))
    }

    pub(super) fn flag(&mut self, field: &str) -> Result<bool, ApiError> {
        Ok(self.read(field, "true or false", Value::as_bool)?.unwrap_or(false))
    }

    /// A whole number from `least` to `most`.
    pub(super) fn whole(
        &mut self,
        field: &str,
        least: usize,
        most: usize,
    ) -> Result<Option<usize>, ApiError> {
        let allowed = format!("a whole number from {least} to {most}");
        self.read(field, &allowed, |value| {
            let value = usize::try_from(value.as_u64()?).ok()?;
            (least..=most).contains(&value).then_some(value)
        })
    }

    /// A number for which `holds` does; `default` if it is left out.
    pub(super) fn number(
        &mut self,
        field: &str,
        default: f64,
        allowed: &str,
        holds: impl Fn(f64) -> bool,
    ) -> Result<f64, ApiError> {
        let value = self.read(field, allowed, |value| value.as_f64().filter(|value| holds(*value)))?;
        Ok(value.unwrap_or(default))
    }

    /// A whole number, which may be negative: its bits.
    pub(super) fn seed(&mut self) -> Result<Option<u64>, ApiError> {
        self.read("seed", "a whole number of at most 64 bits", |value| {
            value.as_u64().or_else(|| value.as_i64().map(i64::cast_unsigned))
        })
    }

    /// A field as `parse` reads it, which gives `None` for a value that is not allowed.
    pub(super) fn read<T>(
        &mut self,
        field: &str,
        allowed: &str,
        parse: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(value) = self.take(field) else { return Ok(None) };
        match parse(&value) {
            Some(read) => Ok(Some(read)),
            None => Err(ApiError::invalid(field, format!("is {}; allowed: {allowed}", shown(&value)))),
        }
    }

    /// Checks that no field is left that would have changed the answer.
    pub(super) fn finish(mut self) -> Result<(), ApiError> {
        for (field, holds, allowed) in NEUTRAL {
            self.read(field, allowed, |value| holds(value).then_some(()))?;
        }
        match self.0.keys().find(|field| !IGNORED.contains(&field.as_str())) {
            Some(field) => Err(ApiError::invalid(field, "is no field of this request")),
            None => Ok(()),
        }
    }
}

/// The beginning of a value, for messages.
fn shown(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
