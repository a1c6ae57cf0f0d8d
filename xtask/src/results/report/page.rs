//! The frame of a page: its head, its style, and the one script, which only filters samples.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::html::escape;

/// The first line of every page of ours, by which it is told from other files.
const FIRST_LINE: &str = "<!doctype html><!-- a report of disco -->";

/// The script. It holds no data: it reads the rows of the table of samples.
const SCRIPT: &str = include_str!("filter.js");

/// Whether a file with this first line is a page of ours.
pub(crate) fn is_report(first_line: &[u8]) -> bool {
    first_line.starts_with(FIRST_LINE.as_bytes())
}

/// A whole page. `kicker` and `content` are HTML. The policy in its head allows no request and no script but ours, so that nothing that a
/// model or a file has written could act.
pub(super) fn page(title: &str, kicker: &str, content: &str) -> String {
    let title = escape(title);
    let style = include_str!("style.css");
    let hash = base64(&Sha256::digest(SCRIPT.as_bytes()));
    format!(
        "{FIRST_LINE}\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{hash}'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n\
         <header><p class=\"kicker\">{kicker}</p><h1>{title}</h1>{content}\n</main>\n\
         <script>{SCRIPT}</script>\n</body>\n</html>\n",
    )
}

/// Bytes in base64, whose padding is `=`.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..4 {
            match place <= chunk.len() {
                true => text.push(char::from(DIGITS[bits >> (18 - 6 * place) & 63])),
                false => {
                    let _ = write!(text, "=");
                }
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_as_the_standard_has_it() {
        // RFC 4648, section 10.
        let texts = ["", "f", "fo", "foo", "foob", "fooba", "foobar"];
        let expected = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
        assert_eq!(texts.map(|text| base64(text.as_bytes())), expected);
    }
}
