//! Rows of a table: lines of text, JSON lines, or CSV.

use std::{fmt, path::Path};

use disco_core::{Contexts, infinite, input};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::Value;

use super::Columns;

/// The layout of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableFormat {
    /// A row a line, with one column.
    Text,
    /// A JSON object a line.
    JsonLines,
    /// Comma-separated values, with the names of the columns in the first line.
    Csv,
}

/// A row, and the number of its line from 1.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) line: u64,
    pub(crate) columns: Columns,
}

/// Reads the rows of a file, at least one. A line of text becomes the column `column`.
///
/// # Errors
/// The problem with the file, as a sentence that names it, and the line where it has one.
///
/// # Cost
/// Memory for the whole table.
pub(crate) fn read_rows(path: &Path, format: TableFormat, column: &str) -> Result<Vec<Row>, String> {
    match format {
        TableFormat::Text => read_text(path, column),
        TableFormat::JsonLines => read_json_lines(path),
        TableFormat::Csv => read_csv(path),
    }
}

/// The lines of a text file. An empty text is not taken from a blank line, but only where it is asked for as such.
fn read_text(path: &Path, column: &str) -> Result<Vec<Row>, String> {
    let lines = Contexts::from_text_file(path).map_err(|error| error.to_string())?;
    let row = |(line, text): (u64, &String)| match text.trim().is_empty() {
        true => Err(format!(
            "{}, line {line}: the line is blank; an empty context is asked for by list = [\"\"], or in JSON lines",
            path.display()
        )),
        false => Ok(Row { line, columns: Columns::from([(column.into(), text.as_str().into())]) }),
    };
    (1..).zip(lines.items()).map(row).collect()
}

fn read_json_lines(path: &Path) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    // Blank lines at the end of a file are no rows.
    let mut blank = None;
    for line in input::read_lines(path).map_err(|error| error.to_string())? {
        let (number, text) = line.map_err(|error| error.to_string())?;
        if text.trim().is_empty() {
            blank.get_or_insert(number);
            continue;
        }
        let at =
            |line: usize, problem: &dyn fmt::Display| format!("{}, line {line}: {problem}", path.display());
        if let Some(blank) = blank {
            return Err(at(blank, &"the line is blank; allowed: an object a line"));
        }
        let Object(columns) = serde_json::from_str(&infinite::from_python(&text))
            .map_err(|error| at(number, &without_place(&error)))?;
        rows.push(Row { line: number as u64, columns });
    }
    if rows.is_empty() { Err(format!("{} has no line that is not blank", path.display())) } else { Ok(rows) }
}

/// The problem with a line without its place, in which the line is always 1.
fn without_place(error: &serde_json::Error) -> String {
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = error.to_string();
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

fn read_csv(path: &Path) -> Result<Vec<Row>, String> {
    let text = input::read_text(path).map_err(|error| error.to_string())?;
    let named = |problem: &dyn fmt::Display| format!("{}: {problem}", path.display());
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names = reader.headers().map_err(|error| named(&error))?.clone();
    for (index, name) in names.iter().enumerate() {
        if name.trim().is_empty() {
            return Err(named(&format!("line 1: column {} has no name", index + 1)));
        }
        if names.iter().take(index).any(|other| other == name) {
            return Err(named(&format!("line 1: two columns have the name `{name}`")));
        }
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| named(&error))?;
        let line = record.position().map_or(0, csv::Position::line);
        let columns = names.iter().zip(&record).map(|(name, value)| (name.into(), value.into()));
        rows.push(Row { line, columns: columns.collect() });
    }
    if rows.is_empty() { Err(named(&"there is no row below the names of the columns")) } else { Ok(rows) }
}

/// A JSON object in which no field comes twice.
struct Object(Columns);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Columns;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Columns, A::Error> {
                let mut columns = Columns::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if columns.contains_key(&name) {
                        return Err(A::Error::custom(format_args!("duplicate field `{name}`")));
                    }
                    columns.insert(name, value);
                }
                Ok(columns)
            }
        }
        deserializer.deserialize_map(Fields).map(Self)
    }
}
