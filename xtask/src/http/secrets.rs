//! Words that are secret, and that a server may repeat in what it answers.

use crate::terminal::beginning;

/// Secret words, which are hidden in what is shown of a server's answers.
#[derive(Default)]
pub(crate) struct Secrets {
    /// Each word as it is and as it stands in a string of JSON, the longest first: a word may be a part of another.
    forms: Vec<String>,
}

impl Secrets {
    /// The words of these values of headers.
    pub(crate) fn of<'v>(values: impl IntoIterator<Item = &'v str>) -> Self {
        /// Shorter words are those of a scheme, such as Bearer.
        const SECRET: usize = 8;
        let words = values.into_iter().flat_map(str::split_whitespace).filter(|word| word.len() >= SECRET);
        let mut forms: Vec<String> = words.flat_map(|word| [word.to_owned(), escaped(word)]).collect();
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        Self { forms }
    }

    /// A text without them.
    pub(crate) fn hide(&self, text: &str) -> String {
        self.forms.iter().fold(text.to_owned(), |text, form| text.replace(form, "[secret]"))
    }

    /// The beginning of a text without them, in quotes, for messages. They are hidden before the text is cut.
    pub(crate) fn beginning(&self, text: &[u8]) -> String {
        match self.forms.is_empty() {
            true => beginning(text),
            false => beginning(self.hide(&String::from_utf8_lossy(text)).as_bytes()),
        }
    }
}

/// A word as it stands in a string of JSON.
fn escaped(word: &str) -> String {
    let quoted = serde_json::Value::from(word).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_hidden_whole_and_as_json_has_them() {
        let secrets = Secrets::of(["Bearer 12345678", "a\"b\"c-secret 12345678-and-more"]);
        assert_eq!(secrets.hide("Bearer 12345678"), "Bearer [secret]");
        assert_eq!(secrets.hide("12345678-and-more"), "[secret]");
        assert_eq!(secrets.hide(r#"a"b"c-secret, a\"b\"c-secret"#), "[secret], [secret]");
        let cut = format!("{}12345678", "x".repeat(196));
        assert_eq!(secrets.beginning(cut.as_bytes()), format!("\"{}[sec...\"", "x".repeat(196)));
        assert_eq!(Secrets::default().beginning(b"12345678"), "\"12345678\"");
    }
}
