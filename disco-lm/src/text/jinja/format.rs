//! Python's `str.format`.

use super::{
    budget::{Failure, Outcome},
    calls::Args,
    interpreter::Interpreter,
    numbers::{Style, grouped, real, signed},
    printing,
    value::Value,
};

/// The part of a field after `:`.
#[derive(Debug)]
struct Spec {
    fill: char,
    align: Option<char>,
    sign: Option<char>,
    alternate: bool,
    zero: bool,
    width: usize,
    separator: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

impl Interpreter<'_> {
    /// `format.format(...)`.
    pub(super) fn format(&mut self, format: &str, args: Args) -> Outcome<Value> {
        let mut next = 0;
        let text = self.formatted(format, &args, &mut next, 2)?;
        Value::text(&self.budget, text)
    }

    fn formatted(&mut self, format: &str, args: &Args, next: &mut usize, levels: usize) -> Outcome<String> {
        if !format.contains(['{', '}']) {
            return Ok(format.to_string());
        }
        if levels == 0 {
            return Err(Failure::new("Max string recursion exceeded"));
        }
        let mut to = String::new();
        let mut rest = format;
        while let Some(at) = rest.find(['{', '}']) {
            to += &rest[..at];
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                to += brace;
                rest = after;
                continue;
            }
            if brace == "}" {
                return Err(Failure::new("Single '}' encountered in format string"));
            }
            let mut depth = 1;
            let end = rest.char_indices().find(|(_, letter)| {
                depth += i32::from(*letter == '{') - i32::from(*letter == '}');
                depth == 0
            });
            let Some((end, _)) = end else { return Err(Failure::new("expected '}' before end of string")) };
            to += &self.field(&rest[..end], args, next, levels)?;
            rest = &rest[end + 1..];
            self.budget.bytes(to.len() / 8)?;
        }
        Ok(to + rest)
    }

    /// One field: `name!conversion:spec`.
    fn field(&mut self, field: &str, args: &Args, next: &mut usize, levels: usize) -> Outcome<String> {
        let (head, spec) = field.split_once(':').unwrap_or((field, ""));
        let (name, conversion) = match head.split_once('!') {
            Some((name, conversion)) => (name, Some(conversion)),
            None => (head, None),
        };
        let value = self.named_field(name, args, next)?;
        let value = match conversion {
            None => value,
            Some("s") => Value::Str(self.to_str(&value)?.into()),
            Some("r") => Value::Str(self.repr(&value)?.into()),
            Some(other) => return Err(Failure::new(format!("the conversion `!{other}` is not supported"))),
        };
        let spec = self.formatted(spec, args, next, levels - 1)?;
        self.with_spec(&value, &spec)
    }

    fn named_field(&mut self, name: &str, args: &Args, next: &mut usize) -> Outcome<Value> {
        let end = name.find(['.', '[']).unwrap_or(name.len());
        let (first, mut rest) = name.split_at(end);
        let index = if first.is_empty() {
            *next += 1;
            Some(*next - 1)
        } else {
            first.parse().ok()
        };
        let mut value =
            match index {
                Some(index) => args.positional.get(index).cloned().ok_or_else(|| {
                    Failure::new("Replacement index out of range for positional args tuple")
                })?,
                None => {
                    let found = args.named.iter().find(|(name, _)| **name == *first);
                    found
                        .map(|(_, value)| value.clone())
                        .ok_or_else(|| Failure::new(format!("no value for `{first}`")))?
                }
            };
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('.') {
                let end = after.find(['.', '[']).unwrap_or(after.len());
                value = self.attribute(&value, &after[..end].into())?;
                rest = &after[end..];
            } else {
                let after = rest.strip_prefix('[').unwrap_or(rest);
                let Some((key, after)) = after.split_once(']') else {
                    return Err(Failure::new("expected ']' in a field of a format"));
                };
                let key = key.parse().map_or_else(|_| Value::Str(key.into()), Value::Int);
                value = self.item(&value, &key)?;
                rest = after;
            }
            value.defined()?;
        }
        Ok(value)
    }

    /// `format(value, spec)`.
    fn with_spec(&self, value: &Value, spec: &str) -> Outcome<String> {
        if spec.is_empty() {
            return self.to_str(value);
        }
        let parsed = parse(spec)?;
        self.budget.bytes(parsed.width.saturating_mul(4).saturating_add(parsed.precision.unwrap_or(0)))?;
        let refused =
            || Failure::new(format!("the format {spec:?} does not fit a value of type {}", value.kind()));
        match value.defined()? {
            Value::Str(text) => {
                let is_text = matches!(parsed.kind, None | Some('s')) && parsed.sign.is_none();
                if !is_text || parsed.separator.is_some() || parsed.align == Some('=') {
                    return Err(refused());
                }
                let kept: String = text.chars().take(parsed.precision.unwrap_or(usize::MAX)).collect();
                Ok(aligned(&parsed, "", &kept, '<'))
            }
            Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
                let number = value.as_float().unwrap_or(0.0);
                let whole = value.as_int();
                let (negative, prefix, digits) = match (parsed.kind, whole) {
                    (None | Some('d' | 'n'), Some(whole)) => {
                        (whole < 0, "", grouped(&whole.unsigned_abs().to_string(), parsed.separator))
                    }
                    (Some(kind @ ('x' | 'X' | 'o' | 'b')), Some(whole)) if parsed.separator.is_none() => {
                        let absolute = whole.unsigned_abs();
                        let (prefix, digits) = match kind {
                            'x' => ("0x", format!("{absolute:x}")),
                            'X' => ("0X", format!("{absolute:X}")),
                            'o' => ("0o", format!("{absolute:o}")),
                            _ => ("0b", format!("{absolute:b}")),
                        };
                        (whole < 0, if parsed.alternate { prefix } else { "" }, digits)
                    }
                    (Some(kind @ ('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%')), _) => {
                        let precision = parsed.precision.unwrap_or(6);
                        let style = Style { kind, precision, alternate: parsed.alternate };
                        (number.is_sign_negative(), "", grouped(&real(number, style), parsed.separator))
                    }
                    (None, None) if parsed.precision.is_none() => {
                        let digits = printing::float(number.abs());
                        (number.is_sign_negative(), "", grouped(&digits, parsed.separator))
                    }
                    _ => return Err(refused()),
                };
                let plus = parsed.sign == Some('+');
                let sign = signed(negative, plus, parsed.sign == Some(' '));
                Ok(aligned(&parsed, &format!("{sign}{prefix}"), &digits, '>'))
            }
            _ => Err(refused()),
        }
    }
}

fn parse(spec: &str) -> Outcome<Spec> {
    let is_align = |letter: &char| "<>=^".contains(*letter);
    let mut letters: std::collections::VecDeque<char> = spec.chars().collect();
    let mut parsed = Spec {
        fill: ' ',
        align: None,
        sign: None,
        alternate: false,
        zero: false,
        width: 0,
        separator: None,
        precision: None,
        kind: None,
    };
    if letters.get(1).is_some_and(is_align) {
        parsed.fill = letters.pop_front().unwrap_or(' ');
        parsed.align = letters.pop_front();
    } else if letters.front().is_some_and(is_align) {
        parsed.align = letters.pop_front();
    }
    if letters.front().is_some_and(|letter| "+- ".contains(*letter)) {
        parsed.sign = letters.pop_front();
    }
    if letters.front() == Some(&'#') {
        letters.pop_front();
        parsed.alternate = true;
    }
    if letters.front() == Some(&'0') {
        letters.pop_front();
        parsed.zero = parsed.align.is_none();
        if parsed.zero {
            parsed.fill = '0';
        }
    }
    let number = |letters: &mut std::collections::VecDeque<char>| -> Outcome<Option<usize>> {
        let mut digits = String::new();
        while let Some(digit) = letters.front().copied().filter(char::is_ascii_digit) {
            letters.pop_front();
            digits.push(digit);
        }
        if digits.is_empty() {
            return Ok(None);
        }
        let too_many = || Failure::new("Too many decimal digits in format string");
        digits.parse().map(Some).map_err(|_| too_many())
    };
    parsed.width = number(&mut letters)?.unwrap_or(0);
    if letters.front().is_some_and(|letter| ",_".contains(*letter)) {
        parsed.separator = letters.pop_front();
    }
    if letters.front() == Some(&'.') {
        letters.pop_front();
        let precision = number(&mut letters)?;
        let precision = precision.ok_or_else(|| Failure::new("Format specifier missing precision"))?;
        if precision > super::percent::PRECISION {
            return Err(Failure::new(format!(
                "a precision above {} is not supported",
                super::percent::PRECISION
            )));
        }
        parsed.precision = Some(precision);
    }
    parsed.kind = letters.pop_front();
    if !letters.is_empty() || parsed.zero && parsed.separator.is_some() {
        return Err(Failure::new(format!("the format {spec:?} is not supported")));
    }
    Ok(parsed)
}

fn aligned(spec: &Spec, sign: &str, text: &str, default: char) -> String {
    let length = sign.chars().count() + text.chars().count();
    let missing = spec.width.saturating_sub(length);
    let fill = |count: usize| spec.fill.to_string().repeat(count);
    let default = if spec.zero && default == '>' { '=' } else { default };
    match spec.align.unwrap_or(default) {
        '<' => format!("{sign}{text}{}", fill(missing)),
        '^' => format!("{}{sign}{text}{}", fill(missing / 2), fill(missing - missing / 2)),
        '=' => format!("{sign}{}{text}", fill(missing)),
        _ => format!("{}{sign}{text}", fill(missing)),
    }
}
