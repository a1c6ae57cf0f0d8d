//! Files of JSON: a regular file of bounded size that holds an object.

use std::{io::Read, path::Path};

use disco_core::input;
use serde_json::Value;

use crate::{Error, Result, weights::identify::other_format};

/// The most bytes of a file that is read as a whole: four times the largest tokenizer.json. Parsed JSON takes up to twenty
/// times as much memory as its text.
const LONGEST_TEXT: u64 = 1 << 27;

/// Reads a JSON file that must hold an object.
pub(crate) fn read_json(path: &Path) -> Result<Value> {
    json_object(&read_file(path)?, path)
}

/// The content of a regular file that is not larger than any file of this kind needs to be.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>> {
    let failed = |source| Error::io(path, source);
    let file = input::open_regular(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    if size > LONGEST_TEXT {
        return Err(Error::format(path, format!("it has {size} bytes; allowed: at most {LONGEST_TEXT}")));
    }
    let mut content = Vec::new();
    // A file that grows meanwhile is read no further.
    file.take(size).read_to_end(&mut content).map_err(failed)?;
    Ok(content)
}

/// A text without the byte order mark that Windows' editors write at its head: it is no part of the text.
pub(crate) fn without_mark(content: &[u8]) -> &[u8] {
    content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content)
}

/// The JSON object in the content of a file. Any other value is an error: it would look like an object without fields.
pub(crate) fn json_object(content: &[u8], path: &Path) -> Result<Value> {
    let text = without_mark(content);
    let parsed = serde_json::from_slice::<Value>(text).map_err(|error| {
        other_format(path, content, "a file in JSON").unwrap_or_else(|| Error::format(path, error))
    })?;
    let found = match parsed {
        object @ Value::Object(_) => return Ok(object),
        Value::Array(_) => "a list",
        Value::String(_) => "a text",
        Value::Number(_) => "a number",
        Value::Bool(_) => "true or false",
        Value::Null => "null",
    };
    Err(Error::format(path, format!("it holds {found}; allowed: a JSON object")))
}
