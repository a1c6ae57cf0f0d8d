//! Python's `str` and `repr`.

use std::fmt::Write;

use super::{
    budget::{Failure, Outcome},
    interpreter::Interpreter,
    value::{Items, Value},
};

impl Interpreter<'_> {
    /// `str(value)`.
    pub(super) fn to_str(&self, value: &Value) -> Outcome<String> {
        match value {
            Value::Undefined(_) => Ok(String::new()),
            Value::Str(text) | Value::Markup(text) => {
                self.budget.bytes(text.len())?;
                Ok(text.to_string())
            }
            _ => self.repr(value),
        }
    }

    /// `repr(value)`.
    pub(super) fn repr(&self, value: &Value) -> Outcome<String> {
        let mut to = String::new();
        self.write_repr(value, &mut to, &mut Vec::new())?;
        Ok(to)
    }

    fn write_repr(&self, value: &Value, to: &mut String, inside: &mut Vec<usize>) -> Outcome<()> {
        let before = to.len();
        match value {
            Value::Undefined(_) => to.push_str("Undefined"),
            Value::None => to.push_str("None"),
            Value::Bool(true) => to.push_str("True"),
            Value::Bool(false) => to.push_str("False"),
            Value::Int(value) => *to += &value.to_string(),
            Value::Float(value) => *to += &float(*value),
            Value::Str(text) => quote(text, to),
            Value::Markup(text) => {
                *to += "Markup(";
                quote(text, to);
                to.push(')');
            }
            Value::List(items) => self.write_items(items, ["[", "]"], to, inside)?,
            Value::Tuple(items) if items.values.len() == 1 => {
                self.write_items(items, ["(", ",)"], to, inside)?
            }
            Value::Tuple(items) => self.write_items(items, ["(", ")"], to, inside)?,
            Value::View(kind, items) => {
                *to += kind;
                self.write_items(items, ["([", "])"], to, inside)?;
            }
            Value::Dict(dict) => {
                let entries = dict.entries.iter().map(|(key, value)| (key, value));
                self.write_entries(entries, to, inside)?;
            }
            Value::Range(range) => {
                write!(to, "range({}, {}", range.start, range.stop).expect("a String takes all text");
                if range.step != 1 {
                    write!(to, ", {}", range.step).expect("a String takes all text");
                }
                to.push(')');
            }
            Value::Namespace(id) => {
                *to += "<Namespace ";
                if inside.contains(id) {
                    // As Python writes a dict that holds itself.
                    *to += "{...}";
                } else {
                    inside.push(*id);
                    let entries: Vec<_> = self.namespaces[*id]
                        .iter()
                        .map(|(name, value)| (Value::Str(name.clone()), value.clone()))
                        .collect();
                    self.write_entries(entries.iter().map(|(key, value)| (key, value)), to, inside)?;
                    inside.pop();
                }
                to.push('>');
            }
            // Python writes an address, which is another one each time.
            other => {
                return Err(Failure::new(format!("a value of the type {} has no text", other.kind())));
            }
        }
        self.budget.bytes(to.len() - before)
    }

    fn write_items(
        &self,
        items: &Items,
        [open, close]: [&str; 2],
        to: &mut String,
        inside: &mut Vec<usize>,
    ) -> Outcome<()> {
        to.push_str(open);
        for (index, value) in items.values.iter().enumerate() {
            if index > 0 {
                to.push_str(", ");
            }
            self.budget.deeper(|| self.write_repr(value, to, inside))?;
        }
        to.push_str(close);
        Ok(())
    }

    fn write_entries<'v>(
        &self,
        entries: impl Iterator<Item = (&'v Value, &'v Value)>,
        to: &mut String,
        inside: &mut Vec<usize>,
    ) -> Outcome<()> {
        to.push('{');
        for (index, (key, value)) in entries.enumerate() {
            if index > 0 {
                to.push_str(", ");
            }
            self.budget.deeper(|| {
                self.write_repr(key, to, inside)?;
                to.push_str(": ");
                self.write_repr(value, to, inside)
            })?;
        }
        to.push('}');
        Ok(())
    }
}

/// `repr` of a float: the shortest digits that read back as the same number, with an exponent below 1e-4 and from 1e16 on.
pub(super) fn float(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').expect("the format has an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is a number");
    if value != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = format!("{value}");
    if plain.contains('.') { plain } else { plain + ".0" }
}

/// `repr` of a text.
fn quote(text: &str, to: &mut String) {
    let mark = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    to.push(mark);
    for letter in text.chars() {
        match letter {
            '\\' => to.push_str("\\\\"),
            '\n' => to.push_str("\\n"),
            '\r' => to.push_str("\\r"),
            '\t' => to.push_str("\\t"),
            letter if letter == mark => to.extend(['\\', letter]),
            letter if is_printable(letter) => to.push(letter),
            letter => *to += &escaped(letter),
        }
    }
    to.push(mark);
}

fn escaped(letter: char) -> String {
    match u32::from(letter) {
        code @ ..0x100 => format!("\\x{code:02x}"),
        code @ ..0x10000 => format!("\\u{code:04x}"),
        code => format!("\\U{code:08x}"),
    }
}

/// Whether Python prints a character as itself. Control characters, separators other than the space, surrogates, private and
/// (as far as Rust's tables know them) unassigned characters are escaped.
pub(super) fn is_printable(letter: char) -> bool {
    letter == ' '
        || !(letter.is_control()
            || letter.is_whitespace()
            || matches!(u32::from(letter),
                0xad | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x180e | 0x200b..=0x200f | 0x202a..=0x202e
                | 0x2060..=0x206f | 0xe000..=0xf8ff | 0xfeff | 0xfff0..=0xfffb | 0xfffe | 0xffff
                | 0xe0000..=0xe007f | 0xf0000..=0x10ffff))
}
