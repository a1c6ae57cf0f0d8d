//! Lines, words and kinds of characters of a text, as Python sees them.

use super::{lexer::is_space, printing::is_printable};

/// `text.splitlines()`.
pub(super) fn lines(text: &str, keep_ends: bool) -> Vec<&str> {
    let is_end = |letter: char| {
        matches!(letter, '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}')
    };
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let Some(at) = rest.find(is_end) else {
            lines.push(rest);
            break;
        };
        let end = if rest[at..].starts_with("\r\n") {
            2
        } else {
            rest[at..].chars().next().map_or(1, char::len_utf8)
        };
        lines.push(&rest[..if keep_ends { at + end } else { at }]);
        rest = &rest[at + end..];
    }
    lines
}

/// `text.split(None, most)` or `text.rsplit(None, most)`.
pub(super) fn split(text: &str, most: usize, from_right: bool) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    if from_right {
        loop {
            rest = rest.trim_end_matches(is_space);
            if rest.is_empty() {
                break;
            }
            if parts.len() == most {
                parts.push(rest);
                break;
            }
            let begin = rest.char_indices().rev().find(|(_, letter)| is_space(*letter));
            let begin = begin.map_or(0, |(at, letter)| at + letter.len_utf8());
            parts.push(&rest[begin..]);
            rest = &rest[..begin];
        }
        parts.reverse();
        return parts;
    }
    loop {
        rest = rest.trim_start_matches(is_space);
        if rest.is_empty() {
            return parts;
        }
        if parts.len() == most {
            parts.push(rest);
            return parts;
        }
        let end = rest.find(is_space).unwrap_or(rest.len());
        parts.push(&rest[..end]);
        rest = &rest[end..];
    }
}

/// `text.title()`.
pub(super) fn title(text: &str) -> String {
    let mut inside = false;
    let mut to = String::new();
    for letter in text.chars() {
        if inside {
            to.extend(letter.to_lowercase());
        } else {
            to += &title_case(letter);
        }
        inside = letter.is_lowercase() || letter.is_uppercase();
    }
    to
}

/// A character at the beginning of a word: of several letters that it may become, only the first is in upper case.
fn title_case(letter: char) -> String {
    match letter {
        'Ǆ' | 'ǆ' => "ǅ".into(),
        'Ǉ' | 'ǉ' => "ǈ".into(),
        'Ǌ' | 'ǌ' => "ǋ".into(),
        'Ǳ' | 'ǳ' => "ǲ".into(),
        letter => {
            let mut upper = letter.to_uppercase();
            let first: String = upper.next().into_iter().collect();
            first + &upper.flat_map(char::to_lowercase).collect::<String>()
        }
    }
}

/// The first character in upper case, and the others in lower case.
pub(super) fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(title_case).unwrap_or_default();
    first + &letters.as_str().to_lowercase()
}

/// `text.isalpha()` and its siblings.
pub(super) fn is(name: &str, text: &str) -> bool {
    let all = |kind: fn(char) -> bool| !text.is_empty() && text.chars().all(kind);
    let cased = |letter: char| letter.is_lowercase() || letter.is_uppercase();
    match name {
        "isalnum" => all(char::is_alphanumeric),
        "isalpha" => all(char::is_alphabetic),
        "isascii" => text.is_ascii(),
        "isdecimal" | "isdigit" => {
            all(|letter| letter.is_ascii_digit() || !letter.is_ascii() && is_decimal(letter))
        }
        "isnumeric" => all(char::is_numeric),
        "isprintable" => text.chars().all(is_printable),
        "isspace" => all(is_space),
        "islower" => text.chars().any(cased) && !text.chars().any(char::is_uppercase),
        "isupper" => text.chars().any(cased) && !text.chars().any(char::is_lowercase),
        _ => text.chars().any(cased) && title(text) == text,
    }
}

/// Whether a character that is not ASCII is a decimal digit: it begins one of the ranges of ten in Unicode's category Nd.
fn is_decimal(letter: char) -> bool {
    const ZEROS: [u32; 37] = [
        0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50,
        0xed0, 0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40,
        0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10, 0x104a0,
    ];
    ZEROS.iter().any(|zero| (*zero..zero + 10).contains(&u32::from(letter)))
}
