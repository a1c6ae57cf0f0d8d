//! Files of one record per line.

use std::path::Path;

use crate::{
    Error, Result,
    input::read_lines,
    python_json::{field_at, is_key, replace_numbers},
};

/// A line of a file, with its number from 1.
type Line = (usize, String);

/// The lines of a text file up to the last one that is not blank, each without the byte order mark that it may have at its
/// head, where files were put one after the other. A blank line has only white space, or nothing.
///
/// # Errors
/// As [`read_lines`]; [`Error::Malformed`] for a line with a zero byte, or a carriage return inside.
pub(crate) fn filled_lines(path: &Path) -> Result<impl Iterator<Item = Result<Line>>> {
    let file = path.to_path_buf();
    let lines = read_lines(path)?.map(move |line| {
        let (number, line) = line?;
        let line = match line.strip_prefix('\u{feff}') {
            Some(rest) => rest.into(),
            None => line,
        };
        match line.find(['\0', '\r']) {
            None => Ok((number, line)),
            Some(at) => {
                let found = match line.as_bytes()[at] {
                    0 => "zero, as in a binary file or in UTF-16 without a byte order mark; allowed: UTF-8",
                    _ => r"a carriage return without a line feed; allowed: lines that end with \n or \r\n",
                };
                Err(Error::malformed(&file, number, format!("byte {} of the line is {found}", at + 1)))
            }
        }
    });
    Ok(WithoutBlankEnd { lines, blanks: String::new(), given: 0, number: 0, next: None })
}

/// Lines without the blank ones after the last that is not blank.
struct WithoutBlankEnd<I> {
    lines: I,
    /// Blank lines in sequence, each with a line feed: few bytes each, as there may be millions.
    blanks: String,
    /// The bytes of `blanks` that were given out.
    given: usize,
    /// The number of the next blank line.
    number: usize,
    /// The line after the blank ones.
    next: Option<Result<Line>>,
}

impl<I: Iterator<Item = Result<Line>>> Iterator for WithoutBlankEnd<I> {
    type Item = Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.next.is_none() {
            match self.lines.next()? {
                Ok((number, text)) if text.trim().is_empty() => {
                    if self.blanks.is_empty() {
                        self.number = number;
                    }
                    self.blanks.push_str(&text);
                    self.blanks.push('\n');
                }
                line => self.next = Some(line),
            }
        }
        if let Some((blank, _)) = self.blanks[self.given..].split_once('\n') {
            self.given += blank.len() + 1;
            self.number += 1;
            return Some(Ok((self.number - 1, blank.into())));
        }
        self.blanks.clear();
        self.given = 0;
        self.next.take()
    }
}

/// A field of a record that is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'a str,
    /// The values that it may have, for an error where it holds NaN or an infinity.
    pub(crate) allowed: &'a str,
}

/// The records of a JSON lines file, one per line as `parse` reads it, each with its line number from 1. Blank lines at the
/// end are no records. Fields that are not read may hold NaN and infinities, as Python writes them.
///
/// # Errors
/// As [`filled_lines`]; [`Error::Malformed`], with the field, for a line that is not such a record, for a blank line before
/// the last record, and where one of `fields` holds NaN or an infinity.
pub(crate) fn read_json_lines<'a, T: 'a>(
    path: &'a Path,
    fields: &'a [Field<'a>],
    parse: impl Fn(&str) -> serde_json::Result<T> + 'a,
) -> Result<impl Iterator<Item = Result<(usize, T)>> + 'a> {
    Ok(filled_lines(path)?.map(move |line| {
        let (number, line) = line?;
        let record =
            record(&line, fields, &parse).map_err(|reason| Error::malformed(path, number, reason))?;
        Ok((number, record))
    }))
}

fn record<T>(
    line: &str,
    fields: &[Field<'_>],
    parse: impl Fn(&str) -> serde_json::Result<T>,
) -> std::result::Result<T, String> {
    if line.trim().is_empty() {
        return Err("the line is blank; allowed: one JSON value".into());
    }
    let json = replace_numbers(line, |name, number| {
        if let Some(field) = fields.iter().find(|field| name.is_some_and(|key| is_key(key, field.name))) {
            return Err(format!("field `{}` holds {number}; allowed: {}", field.name, field.allowed));
        }
        // As long as what it replaces, so that columns stay.
        Ok(match number {
            "NaN" => "0  ",
            "Infinity" => "0       ",
            _ => "0        ",
        })
    })?;
    parse(&json).map_err(|source| with_place(&json, &source))
}

/// The reason why a line cannot be read, with its field and column but without the line number, which is always 1 for serde.
fn with_place(line: &str, source: &serde_json::Error) -> String {
    let message = source.to_string();
    let place = format!(" at line {} column {}", source.line(), source.column());
    let Some(what) = message.strip_suffix(&place) else { return message };
    // The column is that of the last byte that was read.
    let field = field_at(line, source.column().saturating_sub(1)).map(|name| format!("field `{name}`: "));
    format!("{}{what}, at column {}", field.unwrap_or_default(), source.column())
}
