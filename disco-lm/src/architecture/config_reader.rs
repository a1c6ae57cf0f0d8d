//! Typed access to a `config.json`.

use std::path::Path;

use serde_json::Value;

use crate::{
    Error, Result,
    architecture::fields::{COMMON, Fields},
};

/// Upper bound on any size in a configuration.
pub(crate) const LARGEST_SIZE: usize = 1 << 24;

/// Upper bound on the number of layers: lists with an entry per layer are allocated before the weights are read.
const DEEPEST: usize = 1 << 12;

/// Typed access to a configuration whose errors name the field.
pub(crate) struct ConfigReader<'a> {
    pub(crate) config: &'a Value,
    pub(crate) path: &'a Path,
}

impl<'a> ConfigReader<'a> {
    /// The value of a field; `None` if it is missing or null.
    pub(crate) fn get(&self, field: &str) -> Option<&'a Value> {
        self.config.get(field).filter(|value| !value.is_null())
    }

    pub(crate) fn refused(&self, field: &str, value: impl ToString, allowed: impl Into<String>) -> Error {
        Error::Config {
            path: self.path.to_path_buf(),
            field: field.into(),
            value: value.to_string(),
            allowed: allowed.into(),
        }
    }

    fn typed<T>(
        &self,
        field: &str,
        default: Option<T>,
        allowed: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<T> {
        // A null is not a missing field: the default of a field is not its meaning of null.
        match (self.config.get(field), default) {
            (Some(value), _) => read(value).ok_or_else(|| self.refused(field, value, allowed)),
            (None, Some(default)) => Ok(default),
            (None, None) => Err(self.refused(field, "missing", allowed)),
        }
    }

    pub(crate) fn size(&self, field: &str, default: Option<usize>) -> Result<usize> {
        self.typed(field, default, "a whole number up to 2^24", |value| {
            value
                .as_u64()
                .and_then(|number| usize::try_from(number).ok())
                .filter(|size| *size <= LARGEST_SIZE)
        })
    }

    /// As [`size`](Self::size), for a field that may be null; `missing` is its value if it is missing.
    pub(crate) fn size_or_null(&self, field: &str, missing: Option<usize>) -> Result<Option<usize>> {
        match self.config.get(field) {
            None => Ok(missing),
            Some(Value::Null) => Ok(None),
            Some(_) => self.size(field, None).map(Some),
        }
    }

    /// The name under which a field with an alias is read: the alias, if it is there.
    pub(crate) fn either<'f>(&self, field: &'f str, alias: &'f str) -> &'f str {
        if self.config.get(alias).is_some() { alias } else { field }
    }

    /// A number of layers, at most [`DEEPEST`].
    pub(crate) fn layers(&self, field: &str, default: Option<usize>) -> Result<usize> {
        let layers = self.size(field, default)?;
        if layers > DEEPEST {
            Err(self.refused(field, layers, format!("at most {DEEPEST}")))
        } else {
            Ok(layers)
        }
    }

    pub(crate) fn number(&self, field: &str, default: Option<f64>) -> Result<f64> {
        self.typed(field, default, "a number", Value::as_f64)
    }

    pub(crate) fn text(&self, field: &str, default: Option<String>) -> Result<String> {
        self.typed(field, default, "text", |value| value.as_str().map(String::from))
    }

    pub(crate) fn flag(&self, field: &str, default: bool) -> Result<bool> {
        self.typed(field, Some(default), "true or false", Value::as_bool)
    }

    /// Refuses every field that could change a probability and has a value that nothing here reads.
    pub(crate) fn check(&self, fields: &Fields) -> Result<()> {
        // transformers leaves the method "gguf" in folders that it saved from a GGUF file: their weights are floating-point numbers.
        if let Some(quantisation) = self.get("quantization_config").or_else(|| self.get("compression_config"))
            && quantisation["quant_method"] != "gguf"
        {
            let method = quantisation.get("quant_method").map_or_else(String::new, Value::to_string);
            let value = format!("of the method {method}, by another library");
            return Err(self.refused(
                "quantization_config",
                value,
                "weights in f32, f16 or bf16, or a GGUF file",
            ));
        }
        for (field, allowed) in fields.fixed.iter().chain(COMMON.fixed) {
            let Some(value) = self.config.get(*field) else { continue };
            if !allowed
                .iter()
                .any(|text| serde_json::from_str(text).is_ok_and(|allowed: Value| allowed == *value))
            {
                return Err(self.refused(field, value, allowed.join(", ")));
            }
        }
        Ok(())
    }

    /// A section of the configuration, with the same path for error messages; `None` if it is missing or null.
    pub(crate) fn section(&self, field: &str) -> Result<Option<ConfigReader<'a>>> {
        match self.get(field) {
            None => Ok(None),
            Some(config) if config.is_object() => Ok(Some(ConfigReader { config, path: self.path })),
            Some(other) => Err(self.refused(field, other, "an object, or null")),
        }
    }

    /// A number above zero.
    pub(crate) fn positive(&self, field: &str) -> Result<f64> {
        let number = self.number(field, None)?;
        if number > 0.0 { Ok(number) } else { Err(self.refused(field, number, "positive")) }
    }

    /// The choice that the text of a field names.
    pub(crate) fn choice<T: Copy>(&self, field: &str, default: &str, choices: &[(&str, T)]) -> Result<T> {
        let value = self.text(field, Some(default.into()))?;
        let found = choices.iter().find(|(name, _)| *name == value);
        found.map(|(_, choice)| *choice).ok_or_else(|| {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            self.refused(field, value, names.join(", "))
        })
    }

    /// Refuses a text that is not in `allowed`.
    pub(crate) fn only(&self, field: &str, default: &str, allowed: &[&str]) -> Result<()> {
        let allowed: Vec<(&str, ())> = allowed.iter().map(|name| (*name, ())).collect();
        self.choice(field, default, &allowed)
    }

    /// Refuses a value other than null, false, an empty list or an empty object.
    pub(crate) fn refuse_non_empty(&self, field: &str) -> Result<()> {
        match self.get(field) {
            Some(Value::Bool(false)) => Ok(()),
            Some(Value::Array(values)) if values.is_empty() => Ok(()),
            Some(Value::Object(values)) if values.is_empty() => Ok(()),
            Some(value) => Err(self.refused(field, value, "nothing: it is not supported")),
            None => Ok(()),
        }
    }

    /// `whole / parts`. Refuses `parts`, the value of `field`, if it does not divide `whole`, the value of `of`.
    pub(crate) fn divided(&self, whole: usize, field: &str, parts: usize, of: &str) -> Result<usize> {
        match whole.checked_div(parts) {
            Some(part) if whole.is_multiple_of(parts) => Ok(part),
            _ => Err(self.refused(field, parts, format!("a divisor of {of}"))),
        }
    }

    /// The number of tokens in a sliding window; `None` for null, and `missing` if the field is missing.
    pub(crate) fn window(&self, field: &str, missing: Option<usize>) -> Result<Option<usize>> {
        match self.size_or_null(field, missing)? {
            Some(0) => Err(self.refused(field, 0, "null, or at least 1")),
            size => Ok(size),
        }
    }

    /// Whether each layer has a sliding window, as `layer_types` says.
    pub(crate) fn layer_types(&self, layers: usize) -> Result<Vec<bool>> {
        const ALLOWED: &str = "sliding_attention or full_attention, once a layer";
        let refused = |value: &dyn ToString| self.refused("layer_types", value.to_string(), ALLOWED);
        let value = self.get("layer_types").ok_or_else(|| refused(&"missing"))?;
        let types: Option<Vec<bool>> = value.as_array().and_then(|types| {
            let slides = |kind: &Value| match kind.as_str() {
                Some("sliding_attention") => Some(true),
                // The second is the name of an older version of transformers.
                Some("full_attention" | "attention") => Some(false),
                _ => None,
            };
            types.iter().map(slides).collect()
        });
        types.filter(|types| types.len() == layers).ok_or_else(|| refused(value))
    }
}
