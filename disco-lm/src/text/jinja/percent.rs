//! Python's `%` on texts, as C's `printf`.

use std::{iter::Peekable, str::Chars};

use super::{
    budget::{Failure, Outcome},
    interpreter::Interpreter,
    numbers::{Style, grouped, real, signed},
    value::Value,
};

/// The largest precision of a number. Rust's own limit is 65,535.
pub(super) const PRECISION: usize = 10_000;

/// The arguments of a format: a tuple gives one after the other, a dict gives them by name.
struct Source<'v> {
    value: &'v Value,
    taken: usize,
}

impl<'v> Source<'v> {
    fn next(&mut self) -> Outcome<&'v Value> {
        let value = match self.value {
            Value::Tuple(items) => items.values.get(self.taken),
            value => Some(value).filter(|_| self.taken == 0),
        };
        self.taken += 1;
        value.ok_or_else(|| Failure::new("not enough arguments for format string"))
    }
}

/// A conversion: what stands between `%` and its letter.
#[derive(Default)]
struct Conversion {
    alternate: bool,
    zero: bool,
    left: bool,
    space: bool,
    plus: bool,
    width: usize,
    precision: Option<usize>,
}

impl Interpreter<'_> {
    /// `format % value`.
    pub(super) fn percent(&self, format: &str, value: &Value) -> Outcome<Value> {
        self.budget.bytes(format.len())?;
        let mut source = Source { value, taken: 0 };
        let mut named = false;
        let mut to = String::new();
        let mut letters = format.chars().peekable();
        while let Some(letter) = letters.next() {
            if letter != '%' {
                to.push(letter);
                continue;
            }
            let by_name = match letters.next_if_eq(&'(') {
                Some(_) => Some(self.by_name(&mut letters, value)?),
                None => None,
            };
            named |= by_name.is_some();
            let conversion = self.conversion(&mut letters, &mut source)?;
            let kind = letters.next().ok_or_else(|| Failure::new("incomplete format"))?;
            if kind == '%' {
                to.push('%');
                continue;
            }
            let value = match by_name {
                Some(value) => value,
                None => source.next()?.clone(),
            };
            to += &self.converted(&conversion, kind, &value)?;
        }
        let all = match value {
            Value::Tuple(items) => source.taken >= items.values.len(),
            Value::Dict(_) => true,
            _ => named || source.taken >= 1,
        };
        if !all && !matches!(value, Value::List(_)) {
            return Err(Failure::new("not all arguments converted during string formatting"));
        }
        Value::text(&self.budget, to)
    }

    fn by_name(&self, letters: &mut Peekable<Chars<'_>>, value: &Value) -> Outcome<Value> {
        let mut name = String::new();
        let mut open = 1;
        loop {
            match letters.next() {
                None => return Err(Failure::new("incomplete format key")),
                Some(')') if open == 1 => break,
                Some(letter) => {
                    open += i64::from(letter == '(') - i64::from(letter == ')');
                    name.push(letter);
                }
            }
        }
        let Value::Dict(dict) = value else { return Err(Failure::new("format requires a mapping")) };
        self.budget.steps(dict.entries.len())?;
        let found = dict.get(&Value::Str(name.as_str().into())).cloned();
        found.ok_or_else(|| Failure::new(format!("the mapping has no key {name:?}")))
    }

    fn conversion(&self, letters: &mut Peekable<Chars<'_>>, source: &mut Source<'_>) -> Outcome<Conversion> {
        let mut conversion = Conversion::default();
        while let Some(flag) = letters.next_if(|letter| "#0- +".contains(*letter)) {
            match flag {
                '#' => conversion.alternate = true,
                '0' => conversion.zero = true,
                '-' => conversion.left = true,
                ' ' => conversion.space = true,
                _ => conversion.plus = true,
            }
        }
        let mut count = |letters: &mut Peekable<Chars<'_>>| -> Outcome<i64> {
            if letters.next_if_eq(&'*').is_some() {
                return source.next()?.int("* wants int");
            }
            let mut digits = String::new();
            while let Some(digit) = letters.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            if digits.is_empty() { Ok(0) } else { digits.parse().map_err(|_| Failure::new("width too big")) }
        };
        let width = count(letters)?;
        conversion.left |= width < 0;
        conversion.width = usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX);
        if letters.next_if_eq(&'.').is_some() {
            let precision = usize::try_from(count(letters)?.max(0)).unwrap_or(usize::MAX);
            if precision > PRECISION {
                return Err(Failure::new(format!("a precision above {PRECISION} is not supported")));
            }
            conversion.precision = Some(precision);
        }
        while letters.next_if(|letter| "hlL".contains(*letter)).is_some() {}
        self.budget.bytes(conversion.width.saturating_mul(4))?;
        Ok(conversion)
    }

    fn converted(&self, conversion: &Conversion, kind: char, value: &Value) -> Outcome<String> {
        let text = match kind {
            's' | 'r' | 'a' => {
                let text = if kind == 's' { self.to_str(value)? } else { self.repr(value)? };
                if kind == 'a' && !text.is_ascii() {
                    return Err(Failure::new("`%a` of text that is not ASCII is not supported"));
                }
                let text = match conversion.precision {
                    Some(precision) => text.chars().take(precision).collect(),
                    None => text,
                };
                return Ok(padded(conversion, "", &text, false));
            }
            'c' => {
                let text = match value.as_int() {
                    Some(code) => u32::try_from(code).ok().and_then(char::from_u32).map(String::from),
                    None => value.as_str().filter(|text| text.chars().count() == 1).map(String::from),
                };
                let text = text.ok_or_else(|| Failure::new("%c requires int or char"))?;
                return Ok(padded(conversion, "", &text, false));
            }
            'd' | 'i' | 'u' => {
                let value = match value.defined()? {
                    Value::Float(value) if value.abs() < 9e18 => value.trunc() as i64,
                    value => value.as_int().ok_or_else(|| {
                        let kind = value.kind();
                        Failure::new(format!("%d format: a real number is required, not {kind}"))
                    })?,
                };
                self.digits(conversion, i128::from(value), |value| value.to_string(), "")?
            }
            'x' | 'X' | 'o' => {
                let value = i128::from(value.int("%x format: an integer is required")?);
                let prefix = ["", "0x", "0X", "0o"];
                let prefix = match kind {
                    'x' => prefix[1],
                    'X' => prefix[2],
                    _ => prefix[3],
                };
                let write = |value: u128| match kind {
                    'x' => format!("{value:x}"),
                    'X' => format!("{value:X}"),
                    _ => format!("{value:o}"),
                };
                self.digits(conversion, value, write, if conversion.alternate { prefix } else { "" })?
            }
            'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
                let number = value
                    .defined()?
                    .as_float()
                    .ok_or_else(|| Failure::new(format!("must be real number, not {}", value.kind())))?;
                let precision = conversion.precision.unwrap_or(6);
                self.budget.bytes(precision.saturating_add(400))?;
                let style = Style { kind, precision, alternate: conversion.alternate };
                let written = real(number, style);
                (number.is_sign_negative() && !number.is_nan(), String::new(), written)
            }
            other => return Err(Failure::new(format!("unsupported format character {other:?}"))),
        };
        let (negative, prefix, digits) = text;
        let sign = signed(negative, conversion.plus, conversion.space);
        let finite = !digits.contains(['n', 'i', 'N', 'I']);
        Ok(padded(conversion, &format!("{sign}{prefix}"), &grouped(&digits, None), finite))
    }

    fn digits(
        &self,
        conversion: &Conversion,
        value: i128,
        write: impl Fn(u128) -> String,
        prefix: &str,
    ) -> Outcome<(bool, String, String)> {
        let mut digits = write(value.unsigned_abs());
        let least = conversion.precision.unwrap_or(0);
        self.budget.bytes(least)?;
        if digits.len() < least {
            digits = "0".repeat(least - digits.len()) + &digits;
        }
        Ok((value < 0, prefix.to_string(), digits))
    }
}

/// The text in its width: between its sign and its digits with zeros, if the flag says so.
fn padded(conversion: &Conversion, sign: &str, digits: &str, is_number: bool) -> String {
    let length = sign.chars().count() + digits.chars().count();
    let missing = conversion.width.saturating_sub(length);
    if conversion.left {
        format!("{sign}{digits}{}", " ".repeat(missing))
    } else if conversion.zero && is_number {
        format!("{sign}{}{digits}", "0".repeat(missing))
    } else {
        format!("{}{sign}{digits}", " ".repeat(missing))
    }
}
