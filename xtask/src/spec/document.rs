//! A parsed run file, and the problems found in it so far.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use toml::de::DeTable;

use super::{fields::Fields, section::Section};
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
    text: &'a str,
    problems: RefCell<Vec<Problem>>,
    doubtful: RefCell<BTreeSet<String>>,
    places: RefCell<BTreeMap<String, Range<usize>>>,
}

impl<'a> Document<'a> {
    /// Reads `text` with `read`, which is given the top table with these `fields`; then looks for conflicts with `check`.
    ///
    /// The fields `replaced` have another value than the file's: no conflict with them is reported.
    pub(super) fn read<T>(
        name: &'a str,
        text: &'a str,
        replaced: &[&str],
        fields: Fields,
        read: impl FnOnce(&Section<'_>) -> T,
        check: impl FnOnce(&T) -> Vec<Conflict>,
    ) -> Result<T, SpecError> {
        let document = Self {
            name,
            text,
            problems: RefCell::default(),
            doubtful: RefCell::new(replaced.iter().map(|&field| field.to_owned()).collect()),
            places: RefCell::default(),
        };
        let table = match DeTable::parse(text) {
            Ok(table) => table,
            Err(error) => {
                let allowed = "TOML 1.1 (https://toml.io)";
                let message = format!("is not TOML: {}", error.message());
                document.report(error.span().unwrap_or(0..0), message, allowed);
                return Err(document.into_error());
            }
        };
        let value = read(&Section::open(&document, String::new(), table.get_ref(), 0..0, fields));
        check(&value).into_iter().for_each(|conflict| document.conflict(conflict));
        if document.problems.borrow().is_empty() { Ok(value) } else { Err(document.into_error()) }
    }

    fn into_error(self) -> SpecError {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| problem.position);
        SpecError { file: self.name.into(), problems }
    }

    /// Reports a problem with the value of the field `path`, which is doubtful from now on.
    pub(super) fn report_field(&self, path: &str, span: Range<usize>, message: &str, allowed: &str) {
        self.doubt(path.into());
        self.report(span, format!("`{path}` {message}"), allowed);
    }

    /// Reports a problem at a place.
    pub(super) fn report(&self, span: Range<usize>, message: String, allowed: impl Into<String>) {
        self.problems.borrow_mut().push(Problem::new(self.text, span, message, allowed.into()));
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
