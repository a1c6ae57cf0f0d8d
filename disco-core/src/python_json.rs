//! JSON as Python writes it: with NaN, Infinity and -Infinity, which JSON does not have.

use std::borrow::Cow;

/// A number that is not JSON, outside of strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BareNumber {
    /// Its first byte.
    pub(crate) start: usize,
    /// Its name, as it stands there.
    pub(crate) name: &'static str,
}

/// The names under which Python writes them. A name that another one ends with comes before it.
const NAMES: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

/// All numbers that are not JSON, in order.
pub(crate) fn bare_numbers(json: &str) -> Vec<BareNumber> {
    let mut found: Vec<BareNumber> = Vec::new();
    // Most texts have none: no scan for those.
    if !NAMES[1..].iter().any(|name| json.contains(name)) {
        return found;
    }
    let bytes = json.as_bytes();
    let (mut at, mut in_string) = (0, false);
    while at < bytes.len() {
        let name = NAMES.into_iter().find(|name| !in_string && bytes[at..].starts_with(name.as_bytes()));
        at += match (bytes[at], name) {
            (_, Some(name)) => {
                found.push(BareNumber { start: at, name });
                name.len()
            }
            (b'"', None) => {
                in_string = !in_string;
                1
            }
            (b'\\', None) if in_string => 2,
            _ => 1,
        };
    }
    found
}

/// The key of a JSON object in whose value byte `at` lies; `None` outside of all values, and where there is no object.
/// Keys with escapes are as they stand in the text.
pub(crate) fn field_at(json: &str, at: usize) -> Option<&str> {
    let bytes = json.as_bytes();
    let (mut depth, mut key, mut in_value) = (0usize, None, false);
    let mut i = 0;
    while i < at.min(bytes.len()) {
        match bytes[i] {
            b'"' => {
                let start = i + 1;
                i = start;
                while i < bytes.len() && bytes[i] != b'"' {
                    i += if bytes[i] == b'\\' { 2 } else { 1 };
                }
                if depth == 1 && !in_value {
                    key = json.get(start..i);
                }
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b':' if depth == 1 => in_value = true,
            b',' if depth == 1 => in_value = false,
            _ => {}
        }
        i += 1;
    }
    key.filter(|_| in_value && depth > 0)
}

/// The text with each of `numbers` replaced by `replacement(name)`.
pub(crate) fn replaced<'a>(
    json: &'a str,
    numbers: &[BareNumber],
    replacement: impl Fn(&str) -> String,
) -> Cow<'a, str> {
    if numbers.is_empty() {
        return json.into();
    }
    let (mut text, mut end) = (String::with_capacity(json.len()), 0);
    for number in numbers {
        text.push_str(&json[end..number.start]);
        text.push_str(&replacement(number.name));
        end = number.start + number.name.len();
    }
    text.push_str(&json[end..]);
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_outside_of_strings() {
        let json = r#"{"NaN": [NaN, "a \" NaN", -Infinity], "b\\": Infinity, "c": -1, "naN": "Infinity"}"#;
        let found: Vec<(&str, Option<&str>)> = bare_numbers(json)
            .iter()
            .inspect(|number| assert!(json[number.start..].starts_with(number.name)))
            .map(|number| (number.name, field_at(json, number.start)))
            .collect();
        let expected = [("NaN", Some("NaN")), ("-Infinity", Some("NaN")), ("Infinity", Some(r"b\\"))];
        assert_eq!(found, expected);
        let text = replaced(json, &bare_numbers(json), |name| format!("<{name}>"));
        assert!(
            text.starts_with(r#"{"NaN": [<NaN>, "a \" NaN", <-Infinity>], "b\\": <Infinity>, "#),
            "{text}"
        );
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
    }
}
