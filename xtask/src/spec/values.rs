//! Values of TOML.

use toml::de::{DeInteger, DeValue};

/// Whether a value is a table, or an array of tables.
pub(super) fn is_tables(value: &DeValue<'_>) -> bool {
    value.is_table()
        || value
            .as_array()
            .is_some_and(|items| !items.is_empty() && items.iter().all(|item| item.get_ref().is_table()))
}

/// A number, whole or not.
pub(super) fn as_number(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Integer(value) => {
            whole(value).map(|whole| whole as f64).or_else(|| value.as_str().parse().ok())
        }
        DeValue::Float(value) => value.as_str().parse().ok(),
        _ => None,
    }
}

/// A whole number from 0.
pub(super) fn whole(value: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(value.as_str(), value.radix()).ok()
}
