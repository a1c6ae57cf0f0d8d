//! The values of a GGUF file's metadata.

/// A metadata value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    Array(Array),
}

impl Value {
    /// The value as a number: true is 1. `None` for texts and arrays.
    pub(crate) fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Unsigned(value) => Some(*value as f64),
            Self::Signed(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            Self::Bool(flag) => Some(f64::from(u8::from(*flag))),
            Self::Text(_) | Self::Array(_) => None,
        }
    }

    /// The value as text for messages; an array is only called a list.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Unsigned(value) => value.to_string(),
            Self::Signed(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Bool(value) => value.to_string(),
            Self::Text(text) => format!("{text:?}"),
            Self::Array(_) => "a list".into(),
        }
    }
}

/// A metadata array, whose elements are stored as the bytes of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Array {
    pub(super) kind: u32,
    // Invariant: whole elements of `kind`.
    pub(super) bytes: Vec<u8>,
}

pub(super) const BOOL: u32 = 7;

pub(super) const TEXT: u32 = 8;

pub(super) const ARRAY: u32 = 9;

/// The number of bytes of each type of number: u8, i8, u16, i16, u32, i32, f32, bool, u64, i64, f64.
pub(super) const WIDTHS: [(u32, u64); 11] =
    [(0, 1), (1, 1), (2, 2), (3, 2), (4, 4), (5, 4), (6, 4), (BOOL, 1), (10, 8), (11, 8), (12, 8)];

/// Decodes a number of type `kind` from all of its bytes.
pub(super) fn scalar(kind: u32, bytes: &[u8]) -> Value {
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    let unsigned = u64::from_le_bytes(wide);
    // An arithmetic shift up and down again extends the sign to the upper bytes.
    let unused = 64 - 8 * bytes.len() as u32;
    match kind {
        1 | 3 | 5 | 11 => Value::Signed((unsigned << unused) as i64 >> unused),
        6 => Value::Float(f64::from(f32::from_bits(unsigned as u32))),
        12 => Value::Float(f64::from_bits(unsigned)),
        BOOL => Value::Bool(unsigned != 0),
        _ => Value::Unsigned(unsigned),
    }
}

impl Array {
    /// The elements of an array of texts; `None` for another array.
    pub(crate) fn texts(&self) -> Option<Vec<String>> {
        let mut texts = Vec::new();
        let mut rest = self.bytes.as_slice();
        while self.kind == TEXT && !rest.is_empty() {
            let (length, after) = rest.split_first_chunk::<8>()?;
            let (text, after) = after.split_at_checked(u64::from_le_bytes(*length) as usize)?;
            texts.push(String::from_utf8(text.to_vec()).ok()?);
            rest = after;
        }
        (self.kind == TEXT).then_some(texts)
    }

    /// The elements of an array of numbers; `None` for another array.
    pub(crate) fn numbers(&self) -> Option<Vec<f64>> {
        let (_, width) = WIDTHS.iter().find(|(known, _)| *known == self.kind)?;
        self.bytes.chunks_exact(*width as usize).map(|bytes| scalar(self.kind, bytes).as_f64()).collect()
    }
}
