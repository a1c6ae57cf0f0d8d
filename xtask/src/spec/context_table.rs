//! From a table to contexts: which column is the text, and which the weight.

use std::path::Path;

use super::{
    allowed::SOME_TEXT,
    names::{Alias, hint, nearest},
    section::Section,
};
use crate::contexts::{Columns, Row, TableFormat, Template, TextContext, number_in, read_rows};

const FORMATS: [(&str, TableFormat); 3] =
    [("text", TableFormat::Text), ("jsonl", TableFormat::JsonLines), ("csv", TableFormat::Csv)];
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

/// The column that holds the context, unless the run file names another or has a template; also the column of a line of text.
pub(super) const COLUMN: &str = "context";
/// The column in which other programs give contexts unequal weights.
const WEIGHT: &str = "weight";

/// The settings by which a table becomes contexts.
pub(super) struct TableReader<'s, 'a> {
    contexts: &'s Section<'a>,
    format: Option<TableFormat>,
    column: Option<String>,
    template: Option<Template>,
    weight: Option<String>,
    /// Whether one of the settings has a problem.
    is_doubtful: bool,
}

impl<'s, 'a> TableReader<'s, 'a> {
    pub(super) fn new(contexts: &'s Section<'a>) -> Self {
        let template = contexts.string("template", &SOME_TEXT).and_then(|text| {
            let problem = match Template::parse(&text) {
                Ok(template) if template.has_columns() => return Some(template),
                Ok(_) => "has no place for a column: every context would be the same".to_owned(),
                Err(problem) => problem,
            };
            contexts.wrong("template", &problem, "a text with places for columns: \"Dear {name},\"");
            None
        });
        let column = contexts.string("column", &SOME_TEXT);
        if template.is_some() && column.is_some() {
            let message = "is given beside `template`, which makes the context";
            contexts.wrong("column", message, "one of the two");
        }
        Self {
            format: contexts.choice("format", &FORMATS, FORMAT_ALIASES),
            column,
            template,
            weight: contexts.string("weight", &SOME_TEXT),
            is_doubtful: ["format", "column", "template", "weight"]
                .iter()
                .any(|field| contexts.is_doubtful(field)),
            contexts,
        }
    }

    /// The contexts of the file that `field` names, and their weights, if they have some. Where it does not weigh them, the column of
    /// weights is one like any other.
    pub(super) fn read(
        &self,
        field: &'static str,
        path: &Path,
        weighs: bool,
    ) -> Option<(Vec<TextContext>, Option<Vec<f64>>)> {
        let contexts = self.contexts;
        let (format, allowed) = self.format_of(field, path, weighs)?;
        if self.is_doubtful {
            return None;
        }
        let rows = read_rows(path, format, COLUMN);
        let read = rows.and_then(|rows| {
            let place = |line: u64| format!("{}, line {line}", path.display());
            let weights = if weighs { self.weights(&rows, &place)? } else { None };
            Ok((self.texts(rows, &place)?, weights))
        });
        read.map_err(|problem| contexts.wrong(field, &format!("gives no contexts: {problem}"), allowed)).ok()
    }

    /// The format of a file, and the allowed contents in words.
    fn format_of(
        &self,
        field: &'static str,
        path: &Path,
        weighs: bool,
    ) -> Option<(TableFormat, &'static str)> {
        let contexts = self.contexts;
        let ending =
            path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
        let by_ending = match ending.as_str() {
            "jsonl" | "ndjson" | "json" => Some(TableFormat::JsonLines),
            "csv" => Some(TableFormat::Csv),
            other if OTHER_FORMATS.contains(&other) => None,
            _ => Some(TableFormat::Text),
        };
        let Some(format) = self.format.or(by_ending) else {
            let message = format!("is a file of the kind .{ending}");
            let allowed = "text with one context a line, JSON lines (.jsonl), or CSV (.csv); format = \"text\" takes the lines of any \
                           file as they stand";
            contexts.wrong(field, &message, allowed);
            return None;
        };
        let allowed = match format {
            TableFormat::Text => {
                let has_columns =
                    [("column", self.column.is_some()), ("weight", weighs && self.weight.is_some())];
                for (other, _) in has_columns.into_iter().filter(|(_, has)| *has) {
                    let message = "is of a table with columns, and the file is read as text";
                    contexts.wrong(
                        other,
                        message,
                        "format = \"jsonl\" or \"csv\" beside it, or no such field",
                    );
                }
                if has_columns.iter().any(|(_, has)| *has) {
                    return None;
                }
                "a text file (UTF-8) with one context a line, at least one"
            }
            TableFormat::JsonLines => {
                "JSON lines (UTF-8): an object a line, with a string in the field that `column` names (context), or a `template`"
            }
            TableFormat::Csv => {
                "CSV (UTF-8) with the names of the columns in its first line, among them the one that `column` names (context), or a `template`"
            }
        };
        Some((format, allowed))
    }

    /// The contexts of rows. Rows with only the column of the text are contexts without columns.
    pub(super) fn texts(
        &self,
        rows: Vec<Row>,
        place: &dyn Fn(u64) -> String,
    ) -> Result<Vec<TextContext>, String> {
        let column = self.column.as_deref().unwrap_or(COLUMN);
        let context = |Row { line, mut columns }: Row| {
            let text = match &self.template {
                Some(template) => template.fill(&columns),
                None => text_of(&columns, column),
            };
            let text = text.map_err(|problem| format!("{}: {problem}", place(line)))?;
            if self.template.is_none() && columns.len() == 1 {
                columns.clear();
            }
            Ok(TextContext::new(text, columns))
        };
        rows.into_iter().map(context).collect()
    }

    /// The weights of rows: those of the column that is named for it.
    fn weights(&self, rows: &[Row], place: &dyn Fn(u64) -> String) -> Result<Option<Vec<f64>>, String> {
        let Some(column) = &self.weight else { return self.check_own_weights(rows, place).map(|()| None) };
        let of = |row: &Row| {
            let at = |problem: String| format!("{}: {problem}", place(row.line));
            let weight = number_in(&row.columns, column).map_err(at)?;
            match weight >= 0.0 {
                true => Ok(weight),
                false => Err(at(format!("the weight `{column}` is {weight}; allowed: a number from 0"))),
            }
        };
        let weights = rows.iter().map(of).collect::<Result<Vec<f64>, String>>()?;
        if weights.iter().all(|weight| *weight == 0.0) {
            return Err(format!("the weights `{column}` are all 0"));
        }
        Ok(Some(weights))
    }

    /// Refuses rows with weights of their own that differ, unless the run file says what they are.
    fn check_own_weights(&self, rows: &[Row], place: &dyn Fn(u64) -> String) -> Result<(), String> {
        let number = |row: &Row| number_in(&row.columns, WEIGHT).ok();
        // It is the number that counts, however it is written.
        let is_same_number =
            |one: &Row, other: &Row| number(one).is_some_and(|weight| number(other) == Some(weight));
        let is_same = |one: &Row, other: &Row| {
            one.columns.get(WEIGHT) == other.columns.get(WEIGHT) || is_same_number(one, other)
        };
        // A text that is made from the column is no weight.
        let is_text = match &self.template {
            Some(template) => template.names(WEIGHT),
            None => self.column.as_deref() == Some(WEIGHT),
        };
        match rows.iter().find(|row| !is_text && !is_same(row, &rows[0])) {
            None => Ok(()),
            Some(row) => {
                let own = row.columns.get(WEIGHT).map_or("none".to_owned(), ToString::to_string);
                Err(format!(
                    "{}: `{WEIGHT}` is {own}, another than that of the first line; weight = \"{WEIGHT}\" weighs the contexts by it",
                    place(row.line)
                ))
            }
        }
    }
}

/// The column of a row that is its context: a string.
fn text_of(row: &Columns, column: &str) -> Result<String, String> {
    match row.get(column) {
        Some(value) => value
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| format!("field `{column}` is {value}; allowed: a string, or a `template`")),
        None => Err(format!("there is no field `{column}`{}", columns(column, row))),
    }
}

/// The columns of a row that hold strings, as the end of a message on the missing column `column`.
fn columns(column: &str, row: &Columns) -> String {
    let strings: Vec<&str> =
        row.iter().filter(|(_, value)| value.is_string()).map(|(name, _)| name.as_str()).collect();
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
