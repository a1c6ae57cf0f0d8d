//! One table of a run file, read field by field, so that every problem is found at once and names its place.
//!
//! serde stops at the first problem and loses the place inside of tagged enums. Here each field is asked for by its name, with the
//! allowed values. The fields that a table may have are named when it is opened, before any value is read: whatever becomes of a
//! value, no field of the table is taken for an unknown one.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    document::Document,
    fields::{Fields, Kind},
    names::{Alias, did_you_mean, hint, list, nearest},
    values::{as_number, is_tables, whole},
};

/// A condition on a value, in code and in words.
pub(crate) struct Allowed<T> {
    pub(crate) words: &'static str,
    pub(crate) holds: fn(&T) -> bool,
}

/// One table of the file.
pub(super) struct Section<'a> {
    pub(super) document: &'a Document<'a>,
    /// The table's path from the top: empty, or `tune`, or `features.2`.
    path: String,
    table: &'a DeTable<'a>,
    span: Range<usize>,
    fields: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The table at `path`. Every field that is not among `fields` is reported.
    pub(super) fn open(
        document: &'a Document<'a>,
        path: String,
        table: &'a DeTable<'a>,
        span: Range<usize>,
        fields: Fields,
    ) -> Self {
        document.place(path.clone(), span.clone());
        let Fields { known, kind } = fields;
        let section = Self { document, path, table, span, fields: known };
        let mut of_other_kinds = Vec::new();
        for (key, value) in table {
            let given = key.get_ref().as_ref();
            let span = if value.get_ref().is_table() { key.span() } else { value.span() };
            document.place(section.name(given), span);
            if section.fields.contains(&given) {
                continue;
            }
            let is_of_another = kind.iter().flat_map(|(_, kinds)| kinds).any(|(_, own)| own.contains(&given));
            if is_of_another {
                of_other_kinds.push((key.span(), given));
            } else {
                section.unknown(given, key.span(), value.get_ref());
            }
        }
        if let Some((name, kinds)) = kind {
            section.of_other_kinds(name, &kinds, of_other_kinds);
        }
        section
    }

    /// Reports a field that no such table can have. The missing field that may be meant by it is doubtful.
    fn unknown(&self, given: &str, span: Range<usize>, value: &DeValue<'_>) {
        if is_tables(value) {
            // It may be one of the tables of an array, of which others are there, or have others inside: what they lack may be in it.
            let others = self
                .fields
                .iter()
                .filter(|field| self.value(field).is_some_and(|other| is_tables(other.get_ref())));
            others.for_each(|field| self.document.doubt(self.name(field)));
        }
        let missing = self.missing();
        let mut meant = nearest(given, &missing);
        if meant.is_empty() {
            // A table of an array has its name once more.
            meant = nearest(given, &self.fields);
        }
        let hint = hint(&meant);
        if hint.is_empty() {
            meant = missing;
        }
        meant.into_iter().for_each(|field| self.document.doubt(self.name(field)));
        let message = format!("unknown field `{}`{hint}", self.name(given));
        self.document.report(span, message, list(&self.fields));
    }

    /// Reports fields of other kinds, all at once: it is the kind that is wrong, or all of them.
    fn of_other_kinds(&self, kind: &str, kinds: &[Kind], mut given: Vec<(Range<usize>, &str)>) {
        given.sort_by_key(|(span, _)| span.start);
        let Some((span, _)) = given.first() else { return };
        self.missing().into_iter().chain(["kind"]).for_each(|field| self.document.doubt(self.name(field)));
        let names: Vec<String> = given.iter().map(|(_, name)| format!("`{}`", self.name(name))).collect();
        let have_all = kinds.iter().filter(|(_, own)| given.iter().all(|(_, name)| own.contains(name)));
        let have_all: Vec<&str> = have_all.map(|(name, _)| *name).collect();
        let others = if have_all.is_empty() {
            String::new()
        } else {
            format!("; or another kind, which has what was given: {}", list(&have_all))
        };
        let message = format!("unknown for kind `{kind}`: {}", names.join(", "));
        self.document.report(span.clone(), message, format!("{}{others}", list(&self.fields)));
    }

    /// The fields that the table could have and has not.
    fn missing(&self) -> Vec<&'static str> {
        self.fields.iter().copied().filter(|field| !self.table.contains_key(*field)).collect()
    }

    pub(super) fn name(&self, field: &str) -> String {
        if self.path.is_empty() { field.into() } else { format!("{}.{field}", self.path) }
    }

    pub(super) fn value(&self, field: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        debug_assert!(self.fields.contains(&field), "{field} is no field of [{}]", self.path);
        self.table.get(field)
    }

    /// Whether the field is there.
    pub(super) fn has(&self, field: &'static str) -> bool {
        self.value(field).is_some()
    }

    /// Whether a field of the table has a problem, or may be meant by an unknown field.
    pub(super) fn has_problem(&self) -> bool {
        self.document.is_doubtful(&self.path)
    }

    /// Whether the field is there and a table.
    pub(super) fn is_table(&self, field: &'static str) -> bool {
        self.value(field).is_some_and(|value| value.get_ref().is_table())
    }

    /// Whether the field is there and a number.
    pub(super) fn is_number(&self, field: &'static str) -> bool {
        let value = self.value(field).map(Spanned::get_ref);
        matches!(value, Some(DeValue::Integer(_) | DeValue::Float(_)))
    }

    /// Whether the field is there, or may be meant by an unknown field: that it is missing is then no problem of its own.
    pub(super) fn may_have(&self, field: &'static str) -> bool {
        self.has(field) || self.is_doubtful(field)
    }

    /// Whether the field has a problem, or may be meant by an unknown field.
    pub(super) fn is_doubtful(&self, field: &str) -> bool {
        self.document.is_doubtful(&self.name(field))
    }

    /// Reports that the field is missing, if it is.
    pub(super) fn require(&self, field: &'static str, allowed: &str) {
        if !self.may_have(field) {
            self.wrong_table(&format!("has no `{field}`"), allowed, &[field]);
        }
    }

    /// Reports a problem with the value of `field`, with the values that are `allowed`.
    pub(super) fn wrong(&self, field: &'static str, message: &str, allowed: &str) {
        let span = self.value(field).map_or(self.span.clone(), Spanned::span);
        self.document.report_field(&self.name(field), span, message, allowed);
    }

    /// Reports a problem of the whole table, on account of some of its fields.
    pub(super) fn wrong_table(&self, message: &str, allowed: &str, fields: &[&str]) {
        let name = if self.path.is_empty() { "the file".into() } else { format!("[{}]", self.path) };
        fields.iter().for_each(|field| self.document.doubt(self.name(field)));
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
        let found = self.document.shown(value.span());
        self.wrong(field, &format!("is {found}"), allowed.words);
        None
    }

    /// A whole number, if the field is there.
    pub(super) fn integer(&self, field: &'static str, allowed: &Allowed<u64>) -> Option<u64> {
        if let Some(value @ (DeValue::Integer(_) | DeValue::Float(_))) =
            self.value(field).map(Spanned::get_ref)
            && value.as_integer().and_then(whole).is_none()
        {
            let found = self.document.shown(self.value(field)?.span());
            self.wrong(field, &format!("is {found}"), allowed.words);
            return None;
        }
        self.read(field, allowed, |value| value.as_integer().and_then(whole))
    }

    /// A number, if the field is there. `nan` and `inf` are never allowed.
    pub(super) fn number(&self, field: &'static str, allowed: &Allowed<f64>) -> Option<f64> {
        self.read(field, allowed, as_number)
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
        self.items(field, allowed, |item| item.as_str().map(str::to_owned))
    }

    /// Whole numbers below 2^32, if the field is there.
    pub(super) fn integers(&self, field: &'static str, allowed: &Allowed<Vec<u32>>) -> Option<Vec<u32>> {
        self.items(field, allowed, |item| u32::try_from(whole(item.as_integer()?)?).ok())
    }

    /// The items of an array, if the field is there. The first wrong item is the one that is reported.
    pub(super) fn items<T>(
        &self,
        field: &'static str,
        allowed: &Allowed<Vec<T>>,
        convert: impl Fn(&DeValue<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        if let Some(array) = self.value(field)?.get_ref().as_array()
            && let Some(index) = array.iter().position(|item| convert(item.get_ref()).is_none())
        {
            let span = array[index].span();
            let message = format!("has {} as item {}", self.document.shown(span.clone()), index + 1);
            self.document.report_field(&self.name(field), span, &message, allowed.words);
            return None;
        }
        self.read(field, allowed, |value| {
            value.as_array()?.iter().map(|item| convert(item.get_ref())).collect()
        })
    }

    /// One of the named choices, if the field is there. The other names that people use for a choice are in `aliases`.
    pub(super) fn choice<T: Clone>(
        &self,
        field: &'static str,
        choices: &[(&'static str, T)],
        aliases: &[Alias],
    ) -> Option<T> {
        let words = choices.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        let value = self.value(field)?;
        let Some(given) = value.get_ref().as_str() else {
            self.wrong(field, &format!("is of type {}", value.get_ref().type_str()), &list(&words));
            return None;
        };
        let found = choices.iter().find(|(name, _)| *name == given);
        if found.is_none() {
            let hint = did_you_mean(given, &words, aliases);
            self.wrong(field, &format!("is {}{hint}", self.document.shown(value.span())), &list(&words));
        }
        found.map(|(_, choice)| choice.clone())
    }

    /// The table of this name, read by `read`. If it is missing, or no table, an empty table is read: every field has its default.
    pub(super) fn table<T>(
        &self,
        field: &'static str,
        fields: impl FnOnce(&DeTable<'_>) -> Fields,
        read: impl FnOnce(&Section<'_>) -> T,
    ) -> T {
        let empty = DeTable::new();
        let value = self.value(field).map(Spanned::get_ref);
        let table = value.and_then(DeValue::as_table);
        if let (Some(value), None) = (value, table) {
            self.wrong(
                field,
                &format!("is of type {}", value.type_str()),
                &format!("a table: [{}]", self.name(field)),
            );
        }
        let table = table.unwrap_or(&empty);
        let span = self.table.get_key_value(field).map_or(self.span.clone(), |(key, _)| key.span());
        read(&Section::open(self.document, self.name(field), table, span, fields(table)))
    }

    /// The tables of an array of tables, each read by `read`.
    pub(super) fn tables<T>(
        &self,
        field: &'static str,
        fields: impl Fn(&DeTable<'_>) -> Fields,
        read: impl Fn(&Section<'_>) -> T,
    ) -> Vec<T> {
        let Some(value) = self.value(field) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            let message = format!("is of type {}", value.get_ref().type_str());
            self.wrong(field, &message, &format!("tables: [[{field}]]"));
            return Vec::new();
        };
        if array.is_empty() {
            self.wrong(field, "is []", &format!("at least one table: [[{field}]]"));
        }
        let read = |(index, item): (usize, &Spanned<DeValue<'_>>)| {
            let path = format!("{}.{}", self.name(field), index + 1);
            let empty = DeTable::new();
            let table = item.get_ref().as_table();
            if table.is_none() {
                let message = format!("is of type {}", item.get_ref().type_str());
                self.document.report_field(&path, item.span(), &message, &format!("a table: [[{field}]]"));
            }
            let table = table.unwrap_or(&empty);
            read(&Section::open(self.document, path, table, item.span(), fields(table)))
        };
        array.iter().enumerate().map(read).collect()
    }
}
