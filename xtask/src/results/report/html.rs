//! Pieces of HTML.

use std::ops::Range;

use disco_core::Estimate;

use crate::results::{
    numbers::{self, Shown, plain},
    rows::AskedRange,
};

/// The cell of a number that there is not.
pub(super) const NOTHING: &str = "—";

/// Text with the characters that HTML gives a meaning replaced.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // HTML has none, and readers disagree on it.
            '\0' => escaped.push('\u{fffd}'),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// Text with the ranges of bytes marked. Ranges may come in any order and overlap.
pub(super) fn marked(text: &str, mut ranges: Vec<Range<usize>>) -> String {
    // Of ranges that begin together the longest comes first, and holds the others.
    ranges.sort_by_key(|range| (range.start, std::cmp::Reverse(range.end)));
    let mut html = String::new();
    let mut at = 0;
    for range in ranges {
        let (start, end) = (range.start.max(at), range.end);
        if start < end {
            html.push_str(&escape(&text[at..start]));
            html.push_str(&format!("<mark>{}</mark>", escape(&text[start..end])));
            at = end;
        }
    }
    html + &escape(&text[at..])
}

/// A number in words, with its error in smaller type beside it.
pub(super) fn shown(words: &Shown) -> String {
    let value = escape(&words.value);
    match &words.error {
        Some(error) => format!(r#"{value}<span class="error"> {}</span>"#, escape(error)),
        None => value,
    }
}

/// An estimate, with its error in smaller type beside it.
pub(super) fn estimate(estimate: &Estimate) -> String {
    shown(&numbers::shown(estimate))
}

/// An estimate that may not exist.
pub(super) fn optional(value: Option<Estimate>) -> String {
    value.as_ref().map_or_else(|| NOTHING.into(), estimate)
}

/// The range in which a mean was asked for, in its colour.
pub(super) fn asked(range: Option<AskedRange>) -> String {
    format!(r#"<span class="asked">{}</span>"#, asked_in_words(range))
}

/// The range in which a mean was asked for, in words.
pub(super) fn asked_in_words(range: Option<AskedRange>) -> String {
    range.map_or_else(|| NOTHING.into(), |range| range.in_words(plain))
}

/// A row of plain cells.
pub(super) fn cells<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// A table; the first row is its head, the first column names the rows. Cells are HTML. On a narrow screen each row is a block, in which
/// cells stand beside the words of the head.
pub(super) fn table(class: &str, rows: &[Vec<String>]) -> String {
    let mut html = format!(r#"<div class="scroll"><table class="{class}"><thead>"#);
    let labels: Vec<String> =
        rows.first().map_or_else(Vec::new, |head| head.iter().map(|cell| words_of(cell)).collect());
    for (index, row) in rows.iter().enumerate() {
        html.push_str(if index == 1 { "</thead><tbody><tr>" } else { "<tr>" });
        for (column, cell) in row.iter().enumerate() {
            let label = labels.get(column).map_or("", String::as_str);
            html.push_str(&match (index, column) {
                (0, _) => format!(r#"<th scope="col">{cell}</th>"#),
                (_, 0) => format!(r#"<th scope="row">{cell}</th>"#),
                // A narrow screen leaves out what there is not.
                _ if cell == NOTHING => format!(r#"<td class="nothing">{cell}</td>"#),
                _ => format!(r#"<td data-label="{label}">{cell}</td>"#),
            });
        }
        html.push_str("</tr>");
    }
    html + if rows.len() > 1 { "</tbody></table></div>" } else { "</thead></table></div>" }
}

/// The words of some HTML of ours, without its tags.
fn words_of(html: &str) -> String {
    let mut words = String::new();
    for (index, part) in html.split('<').enumerate() {
        words.push_str(if index == 0 { part } else { part.split_once('>').map_or("", |(_, text)| text) });
    }
    words
}

/// The last words of a context, which tell contexts apart.
pub(super) fn shortened(text: &str) -> String {
    const MOST: usize = 60;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let count = line.chars().count();
    match count > MOST {
        true => format!("…{}", line.chars().skip(count - MOST).collect::<String>()),
        false => line,
    }
}

/// A section with a heading, a paragraph of HTML, and content.
pub(super) fn section(heading: &str, introduction: &str, content: &str) -> String {
    format!("<section><h2>{}</h2><p>{introduction}</p>{content}</section>", escape(heading))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "these are lists of ranges")]
    fn occurrences_are_marked_once_and_escaped() {
        assert_eq!(marked("a < b", vec![2..3]), "a <mark>&lt;</mark> b");
        assert_eq!(marked("the king", vec![4..8, 4..6]), "the <mark>king</mark>");
        assert_eq!(marked("abcdef", vec![3..5, 1..4]), "a<mark>bcd</mark><mark>e</mark>f");
        assert_eq!(marked("é", vec![0..2]), "<mark>é</mark>");
        assert_eq!(marked("plain", Vec::new()), "plain");
    }
}
