//! Typed access to the metadata of a GGUF file, with errors that name the key.

use std::path::Path;

use crate::{
    Error, Result,
    weights::gguf::{header::Header, value::Value},
};

/// The metadata of a file.
pub(crate) struct Metadata<'a> {
    pub(crate) header: &'a Header,
    pub(crate) path: &'a Path,
}

impl Metadata<'_> {
    pub(crate) fn refused(&self, key: &str, value: impl ToString, allowed: impl Into<String>) -> Error {
        Error::Config {
            path: self.path.to_path_buf(),
            field: key.into(),
            value: value.to_string(),
            allowed: allowed.into(),
        }
    }

    pub(crate) fn missing(&self, key: &str, allowed: &str) -> Error {
        self.refused(key, "missing", allowed)
    }

    fn typed<T>(&self, key: &str, allowed: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Option<T>> {
        match self.header.metadata.get(key) {
            None => Ok(None),
            Some(value) => match read(value) {
                Some(read) => Ok(Some(read)),
                None => Err(self.refused(key, value.shown(), allowed)),
            },
        }
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<String>> {
        self.typed(key, "text", |value| match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        })
    }

    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "true or false", |value| match value {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        })
    }

    pub(crate) fn whole(&self, key: &str) -> Result<Option<u64>> {
        self.typed(key, "a whole number", |value| match value {
            Value::Unsigned(number) => Some(*number),
            Value::Signed(number) => u64::try_from(*number).ok(),
            _ => None,
        })
    }

    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, "a finite number", |value| match value {
            Value::Float(number) => Some(*number).filter(|number| number.is_finite()),
            Value::Unsigned(number) => Some(*number as f64),
            _ => None,
        })
    }

    pub(crate) fn texts(&self, key: &str) -> Result<Option<Vec<String>>> {
        self.typed(key, "a list of texts in UTF-8", |value| match value {
            Value::Array(array) => array.texts(),
            _ => None,
        })
    }

    pub(crate) fn numbers(&self, key: &str) -> Result<Option<Vec<f64>>> {
        self.typed(key, "a list of numbers", |value| match value {
            Value::Array(array) => array.numbers(),
            _ => None,
        })
    }
}
