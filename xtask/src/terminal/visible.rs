//! Text of strangers on a terminal: file names of a hub, names of features, samples, messages of templates.

use disco_core::terminal::is_obeyed;

/// The longest line that is shown, in characters.
const LONGEST: usize = 8000;

/// The text without anything that a terminal would obey: each control character is shown as its escape, such as `\u{1b}`.
///
/// Line ends and tabs stay. A line of more than 8,000 characters is cut, with a note of how many are missing.
pub(crate) fn visible(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(|line| shown(line, |c| c == '\t')).collect();
    lines.join("\n")
}

/// As [`visible`], in one line: line ends and tabs are shown as escapes too.
pub(crate) fn visible_line(text: &str) -> String {
    shown(text, |_| false)
}

fn shown(line: &str, is_kept: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut characters = line.chars();
    for c in characters.by_ref().take(LONGEST) {
        if is_obeyed(c) && !is_kept(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    match characters.count() {
        0 => shown,
        more => format!("{shown}… ({more} more characters)"),
    }
}

/// JSON in which no character is left that a terminal would obey: each is written as its escape, which is the same JSON.
pub(crate) fn visible_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    let mut units = [0; 2];
    for c in json.chars() {
        // Outside of strings JSON has none of these but line ends and tabs.
        if is_obeyed(c) && !c.is_ascii_whitespace() {
            for unit in c.encode_utf16(&mut units) {
                shown.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A text of at most `most` characters, with `...` if it was cut.
pub(crate) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// The beginning of a text, in quotes, for messages.
pub(crate) fn beginning(text: &[u8]) -> String {
    const SHOWN: usize = 200;
    // No character has more than four bytes.
    let text = String::from_utf8_lossy(&text[..text.len().min(4 * SHOWN + 4)]);
    format!("{:?}", cut(&text, SHOWN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_that_a_terminal_obeys() {
        assert_eq!(visible("a\u{1b}[31mb\u{9b}2Jc\u{7f}\r\nd\te"), "a\\u{1b}[31mb\\u{9b}2Jc\\u{7f}\\r\nd\te");
        assert_eq!(visible_line("a\nb\tc\u{202e}d\u{2028}e\0"), "a\\nb\\tc\\u{202e}d\\u{2028}e\\u{0}");
        for c in (0..0x11_0000).filter_map(char::from_u32) {
            let text = visible(&c.to_string());
            assert!(text.chars().all(|c| !c.is_control() || "\n\t".contains(c)), "{c:?}: {text:?}");
            let json = serde_json::to_string(&c.to_string()).unwrap();
            let shown = visible_json(&json);
            assert!(!shown.chars().any(char::is_control), "{c:?}");
            assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), c.to_string());
        }
    }

    #[test]
    fn text_of_all_languages_stays() {
        // Joiners belong to emoji and to several scripts; no-break spaces stand between digits.
        for text in ["naïve — „Größe“", "猫犬", "👩\u{200d}👧", "می\u{200c}خواهم", "שלום", "1\u{202f}000 ± 2"]
        {
            assert_eq!(visible(text), text);
            assert_eq!(visible_json(text), text);
        }
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let long = "x".repeat(LONGEST + 5);
        assert_eq!(visible(&format!("{long}\ny")), format!("{}… (5 more characters)\ny", &long[5..]));
    }

    #[test]
    fn the_beginning_of_a_long_text_is_cut() {
        let long = "ä".repeat(1000);
        assert_eq!(beginning(long.as_bytes()), format!("\"{}...\"", "ä".repeat(200)));
        assert_eq!(beginning(b"short \xff"), "\"short \u{fffd}\"");
    }
}
