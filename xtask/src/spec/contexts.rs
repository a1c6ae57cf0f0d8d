//! The contexts of a run: a list in the file, or a file of their own.

use std::{collections::BTreeMap, path::Path};

use disco_core::{Contexts, infinite, input};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value};

use super::{
    allowed::{SOME_TEXT, TEXTS},
    names::{Alias, hint, nearest},
    section::Section,
};

/// The fields of the table.
pub(super) const CONTEXT_FIELDS: &[&str] = &["list", "file", "format", "column"];

/// The layout of a file of contexts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// A context a line.
    Text,
    /// A JSON object a line, with the context in one of its fields.
    JsonLines,
}

const FORMATS: [(&str, Format); 2] = [("text", Format::Text), ("jsonl", Format::JsonLines)];
const FORMAT_ALIASES: &[Alias] = &[
    ("json", &["jsonl"]),
    ("ndjson", &["jsonl"]),
    ("json-lines", &["jsonl"]),
    ("txt", &["text"]),
    ("plain", &["text"]),
    ("lines", &["text"]),
];

/// Endings of files that hold no context a line.
const OTHER_FORMATS: &[&str] = &[
    "arrow",
    "avro",
    "bz2",
    "csv",
    "db",
    "docx",
    "feather",
    "gz",
    "htm",
    "html",
    "npy",
    "npz",
    "parquet",
    "pdf",
    "pkl",
    "pt",
    "safetensors",
    "tsv",
    "toml",
    "xls",
    "xlsx",
    "xml",
    "xz",
    "yaml",
    "yml",
    "zip",
    "zst",
];

/// The field of a JSON line that holds the context, unless the run file names another.
const COLUMN: &str = "context";
/// The field of a JSON line in which other programs give contexts unequal weights.
const WEIGHT: &str = "weight";

/// A line with that field. Its other fields are not kept: a line may have 64 MiB.
#[derive(Deserialize)]
struct Weighted {
    weight: Value,
}

/// Reads the contexts, at least one; an empty one if a problem was reported.
pub(super) fn read_contexts(contexts: &Section<'_>, folder: &Path) -> Vec<String> {
    find_contexts(contexts, folder).unwrap_or_else(|| vec![String::new()])
}

fn find_contexts(contexts: &Section<'_>, folder: &Path) -> Option<Vec<String>> {
    let list = contexts.strings("list", &TEXTS);
    let file = contexts.string("file", &SOME_TEXT);
    let format = contexts.choice("format", &FORMATS, FORMAT_ALIASES);
    let column = contexts.string("column", &SOME_TEXT);
    let allowed = "either list = [\"...\"] or file = \"...\"";
    let (has_list, has_file) = (contexts.has("list"), contexts.has("file"));
    if has_list == has_file && contexts.may_have("list") == has_list && contexts.may_have("file") == has_file
    {
        let fields = ["list", "file", "format", "column"];
        contexts.wrong_table("must say where the contexts are", allowed, &fields);
    }
    if has_list {
        for field in ["format", "column"] {
            if contexts.has(field) && !contexts.is_doubtful(field) {
                contexts.wrong(
                    field,
                    "is of a file, and the contexts are a list",
                    "file = \"...\" beside it",
                );
            }
        }
    }
    if let (Some(file), false) = (file, has_list) {
        if contexts.is_doubtful("format") || contexts.is_doubtful("column") {
            return None;
        }
        return read_file(contexts, &folder.join(file), format, column.as_deref());
    }
    list
}

fn read_file(
    contexts: &Section<'_>,
    path: &Path,
    format: Option<Format>,
    column: Option<&str>,
) -> Option<Vec<String>> {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
    let by_ending = match ending.as_str() {
        "jsonl" | "ndjson" | "json" => Some(Format::JsonLines),
        other if OTHER_FORMATS.contains(&other) => None,
        _ => Some(Format::Text),
    };
    let Some(format) = format.or(by_ending) else {
        let message = format!("is a file of the kind .{ending}");
        let allowed = "text with one context a line, or JSON lines (.jsonl); format = \"text\" takes the lines of any file as \
                       they stand";
        contexts.wrong("file", &message, allowed);
        return None;
    };
    let (read, allowed) = match format {
        Format::Text => {
            if column.is_some() {
                let message = "is of JSON lines, and the file is read as text";
                contexts.wrong("column", message, "format = \"jsonl\" beside it, or no `column`");
                return None;
            }
            (read_text_lines(path), "a text file (UTF-8) with one context a line, at least one")
        }
        Format::JsonLines => {
            let column = column.unwrap_or(COLUMN);
            let read = check_lines(path, column).and_then(|()| {
                let contexts =
                    Contexts::from_json_lines(path, column, "").map_err(|error| error.to_string())?;
                Ok(contexts.items().to_vec())
            });
            (
                read,
                "JSON lines (UTF-8): an object a line, with a string in the field that `column` names (context)",
            )
        }
    };
    match read {
        Ok(read) => Some(read),
        Err(problem) => {
            contexts.wrong("file", &format!("gives no contexts: {problem}"), allowed);
            None
        }
    }
}

/// The lines of a text file. An empty context is not taken from a blank line, but only where it is asked for as such.
fn read_text_lines(path: &Path) -> Result<Vec<String>, String> {
    let contexts = Contexts::from_text_file(path).map_err(|error| error.to_string())?;
    match contexts.items().iter().position(|line| line.trim().is_empty()) {
        Some(index) => Err(format!(
            "{}, line {}: the line is blank; an empty context is asked for by list = [\"\"], or in JSON lines",
            path.display(),
            index + 1
        )),
        None => Ok(contexts.items().to_vec()),
    }
}

/// Checks the lines that are JSON objects: each has the column, and none has a weight of its own.
fn check_lines(path: &Path, column: &str) -> Result<(), String> {
    let mut weight = None;
    for line in input::read_lines(path).map_err(|error| error.to_string())? {
        let (number, line) = line.map_err(|error| error.to_string())?;
        let line = infinite::from_python(&line);
        // A line that is no JSON object is an error of the reader, which names the problem with it.
        let Ok(names) = serde_json::from_str::<BTreeMap<String, IgnoredAny>>(&line) else { continue };
        let place = || format!("{}, line {number}", path.display());
        let refused = |error: serde_json::Error| format!("{}: {error}", place());
        if !names.contains_key(column) {
            let record = serde_json::from_str(&line).map_err(refused)?;
            return Err(format!("{}: there is no field `{column}`{}", place(), columns(column, &record)));
        }
        let own = match names.contains_key(WEIGHT) {
            true => Some(serde_json::from_str::<Weighted>(&line).map_err(refused)?.weight),
            false => None,
        };
        match &weight {
            None => weight = Some(own),
            Some(first) if is_same_weight(first.as_ref(), own.as_ref()) => {}
            Some(_) => {
                let own = own.map_or("none".to_owned(), |own| own.to_string());
                return Err(format!(
                    "{}: `{WEIGHT}` is {own}, another than that of the first line; a run counts all of its contexts equally",
                    place()
                ));
            }
        }
    }
    Ok(())
}

/// Whether two weights are the same number, however it is written, or the same of something else.
fn is_same_weight(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a.and_then(Value::as_f64), b.and_then(Value::as_f64)) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// The fields of a line that hold strings, as the end of a message on the missing field `column`.
fn columns(column: &str, record: &Map<String, Value>) -> String {
    let strings: Vec<&str> =
        record.iter().filter(|(_, value)| value.is_string()).map(|(name, _)| name.as_str()).collect();
    let near = nearest(column, &strings);
    if !near.is_empty() {
        return hint(&near);
    }
    // The names that other programs give it.
    let known = ["prompt", "text", "question", "query", "input", "instruction", "prefix"];
    match (known.iter().find(|name| strings.contains(name)), strings.is_empty()) {
        (Some(known), _) => format!("; it has `{known}`: column = \"{known}\" takes that"),
        (None, false) => format!("; its strings are: {}", strings.join(", ")),
        (None, true) => "; it has no strings".into(),
    }
}
