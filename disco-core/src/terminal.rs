//! Text of strangers on a terminal: names of features and files, samples, messages.

/// Whether a terminal does something else than draw the character: controls (C0, DEL, C1), the ends of lines and paragraphs, and
/// the characters that change the direction of text, are drawn over others, or hide.
///
/// A program that prints text of strangers prints an escape instead of such a character, and may keep line ends and tabs.
///
/// ```
/// use disco_core::terminal::is_obeyed;
/// let name = "rain\u{1b}[2J猫\u{202e}";
/// let shown: String = name
///     .chars()
///     .map(|c| if is_obeyed(c) { c.escape_unicode().to_string() } else { c.to_string() })
///     .collect();
/// assert_eq!(shown, r"rain\u{1b}[2J猫\u{202e}");
/// ```
pub fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0001}')
}
