//! Reading TOML tables field by field, so that every problem is found at once and names its place.
//!
//! serde stops at the first problem and loses the place inside of tagged enums. Here each field is asked
//! for by its name, with the allowed values; a field that was never asked for is unknown.

use std::{cell::RefCell, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{Problem, SpecError};

/// A condition on a value, in code and in words.
pub(crate) struct Allowed<T> {
    pub(crate) words: &'static str,
    pub(crate) holds: fn(&T) -> bool,
}

/// A parsed file, and the problems found so far.
pub(super) struct Document<'a> {
    name: &'a str,
    text: &'a str,
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Document<'a> {
    /// Reads `text` with `read`, which is given the top table.
    pub(super) fn read<T>(
        name: &'a str,
        text: &'a str,
        read: impl FnOnce(&Section<'_>) -> T,
    ) -> Result<T, SpecError> {
        let document = Self { name, text, problems: RefCell::default() };
        let table = match DeTable::parse(text) {
            Ok(table) => table,
            Err(error) => {
                let allowed = "TOML 1.1 (https://toml.io)".to_owned();
                let message = format!("is not TOML: {}", error.message());
                let span = error.span().unwrap_or(0..0);
                document.problems.borrow_mut().push(Problem::new(text, span, message, allowed));
                return Err(document.into_error());
            }
        };
        let section = Section::new(&document, String::new(), table.get_ref(), 0..0);
        let value = read(&section);
        section.finish();
        if document.problems.borrow().is_empty() { Ok(value) } else { Err(document.into_error()) }
    }

    fn into_error(self) -> SpecError {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| problem.position);
        SpecError { file: self.name.into(), problems }
    }

    fn report(&self, span: Range<usize>, message: String, allowed: impl Into<String>) {
        self.problems.borrow_mut().push(Problem::new(self.text, span, message, allowed.into()));
    }
}

/// One table of the file.
pub(super) struct Section<'a> {
    document: &'a Document<'a>,
    /// The table's path from the top: empty, or `tune`, or `features.2`.
    path: String,
    table: &'a DeTable<'a>,
    span: Range<usize>,
    fields: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    fn new(document: &'a Document<'a>, path: String, table: &'a DeTable<'a>, span: Range<usize>) -> Self {
        Self { document, path, table, span, fields: RefCell::default() }
    }

    fn name(&self, field: &str) -> String {
        if self.path.is_empty() { field.into() } else { format!("{}.{field}", self.path) }
    }

    fn value(&self, field: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        let mut fields = self.fields.borrow_mut();
        if !fields.contains(&field) {
            fields.push(field);
        }
        self.table.get(field)
    }

    /// Whether the field is there.
    pub(super) fn has(&self, field: &'static str) -> bool {
        self.value(field).is_some()
    }

    /// Reports a problem with the value of `field`, or that the field is missing, with the values that are `allowed`.
    pub(super) fn wrong(&self, field: &'static str, message: &str, allowed: &str) {
        let span = self.value(field).map_or(self.span.clone(), Spanned::span);
        self.document.report(span, format!("`{}` {message}", self.name(field)), allowed);
    }

    /// Reports a problem of the whole table.
    pub(super) fn wrong_table(&self, message: &str, allowed: &str) {
        let name = if self.path.is_empty() { "the file".into() } else { format!("[{}]", self.path) };
        self.document.report(self.span.clone(), format!("{name} {message}"), allowed);
    }

    fn read<T>(
        &self,
        field: &'static str,
        allowed: &Allowed<T>,
        convert: impl FnOnce(&'a DeValue<'a>) -> Option<T>,
    ) -> Option<T> {
        let value = self.value(field)?;
        let converted = convert(value.get_ref());
        if converted.is_none() {
            let found = value.get_ref().type_str();
            self.wrong(field, &format!("is of type {found}"), allowed.words);
        }
        let converted = converted?;
        if (allowed.holds)(&converted) {
            return Some(converted);
        }
        let found = &self.document.text[value.span()];
        self.wrong(field, &format!("is {found}"), allowed.words);
        None
    }

    /// A whole number, if the field is there.
    pub(super) fn integer(&self, field: &'static str, allowed: &Allowed<u64>) -> Option<u64> {
        if let Some(DeValue::Integer(value)) = self.value(field).map(Spanned::get_ref)
            && whole(value).is_none()
        {
            self.wrong(field, &format!("is {value}"), allowed.words);
            return None;
        }
        self.read(field, allowed, |value| value.as_integer().and_then(whole))
    }

    /// A number, if the field is there. `nan` and `inf` are never allowed.
    pub(super) fn number(&self, field: &'static str, allowed: &Allowed<f64>) -> Option<f64> {
        self.read(field, allowed, |value| match value {
            DeValue::Integer(value) => {
                whole(value).map(|whole| whole as f64).or_else(|| value.as_str().parse().ok())
            }
            DeValue::Float(value) => value.as_str().parse().ok(),
            _ => None,
        })
    }

    /// A string, if the field is there.
    pub(super) fn string(&self, field: &'static str, allowed: &Allowed<String>) -> Option<String> {
        self.read(field, allowed, |value| value.as_str().map(str::to_owned))
    }

    /// A truth value, if the field is there.
    pub(super) fn boolean(&self, field: &'static str) -> Option<bool> {
        self.read(field, &Allowed { words: "true or false", holds: |_| true }, DeValue::as_bool)
    }

    /// Strings, if the field is there.
    pub(super) fn strings(&self, field: &'static str, allowed: &Allowed<Vec<String>>) -> Option<Vec<String>> {
        self.read(field, allowed, |value| {
            value.as_array()?.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect()
        })
    }

    /// Whole numbers below 2^32, if the field is there.
    pub(super) fn integers(&self, field: &'static str, allowed: &Allowed<Vec<u32>>) -> Option<Vec<u32>> {
        self.read(field, allowed, |value| {
            let items = value.as_array()?.iter();
            let number =
                |item: &Spanned<DeValue<'_>>| u32::try_from(whole(item.get_ref().as_integer()?)?).ok();
            items.map(number).collect()
        })
    }

    /// One of the named choices, if the field is there.
    pub(super) fn choice<T: Clone>(&self, field: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let words = choices.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        let value = self.value(field)?.get_ref();
        let Some(given) = value.as_str() else {
            self.wrong(field, &format!("is of type {}", value.type_str()), &list(&words));
            return None;
        };
        let found = choices.iter().find(|(name, _)| *name == given);
        if found.is_none() {
            self.wrong(field, &format!("is \"{given}\"{}", did_you_mean(given, &words)), &list(&words));
        }
        found.map(|(_, choice)| choice.clone())
    }

    /// The table of this name, if it is there, read by `read`.
    pub(super) fn table<T>(&self, field: &'static str, read: impl FnOnce(&Section<'_>) -> T) -> Option<T> {
        let value = self.value(field)?;
        let Some(table) = value.get_ref().as_table() else {
            self.wrong(
                field,
                &format!("is of type {}", value.get_ref().type_str()),
                &format!("a table: [{field}]"),
            );
            return None;
        };
        Some(self.nested(self.name(field), table, self.header(field), read))
    }

    /// As [`table`](Self::table), but an empty table is read if there is none: every field has its default.
    pub(super) fn table_or_empty<T>(
        &self,
        field: &'static str,
        read: impl FnOnce(&Section<'_>) -> T,
    ) -> Option<T> {
        if self.has(field) {
            return self.table(field, read);
        }
        Some(self.nested(self.name(field), &DeTable::new(), self.span.clone(), read))
    }

    /// The tables of an array of tables, each read by `read`; an empty list if the field is missing.
    pub(super) fn tables<T>(&self, field: &'static str, read: impl Fn(&Section<'_>) -> T) -> Vec<T> {
        let Some(value) = self.value(field) else { return Vec::new() };
        let items = value.get_ref().as_array().map(|array| array.iter().collect::<Vec<_>>());
        let tables: Option<Vec<_>> = items.and_then(|items| {
            items.into_iter().map(|item| Some((item.get_ref().as_table()?, item.span()))).collect()
        });
        let Some(tables) = tables else {
            self.wrong(
                field,
                &format!("is of type {}", value.get_ref().type_str()),
                &format!("tables: [[{field}]]"),
            );
            return Vec::new();
        };
        let nested = |(index, (table, span))| {
            self.nested(format!("{}.{}", self.name(field), index + 1), table, span, &read)
        };
        if tables.is_empty() {
            self.wrong(field, "is []", &format!("at least one table: [[{field}]]"));
        }
        tables.into_iter().enumerate().map(nested).collect()
    }

    fn nested<T>(
        &self,
        path: String,
        table: &DeTable<'_>,
        span: Range<usize>,
        read: impl FnOnce(&Section<'_>) -> T,
    ) -> T {
        let section = Section::new(self.document, path, table, span);
        let value = read(&section);
        section.finish();
        value
    }

    /// The place of the header of the table `field`.
    fn header(&self, field: &str) -> Range<usize> {
        self.table.get_key_value(field).map_or(self.span.clone(), |(key, _)| key.span())
    }

    /// Reports the fields that were never asked for.
    fn finish(&self) {
        let fields = self.fields.borrow();
        for (key, _) in self.table {
            let given = key.get_ref().as_ref();
            if !fields.contains(&given) {
                let message = format!("unknown field `{}`{}", self.name(given), did_you_mean(given, &fields));
                self.document.report(key.span(), message, list(&fields));
            }
        }
    }
}

fn whole(value: &toml::de::DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(value.as_str(), value.radix()).ok()
}

fn list(names: &[&str]) -> String {
    names.join(", ")
}

/// The name nearest to `given`, if it is near enough to be meant.
fn did_you_mean(given: &str, names: &[&str]) -> String {
    let nearest = names.iter().map(|name| (strsim::damerau_levenshtein(given, name), *name)).min();
    match nearest {
        Some((distance, name)) if distance <= 1 + given.len() / 4 => format!("; did you mean `{name}`?"),
        _ => String::new(),
    }
}
