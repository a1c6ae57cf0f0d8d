//! A parsed run file, and the problems found in it so far.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use toml::de::DeTable;

use super::{changes::Change, fields::Fields, section::Section};
use crate::{Problem, SpecError, terminal::cut};

/// Settings that do not go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// The fields that were compared, as paths. The problem is shown at the first.
    pub(crate) fields: Vec<String>,
    /// Other fields that were looked at. A problem with one of them hides the conflict, which says nothing against them.
    pub(crate) others: Vec<String>,
    /// The problem: the end of a sentence that begins with the first field.
    pub(crate) message: String,
    /// The values that are allowed.
    pub(crate) allowed: String,
}

impl Conflict {
    /// A conflict that looked at no other fields.
    pub(super) fn new(
        fields: impl IntoIterator<Item = impl Into<String>>,
        message: impl Into<String>,
        allowed: impl Into<String>,
    ) -> Self {
        let fields = fields.into_iter().map(Into::into).collect();
        Self { fields, others: Vec::new(), message: message.into(), allowed: allowed.into() }
    }
}

/// The path of a field of a feature, counted from 0.
pub(super) fn feature_path(index: usize, field: &str) -> String {
    format!("features.{}.{field}", index + 1)
}

/// A parsed file, and the problems found so far.
///
/// A reader goes on after a problem with a default in the place of the wrong value, so that it asks for every field of every table.
/// The fields with such a default are doubtful: no conflict with another field is reported for them, since it may not be there.
pub(super) struct Document<'a> {
    name: &'a str,
    /// The file, and behind it a line for each changed field.
    text: &'a str,
    /// The place of the first of these lines.
    arguments: usize,
    problems: RefCell<Vec<Problem>>,
    doubtful: RefCell<BTreeSet<String>>,
    places: RefCell<BTreeMap<String, Range<usize>>>,
}

impl<'a> Document<'a> {
    /// Reads `text`, in which the command line makes `changes`, with `read`, which is given the top table with these `fields`; then looks
    /// for conflicts with `check`.
    pub(super) fn read<T>(
        name: &'a str,
        text: &'a str,
        changes: &[Change],
        fields: Fields,
        read: impl FnOnce(&Section<'_>) -> T,
        check: impl FnOnce(&T) -> Vec<Conflict>,
    ) -> Result<T, SpecError> {
        let mut whole = text.to_owned();
        let mut padded = Vec::new();
        for change in changes {
            whole.push('\n');
            padded.push((change, whole.len(), change.padded(whole.len())));
            whole += &change.shown();
        }
        let document = Document {
            name,
            text: &whole,
            arguments: text.len() + 1,
            problems: RefCell::default(),
            doubtful: RefCell::default(),
            places: RefCell::default(),
        };
        let mut table = match DeTable::parse(text) {
            Ok(table) => table,
            Err(error) => {
                let allowed = "TOML 1.1 (https://toml.io)";
                let message = format!("is not TOML: {}", error.message());
                document.report(error.span().unwrap_or(0..0), message, allowed);
                return Err(document.into_error());
            }
        };
        for (change, start, padded) in &padded {
            if let Err(wrong) = change.apply(table.get_mut(), padded, *start) {
                let end = start + change.shown().len();
                document.report_field(&wrong.path, *start..end, &wrong.message, &wrong.allowed);
            }
        }
        let value = read(&Section::open(&document, String::new(), table.get_ref(), 0..0, fields));
        check(&value).into_iter().for_each(|conflict| document.conflict(conflict));
        if document.problems.borrow().is_empty() { Ok(value) } else { Err(document.into_error()) }
    }

    fn into_error(self) -> SpecError {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| (problem.is_argument, problem.position));
        SpecError { file: self.name.into(), problems }
    }

    /// Reports a problem with the value of the field `path`, which is doubtful from now on.
    pub(super) fn report_field(&self, path: &str, span: Range<usize>, message: &str, allowed: &str) {
        self.doubt(path.into());
        self.report(span, format!("`{path}` {message}"), allowed);
    }

    /// Reports a problem at a place.
    pub(super) fn report(&self, span: Range<usize>, message: String, allowed: impl Into<String>) {
        let problem = match span.start.checked_sub(self.arguments) {
            None => Problem::new(self.text, span, message, allowed.into()),
            Some(start) => {
                let (text, span) = (&self.text[self.arguments..], start..span.end - self.arguments);
                let mut problem = Problem::new(text, span, message, allowed.into());
                problem.is_argument = true;
                problem
            }
        };
        self.problems.borrow_mut().push(problem);
    }

    /// The value at a place as the file has it, in one line; a long one is cut.
    pub(super) fn shown(&self, span: Range<usize>) -> String {
        const MOST: usize = 60;
        let words = self.text[span].split_whitespace().collect::<Vec<_>>().join(" ");
        cut(&words, MOST)
    }

    /// The value of the field `path` may not be what the file means.
    pub(super) fn doubt(&self, path: String) {
        self.doubtful.borrow_mut().insert(path);
    }

    /// Whether the field, a table that it is in, or a field that is in it, is doubtful.
    pub(super) fn is_doubtful(&self, path: &str) -> bool {
        let is_inside = |inner: &str, outer: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.doubtful.borrow().iter().any(|known| is_inside(known, path) || is_inside(path, known))
    }

    /// Remembers the place of a field.
    pub(super) fn place(&self, path: String, span: Range<usize>) {
        self.places.borrow_mut().insert(path, span);
    }

    /// Reports a conflict, unless one of its fields already has a problem: one wrong value is one problem.
    fn conflict(&self, conflict: Conflict) {
        let Conflict { fields, others, message, allowed } = conflict;
        if fields.iter().chain(&others).any(|field| self.is_doubtful(field)) {
            return;
        }
        let Some(first) = fields.first() else { return };
        let places = self.places.borrow();
        let mut path = first.as_str();
        // A field that has its default is shown at its table.
        let span = loop {
            match (places.get(path), path.rsplit_once('.')) {
                (Some(span), _) => break span.clone(),
                (None, Some((table, _))) => path = table,
                (None, None) => break 0..0,
            }
        };
        self.report_field(first, span, &message, &allowed);
        fields.into_iter().for_each(|field| self.doubt(field));
    }
}
