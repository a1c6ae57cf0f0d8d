//! The problems of a spec file, each shown at its place in the file.

use std::{fmt, ops::Range};

/// The number of characters of a line that are shown, at most.
const SHOWN: usize = 160;

/// One problem of a spec file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line and column (in characters), both from 1. An argument of the command line that changes the file is a line of its own.
    pub position: (usize, usize),
    /// Whether the place is such an argument.
    pub is_argument: bool,
    /// The field as a path, and the problem with it.
    pub message: String,
    /// The values that are allowed.
    pub allowed: String,
    /// The line of the file, or the part of a long one around the problem.
    source: String,
    /// The number of characters of `source` before the problem.
    indent: usize,
    /// The number of characters of `source` that the problem covers.
    width: usize,
}

impl Problem {
    /// A problem at a range of bytes of `text`.
    pub(crate) fn new(text: &str, span: Range<usize>, message: String, allowed: String) -> Self {
        let before = &text[..span.start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[span.start..].find('\n').map_or(text.len(), |at| span.start + at);
        let width = text[span.start..span.end.clamp(span.start, line_end)].chars().count().max(1);
        let column = text[line_start..span.start].chars().count();
        let position = (before.matches('\n').count() + 1, column + 1);
        let line = text[line_start..line_end].trim_end();
        // A list of contexts can be a line of megabytes.
        let left_out = if line.chars().nth(SHOWN).is_some() { column.saturating_sub(SHOWN / 4) } else { 0 };
        let source: String = line.chars().skip(left_out).take(SHOWN).collect();
        let indent = column - left_out;
        let width = width.min(source.chars().count().saturating_sub(indent).max(1));
        Self {
            position,
            is_argument: false,
            message,
            allowed,
            source: source.replace('\t', " "),
            indent,
            width,
        }
    }
}

/// All problems of one spec file, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError {
    /// The file, as it was named.
    pub file: String,
    /// The problems; never empty.
    pub problems: Vec<Problem>,
}

impl std::error::Error for SpecError {}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        write!(f, "{} has {count} problem{}", self.file, if count == 1 { "" } else { "s" })?;
        for problem in &self.problems {
            let Problem { position: (line, column), is_argument, message, allowed, source, indent, width } =
                problem;
            let (place, line) = match is_argument {
                true => ("command line".to_owned(), String::new()),
                false => (format!("{}:{line}:{column}", self.file), line.to_string()),
            };
            let margin = " ".repeat(line.len());
            let indent = " ".repeat(*indent);
            let carets = "^".repeat(*width);
            write!(f, "\n\n{place}: {message}")?;
            write!(f, "\n {line} | {source}\n {margin} | {indent}{carets}\n {margin} = allowed: {allowed}")?;
        }
        Ok(())
    }
}
