//! Numbers and texts as they are written in a template.

use super::{
    budget::{Failure, Outcome},
    lexer::Token,
};

/// The number at the beginning of `rest`, and its length.
pub(super) fn number(rest: &str) -> Outcome<(Token, usize)> {
    let bytes = rest.as_bytes();
    let too_large = |text: &str| Failure::new(format!("the number {text} has more than 64 bits"));
    for (prefixes, radix) in [(["0x", "0X"], 16), (["0b", "0B"], 2), (["0o", "0O"], 8)] {
        if prefixes.iter().any(|prefix| rest.starts_with(prefix)) {
            let length = 2 + digits(&rest[2..], |byte| char::from(byte).is_digit(radix));
            let text = rest[2..length].replace('_', "");
            let value = i64::from_str_radix(&text, radix).map_err(|_| too_large(&rest[..length]))?;
            return Ok((Token::Int(value), length));
        }
    }
    let is_digit = |byte: u8| byte.is_ascii_digit();
    let mut length = digits(rest, is_digit);
    let mut is_float = false;
    if bytes.get(length) == Some(&b'.') {
        let fraction = digits(&rest[length + 1..], is_digit);
        if fraction > 0 {
            is_float = true;
            length += 1 + fraction;
        }
    }
    if matches!(bytes.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
        let exponent = digits(&rest[length + 1 + sign..], is_digit);
        if exponent > 0 {
            is_float = true;
            length += 1 + sign + exponent;
        }
    }
    let text = rest[..length].replace('_', "");
    if is_float {
        let value = text.parse().map_err(|_| Failure::new(format!("{text} is no number")))?;
        return Ok((Token::Float(value), length));
    }
    if text.len() > 1 && text.starts_with('0') && text.bytes().any(|byte| byte != b'0') {
        return Err(Failure::new(format!("the number {text} begins with 0")));
    }
    Ok((Token::Int(text.parse().map_err(|_| too_large(&text))?), length))
}

/// The length of digits with single underscores between them.
fn digits(text: &str, is_digit: impl Fn(u8) -> bool) -> usize {
    let bytes = text.as_bytes();
    let mut length = 0;
    while length < bytes.len() {
        let next = bytes.get(length + 1).copied();
        match bytes[length] {
            byte if is_digit(byte) => length += 1,
            b'_' if length > 0 && next.is_some_and(&is_digit) => length += 1,
            _ => break,
        }
    }
    length
}

/// The text in quotes at the beginning of `rest`, with Python's escapes replaced, and its length.
pub(super) fn text(rest: &str) -> Outcome<(String, usize)> {
    let mut letters = rest.char_indices().peekable();
    let quote = letters.next().map(|(_, letter)| letter);
    let mut text = String::new();
    while let Some((at, letter)) = letters.next() {
        if Some(letter) == quote {
            return Ok((text, at + 1));
        }
        if letter != '\\' {
            text.push(letter);
            continue;
        }
        let Some((_, escape)) = letters.next() else { break };
        let mut code = |first: &str, radix: u32, most: usize, least: usize| {
            let mut written = first.to_string();
            while written.len() < most
                && let Some((_, digit)) = letters.next_if(|(_, letter)| letter.is_digit(radix))
            {
                written.push(digit);
            }
            let code = u32::from_str_radix(&written, radix).ok().filter(|_| written.len() >= least);
            let letter = code.and_then(char::from_u32);
            letter.ok_or_else(|| Failure::new(format!("the escape `\\{escape}{written}` is no character")))
        };
        match escape {
            '\n' => {}
            '\\' | '\'' | '"' => text.push(escape),
            'a' => text.push('\x07'),
            'b' => text.push('\x08'),
            'f' => text.push('\x0c'),
            'n' => text.push('\n'),
            'r' => text.push('\r'),
            't' => text.push('\t'),
            'v' => text.push('\x0b'),
            'x' => text.push(code("", 16, 2, 2)?),
            'u' => text.push(code("", 16, 4, 4)?),
            'U' => text.push(code("", 16, 8, 8)?),
            '0'..='7' => text.push(code(&escape.to_string(), 8, 3, 1)?),
            'N' => return Err(Failure::new("the escape `\\N{...}` is not supported")),
            other if other.is_ascii() => text.extend(['\\', other]),
            other => return Err(Failure::new(format!("`\\{other}` is no escape"))),
        }
    }
    Err(Failure::new("a text has no closing quote"))
}
