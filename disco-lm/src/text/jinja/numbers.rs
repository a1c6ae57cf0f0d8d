//! Numbers as text, as the formats of Python and C write them.

use super::printing;

/// How a real number is written.
#[derive(Clone, Copy)]
pub(super) struct Style {
    /// One of `e`, `E`, `f`, `F`, `g`, `G`, `%`.
    pub(super) kind: char,
    pub(super) precision: usize,
    /// Whether `g` keeps its zeros.
    pub(super) alternate: bool,
}

/// The digits of `|value|`.
pub(super) fn real(value: f64, style: Style) -> String {
    let value = value.abs();
    let text = if value.is_finite() {
        match style.kind {
            'e' | 'E' => exponential(value, style.precision),
            'f' | 'F' => format!("{value:.*}", style.precision),
            '%' => format!("{:.*}%", style.precision, value * 100.0),
            _ => general(value, style.precision.max(1), style.alternate),
        }
    } else {
        printing::float(value)
    };
    if style.kind.is_ascii_uppercase() { text.to_uppercase() } else { text }
}

fn exponential(value: f64, precision: usize) -> String {
    let text = format!("{value:.precision$e}");
    let (digits, exponent) = text.split_once('e').expect("the format has an exponent");
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

fn general(value: f64, precision: usize, alternate: bool) -> String {
    let scientific = format!("{value:.*e}", precision - 1);
    let exponent = scientific.split_once('e').and_then(|(_, exponent)| exponent.parse::<i64>().ok());
    let exponent = exponent.unwrap_or(0);
    let is_plain = exponent >= -4 && exponent < precision as i64;
    let text = if is_plain {
        format!("{value:.*}", (precision as i64 - 1 - exponent) as usize)
    } else {
        exponential(value, precision - 1)
    };
    if alternate {
        return text;
    }
    let (digits, rest) = text.split_at(text.find('e').unwrap_or(text.len()));
    let digits =
        if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
    format!("{digits}{rest}")
}

/// The sign of a number.
pub(super) fn signed(negative: bool, plus: bool, space: bool) -> &'static str {
    match (negative, plus, space) {
        (true, ..) => "-",
        (_, true, _) => "+",
        (_, _, true) => " ",
        _ => "",
    }
}

/// Digits with a separator between each three of the whole part.
pub(super) fn grouped(digits: &str, separator: Option<char>) -> String {
    let Some(separator) = separator else { return digits.to_string() };
    let whole = digits.bytes().take_while(u8::is_ascii_digit).count();
    let mut text = String::new();
    for (index, digit) in digits[..whole].chars().enumerate() {
        if index > 0 && (whole - index).is_multiple_of(3) {
            text.push(separator);
        }
        text.push(digit);
    }
    text + &digits[whole..]
}
