//! Serde for numbers that may be infinite: JSON has no infinity, and would write `null`.
//!
//! For `#[serde(with = "disco_core::infinite")]` on an `f64`: a finite number is itself, the infinities are the
//! strings `"inf"` and `"-inf"`. [`option`] does the same for a number that may be missing. [`size`] is for
//! numbers that are never negative, such as errors and sample sizes: `null` is `+inf`. NaN is refused. Formats
//! that are not for people to read (`is_human_readable`) get the `f64` as it is. Python writes `Infinity` and `-Infinity`
//! without quotes, which is not JSON: [`from_python`] turns a text with them into one that can be read.
//!
//! ```
//! #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
//! struct Bound {
//!     #[serde(with = "disco_core::infinite")]
//!     log_beta: f64,
//! }
//! let none = Bound { log_beta: f64::NEG_INFINITY };
//! let json = serde_json::to_string(&none)?;
//! assert_eq!(json, r#"{"log_beta":"-inf"}"#);
//! assert_eq!(serde_json::from_str::<Bound>(&json)?, none);
//! # Ok::<(), serde_json::Error>(())
//! ```

use std::{borrow::Cow, convert::Infallible, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
    ser,
};

use crate::python_json::replace_numbers;

/// Writes a number; the infinities by name.
///
/// # Errors
/// For NaN.
pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    let value = *value;
    if value.is_nan() {
        Err(ser::Error::custom("NaN is not a number to be written"))
    } else if value.is_finite() || !serializer.is_human_readable() {
        serializer.serialize_f64(value)
    } else {
        serializer.serialize_str(if value > 0.0 { "inf" } else { "-inf" })
    }
}

/// Reads a number that [`serialize`] wrote.
///
/// # Errors
/// For anything else.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    if deserializer.is_human_readable() {
        deserializer.deserialize_any(NumberOrName)
    } else {
        not_nan(f64::deserialize(deserializer)?)
    }
}

/// The JSON text without the numbers that Python writes although JSON does not have them: `Infinity`, `-Infinity` and `NaN`
/// outside of strings become the strings `"inf"`, `"-inf"` and `"NaN"`. The first two are read where a number may be
/// infinite; anywhere else, all three are an error with their name and place.
///
/// ```
/// use disco_core::infinite::from_python;
/// assert_eq!(from_python(r#"{"Infinity": -Infinity}"#), r#"{"Infinity": "-inf"}"#);
/// ```
pub fn from_python(json: &str) -> Cow<'_, str> {
    let Ok(quoted) = replace_numbers(json, |_, name| {
        Ok::<_, Infallible>(match name {
            "Infinity" => r#""inf""#,
            "-Infinity" => r#""-inf""#,
            _ => r#""NaN""#,
        })
    });
    quoted
}

fn not_nan<E: de::Error>(value: f64) -> Result<f64, E> {
    if value.is_nan() { Err(E::custom("NaN is not a number to be read")) } else { Ok(value) }
}

struct NumberOrName;

impl Visitor<'_> for NumberOrName {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, \"inf\" or \"-inf\"")
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<f64, E> {
        not_nan(value)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<f64, E> {
        match name {
            "inf" | "Infinity" => Ok(f64::INFINITY),
            "-inf" | "-Infinity" => Ok(f64::NEG_INFINITY),
            _ => Err(E::invalid_value(de::Unexpected::Str(name), &self)),
        }
    }
}

/// Serde for a number that may be infinite or missing: a missing one is `null`.
pub mod option {
    use super::*;

    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct Coded(#[serde(with = "super")] f64);

    /// Writes a number as [`serialize`](super::serialize) does, and `None` as `null`.
    ///
    /// # Errors
    /// For NaN.
    pub fn serialize<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(Coded).serialize(serializer)
    }

    /// Reads a number that [`serialize`] wrote.
    ///
    /// # Errors
    /// For anything else.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        Ok(Option::<Coded>::deserialize(deserializer)?.map(|coded| coded.0))
    }
}

/// Serde for a number that may be infinite and is never negative: `null` is `+inf`.
pub mod size {
    use super::*;

    /// Writes a number of 0 or more; `+inf` as `null`.
    ///
    /// # Errors
    /// For NaN and numbers below 0.
    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        let value: f64 = not_negative(*value).map_err(ser::Error::custom)?;
        if serializer.is_human_readable() {
            value.is_finite().then_some(value).serialize(serializer)
        } else {
            value.serialize(serializer)
        }
    }

    /// Reads a number that [`serialize`] wrote, or `"inf"`.
    ///
    /// # Errors
    /// For anything else.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        let value = if deserializer.is_human_readable() {
            super::option::deserialize(deserializer)?.unwrap_or(f64::INFINITY)
        } else {
            f64::deserialize(deserializer)?
        };
        not_negative(value).map_err(de::Error::custom)
    }

    fn not_negative(value: f64) -> Result<f64, String> {
        if value >= 0.0 { Ok(value) } else { Err(format!("{value} is not allowed here: 0 or more")) }
    }
}
