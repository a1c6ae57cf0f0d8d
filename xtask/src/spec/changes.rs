//! Fields of a run file that get another value on the command line, before the file is checked.

use std::{borrow::Cow, ops::Range};

use toml::{
    Spanned, Value,
    de::{DeTable, DeValue},
};

use super::names::{hint, nearest};

/// A field with another value than the file's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// The argument up to the value: `--set tune.steps=`.
    argument: String,
    /// The names on the way to the field. Items of arrays are counted from 1, or tables are named by their field `name`.
    path: Vec<String>,
    /// The value, as TOML.
    value: String,
}

/// A field that a [`Change`] cannot reach: the path up to there, the problem with it, and the names that are allowed.
pub(super) struct Unreachable {
    pub(super) path: String,
    pub(super) message: String,
    pub(super) allowed: String,
}

impl Change {
    /// The argument `flag`, which gives a string to the field at `path`.
    pub(crate) fn string(flag: &str, path: &[&str], value: &str) -> Self {
        Self::new(format!("{flag} "), path.iter().map(ToString::to_string).collect(), quoted(value))
    }

    /// The argument `flag`, which gives a number to the field at `path`.
    pub(crate) fn number(flag: &str, path: &[&str], value: u64) -> Self {
        Self::new(format!("{flag} "), path.iter().map(ToString::to_string).collect(), value.to_string())
    }

    /// The argument `flag` with `FIELD=VALUE`, where the field is a path with points, and the value is TOML or plain text.
    ///
    /// # Errors
    /// The problem with it, as the end of a sentence that begins with the flag.
    pub(crate) fn parse(flag: &str, given: &str) -> Result<Self, String> {
        let (field, value) = split(given).ok_or_else(|| format!("is {given}: it has no `=`"))?;
        let (field, value) = (field.trim(), value.trim());
        let path = path_of(field).ok_or_else(|| format!("is {given}: `{field}` is no name of a field"))?;
        let value = match DeValue::parse(value) {
            Ok(_) => value.replace("\r\n", "\n"),
            Err(error) if value.is_empty() || value.starts_with(['"', '\'', '[', '{']) => {
                return Err(format!("is {given}: the value is not TOML: {}", error.message()));
            }
            Err(_) => quoted(value),
        };
        Ok(Self::new(format!("{flag} {field}="), path, value))
    }

    /// Gives TOML to the field at `path`.
    pub(super) fn value_at(path: &[String], value: &str) -> Self {
        let argument = format!("--set {}=", path.join("."));
        Self::new(argument, path.to_vec(), value.to_owned())
    }

    fn new(argument: String, path: Vec<String>, value: String) -> Self {
        Self { argument, path, value }
    }

    /// The argument in one line.
    pub(super) fn shown(&self) -> String {
        format!("{}{}", self.argument, self.value).replace('\n', " ")
    }

    /// A text whose value `v` lies where the argument's value lies in a text in which [`Self::shown`] begins at `start`.
    pub(super) fn padded(&self, start: usize) -> String {
        let before = start + self.argument.len();
        format!("{}{VALUE}{}", " ".repeat(before.saturating_sub(VALUE.len())), self.value)
    }

    /// Gives the value in `padded` to the field of `table`. What is there before is forgotten.
    pub(super) fn apply<'a>(
        &self,
        table: &mut DeTable<'a>,
        padded: &'a str,
        start: usize,
    ) -> Result<(), Unreachable> {
        let key = start..start + self.argument.len();
        let parsed = DeTable::parse(padded).ok().and_then(|parsed| parsed.into_inner().remove("v"));
        let (Some(value), Some((first, rest))) = (parsed, self.path.split_first()) else { return Ok(()) };
        if rest.is_empty() {
            insert(table, first, key, value);
            return Ok(());
        }
        let mut path = first.clone();
        let mut place = match table.contains_key(first.as_str()) {
            true => table.get_mut(first.as_str()),
            false => Some(insert(table, first, key.clone(), empty(&key))),
        };
        for (index, name) in rest.iter().enumerate() {
            let is_last = index + 1 == rest.len();
            let Some(inner) = place else { return Ok(()) };
            place = match inner.get_mut() {
                DeValue::Table(table) => {
                    if is_last || !table.contains_key(name.as_str()) {
                        insert(table, name, key.clone(), empty(&key));
                    }
                    table.get_mut(name.as_str())
                }
                DeValue::Array(items) => {
                    let found = item(items, name, &path)?;
                    items.get_mut(found)
                }
                other => {
                    return Err(Unreachable {
                        message: format!("is of type {}, and has no `{name}`", other.type_str()),
                        allowed: format!("a field that is there, such as `{path}`"),
                        path,
                    });
                }
            };
            path = format!("{path}.{name}");
        }
        if let Some(place) = place {
            *place = value;
        }
        Ok(())
    }

    /// The place of the field's value in a text, if it is there and has no field with a line of its own.
    pub(super) fn place(&self, text: &str) -> Option<Range<usize>> {
        let table = DeTable::parse(text).ok()?;
        let (first, rest) = self.path.split_first()?;
        let mut place = table.get_ref().get(first.as_str())?;
        for name in rest {
            place = match place.get_ref() {
                DeValue::Table(table) => table.get(name.as_str())?,
                DeValue::Array(items) => items.get(item(items, name, "").ok()?)?,
                _ => return None,
            };
        }
        let is_plain = match place.get_ref() {
            DeValue::Table(_) => false,
            DeValue::Array(items) => !items.iter().any(|item| item.get_ref().is_table()),
            _ => true,
        };
        is_plain.then(|| place.span())
    }

    /// The name of the field, if it is one of the top table.
    pub(super) fn top_field(&self) -> Option<&str> {
        match &self.path[..] {
            [field] => Some(field),
            _ => None,
        }
    }

    /// The value, as TOML.
    pub(super) fn value(&self) -> &str {
        &self.value
    }
}

/// The beginning of a [`Change::padded`] text. No argument is shorter.
const VALUE: &str = "v = ";

/// A text as a string of TOML.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Splits `FIELD=VALUE` at the first `=` outside of quotes.
fn split(given: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    let at = given.char_indices().find_map(|(at, character)| {
        match (quote, character) {
            (None, '=') => return Some(at),
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            _ => {}
        }
        None
    })?;
    Some((&given[..at], &given[at + 1..]))
}

/// The names of a path with points, as TOML has it: `features."no name".mean` too.
fn path_of(field: &str) -> Option<Vec<String>> {
    let text = format!("{field} = 0");
    let parsed = DeTable::parse(&text).ok()?;
    let mut path = Vec::new();
    let mut table = parsed.get_ref();
    while let Some((name, value)) = table.iter().next() {
        path.push(name.get_ref().to_string());
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => return Some(path),
        }
    }
    None
}

fn empty<'a>(span: &Range<usize>) -> Spanned<DeValue<'a>> {
    Spanned::new(span.clone(), DeValue::Table(DeTable::new()))
}

/// Puts a value into a table; returns its place.
fn insert<'t, 'a>(
    table: &'t mut DeTable<'a>,
    name: &str,
    key: Range<usize>,
    value: Spanned<DeValue<'a>>,
) -> &'t mut Spanned<DeValue<'a>> {
    match table.entry(Spanned::new(key, Cow::Owned(name.to_owned()))) {
        toml::map::Entry::Occupied(entry) => {
            let place = entry.into_mut();
            *place = value;
            place
        }
        toml::map::Entry::Vacant(entry) => entry.insert(value),
    }
}

/// The position of an item: its number, or the field `name` of a table.
fn item(items: &[Spanned<DeValue<'_>>], given: &str, path: &str) -> Result<usize, Unreachable> {
    let names: Vec<&str> =
        items.iter().filter_map(|item| item.get_ref().get("name")?.get_ref().as_str()).collect();
    let by_name = || {
        items.iter().position(|item| {
            item.get_ref().get("name").is_some_and(|name| name.get_ref().as_str() == Some(given))
        })
    };
    let by_number = given
        .parse()
        .ok()
        .filter(|number| (1..=items.len()).contains(number))
        .map(|number: usize| number - 1);
    by_number.or_else(by_name).ok_or_else(|| Unreachable {
        path: path.to_owned(),
        message: format!("has no `{given}`{}", hint(&nearest(given, &names))),
        allowed: match &names[..] {
            [] => format!("a number from 1 to {}", items.len()),
            names => format!("a number from 1 to {}, or a name: {}", items.len(), names.join(", ")),
        },
    })
}
