//! JSON as Python writes it: with NaN, Infinity and -Infinity, which JSON does not have.

use std::borrow::Cow;

/// The names under which Python writes them. A name that another one ends with comes before it.
const NAMES: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

/// A place in a JSON text, and the top-level field whose value it is in.
struct Scan<'a> {
    json: &'a str,
    at: usize,
    depth: usize,
    // The last key of the object at the top: as it stands in the text, with its escapes.
    key: Option<&'a str>,
    in_value: bool,
}

impl<'a> Scan<'a> {
    fn new(json: &'a str) -> Self {
        Self { json, at: 0, depth: 0, key: None, in_value: false }
    }

    fn field(&self) -> Option<&'a str> {
        self.key.filter(|_| self.in_value && self.depth > 0)
    }

    /// Goes past one string, one of [`NAMES`], or one byte of anything else. Returns the name.
    fn step(&mut self) -> Option<&'static str> {
        let bytes = self.json.as_bytes();
        let rest = &bytes[self.at..];
        let name = NAMES.into_iter().find(|name| rest.starts_with(name.as_bytes()));
        if let Some(name) = name {
            self.at += name.len();
            return Some(name);
        }
        match rest[0] {
            b'"' => {
                let start = self.at + 1;
                self.at = start;
                while self.at < bytes.len() && bytes[self.at] != b'"' {
                    self.at += if bytes[self.at] == b'\\' { 2 } else { 1 };
                }
                if self.depth == 1 && !self.in_value {
                    self.key = self.json.get(start..self.at);
                }
            }
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            b':' if self.depth == 1 => self.in_value = true,
            b',' if self.depth == 1 => self.in_value = false,
            _ => {}
        }
        self.at += 1;
        None
    }
}

/// The key of a JSON object in whose value byte `at` lies; `None` outside of all values, and where there is no object.
pub(crate) fn field_at(json: &str, at: usize) -> Option<&str> {
    let mut scan = Scan::new(json);
    while scan.at < at.min(json.len()) {
        scan.step();
    }
    scan.field()
}

/// Whether a key, as it stands in a JSON text with its escapes, is `name`.
pub(crate) fn is_key(key: &str, name: &str) -> bool {
    if !key.contains('\\') {
        return key == name;
    }
    serde_json::from_str::<String>(&format!("\"{key}\"")).is_ok_and(|key| key == name)
}

/// The text with each number that is not JSON, outside of strings, replaced by `replacement(field, name)`, with the key of its
/// top-level field, as [`is_key`] takes it.
///
/// # Errors
/// The first of `replacement`.
pub(crate) fn replace_numbers<'a, E>(
    json: &'a str,
    mut replacement: impl FnMut(Option<&str>, &str) -> Result<&'static str, E>,
) -> Result<Cow<'a, str>, E> {
    // Most texts have none: no scan for those.
    if !NAMES[1..].iter().any(|name| json.contains(name)) {
        return Ok(json.into());
    }
    let (mut text, mut end, mut scan) = (String::new(), 0, Scan::new(json));
    while scan.at < json.len() {
        let start = scan.at;
        if let Some(name) = scan.step() {
            text.push_str(&json[end..start]);
            text.push_str(replacement(scan.field(), name)?);
            end = scan.at;
        }
    }
    text.push_str(&json[end..]);
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_outside_of_strings() {
        let json = r#"{"NaN": [NaN, "a \" NaN", -Infinity], "b\\": Infinity, "c": -1, "naN": "Infinity"}"#;
        let mut found = Vec::new();
        let text = replace_numbers(json, |field, name| {
            found.push((field.map(String::from), name.to_string()));
            Ok::<_, ()>("<>")
        });
        let expected = r#"{"NaN": [<>, "a \" NaN", <>], "b\\": <>, "c": -1, "naN": "Infinity"}"#;
        assert_eq!(text.unwrap(), expected);
        let field = |name: &str| Some(name.to_string());
        assert_eq!(
            found,
            [
                (field("NaN"), "NaN".into()),
                (field("NaN"), "-Infinity".into()),
                (field(r"b\\"), "Infinity".into())
            ]
        );
        assert_eq!(replace_numbers("[NaN]", |_, name| Err(name.to_string())), Err("NaN".into()));
    }

    #[test]
    fn the_field_of_a_place_is_its_key_at_the_top() {
        let json = r#"{"a": {"b": [1, 2]}, "c": 3}"#;
        let field = |part| field_at(json, json.find(part).unwrap());
        assert_eq!(
            [field("1"), field("2"), field("3"), field("{\"a")],
            [Some("a"), Some("a"), Some("c"), None]
        );
        assert_eq!(field_at(json, json.len()), None);
        assert_eq!(field_at("[1, 2]", 3), None);
        assert_eq!(field_at(r#"{"open"#, 6), None);
        assert_eq!(field_at("\"open \\", 7), None);
    }

    #[test]
    fn keys_are_compared_without_their_escapes() {
        assert!(is_key("log_prob", "log_prob") && is_key(r"log_pro\u0062", "log_prob"));
        assert!(is_key(r#"a\"b\\"#, r#"a"b\"#) && is_key(r"\ud83d\udc31", "🐱"));
        assert!(!is_key(r"a\b", r"a\b") && !is_key(r"\ud83d", "\u{fffd}") && !is_key("a", "b"));
    }

    #[test]
    fn many_numbers_take_one_pass() {
        let json = format!("{{\"a\": [{}0]}}", "NaN,".repeat(1 << 20));
        let text = replace_numbers(&json, |_, _| Ok::<_, ()>("0"));
        assert_eq!(text.unwrap().len(), json.len() - (2 << 20));
    }
}
