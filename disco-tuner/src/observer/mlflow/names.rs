//! Names and values in the form that every MLflow server takes.

use std::collections::BTreeMap;

/// The longest key, in bytes. A server counts characters, and a server that keeps files counts bytes.
const LONGEST_KEY: usize = 250;
/// The longest value of a parameter that every version of MLflow takes, in characters.
const LONGEST_VALUE: usize = 500;

/// Letters outside ASCII that are letters in every version of Unicode, and so of Python, from 3.2 on.
const LETTERS: [(char, char); 15] = [
    ('À', 'Ö'),
    ('Ø', 'ö'),
    ('ø', 'Ƞ'),
    ('Α', 'Ρ'),
    ('Σ', 'ώ'),
    ('Ѐ', 'ҁ'),
    ('Ҋ', 'ӎ'),
    ('א', 'ת'),
    ('ء', 'غ'),
    ('ف', 'ي'),
    ('ぁ', 'ゖ'),
    ('ァ', 'ヺ'),
    ('㐀', '䶵'),
    ('一', '龥'),
    ('가', '힣'),
];

/// The keys of a run that differ from their names.
#[derive(Debug, Default)]
pub(super) struct Names {
    by_key: BTreeMap<String, String>,
    /// Whether the server lacks some of them.
    pub(super) has_new: bool,
}

impl Names {
    /// The key of a name. It is kept if it differs from the name.
    ///
    /// # Errors
    /// Another name that has the same key; only names that were cut could.
    pub(super) fn key(&mut self, name: &str) -> Result<String, String> {
        let key = key(name);
        if key == name {
            return Ok(key);
        }
        match self.by_key.get(&key) {
            Some(other) if other == name => {}
            Some(other) => return Err(format!("MLflow: `{name}` and `{other}` have the same key {key}")),
            None => {
                self.by_key.insert(key.clone(), name.to_owned());
                self.has_new = true;
            }
        }
        Ok(key)
    }

    /// The names by key, as JSON.
    pub(super) fn to_json(&self) -> String {
        serde_json::json!(self.by_key).to_string()
    }

    /// Adds what an earlier part of the run told the server.
    pub(super) fn add_json(&mut self, text: &str) {
        let earlier: BTreeMap<String, String> = serde_json::from_str(text).unwrap_or_default();
        for (key, name) in earlier {
            self.by_key.entry(key).or_insert(name);
        }
    }
}

/// The key of a name on the server, one to one.
///
/// ASCII letters and digits, `-`, `_`, `.`, space, `/` and the [`LETTERS`] stay. A character becomes `_xHEX_`, with its
/// number in hexadecimal, where
///
/// - it is another one (a server on Windows does not take `:`),
/// - a path would not be unique: a `/` at the beginning, at the end or after another `/`, a `.` at the beginning of a part,
/// - a database may not see it: a space at the beginning or the end,
/// - it is a `_` before what looks like the rest of such a replacement.
///
/// A longer key is cut, and ends in `_x-` and a checksum of 128 bits of the name.
fn key(name: &str) -> String {
    if name.is_empty() {
        return "_x0_".to_owned();
    }
    let mut key = String::with_capacity(name.len());
    let mut before = None;
    let mut rest = name.chars();
    while let Some(character) = rest.next() {
        let is_last = rest.as_str().is_empty();
        let stays = match character {
            '/' => !matches!(before, None | Some('/')) && !is_last,
            '.' => !matches!(before, None | Some('/')),
            ' ' => before.is_some() && !is_last,
            '_' => !is_rest_of_replacement(rest.as_str()),
            other => other.is_ascii_alphanumeric() || other == '-' || is_letter(other),
        };
        if stays {
            key.push(character);
        } else {
            key += &format!("_x{:02X}_", u32::from(character));
        }
        before = Some(character);
    }
    if key.len() <= LONGEST_KEY {
        return key;
    }
    let checksum = format!("_x-{:032x}", checksum(name));
    key.truncate(key.floor_char_boundary(LONGEST_KEY - checksum.len()));
    key + &checksum
}

fn is_letter(character: char) -> bool {
    character == 'ー' || LETTERS.iter().any(|&(first, last)| (first..=last).contains(&character))
}

/// Whether a `_` before this text would look like the beginning of a replacement.
fn is_rest_of_replacement(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next() == Some('x')
        && characters.next().is_some_and(|next| matches!(next, '0'..='9' | 'A'..='F' | '-'))
}

/// FNV-1a with 128 bits.
fn checksum(name: &str) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    name.bytes().fold(OFFSET, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
}

/// A value of a parameter, cut where it is too long. A value that was cut says so at its end.
pub(super) fn value(text: &str) -> String {
    let count = text.chars().count();
    if count <= LONGEST_VALUE {
        return text.to_owned();
    }
    let end = format!("… ({count} characters)");
    let kept = LONGEST_VALUE - end.chars().count();
    text.chars().take(kept).collect::<String>() + &end
}

/// A text in parts of at most `longest` bytes, which joined are the text. An empty text is one part.
pub(super) fn parts(mut text: &str, longest: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    while text.len() > longest {
        let (part, rest) = text.split_at(text.floor_char_boundary(longest));
        parts.push(part);
        text = rest;
    }
    parts.push(text);
    parts
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{LONGEST_KEY, Names, checksum, key, parts, value};

    /// Names that a server refuses or takes for the same, and their keys.
    const KEYS: [(&str, &str); 22] = [
        ("moment/a b-c_d.e/policy", "moment/a b-c_d.e/policy"),
        ("moment/猫/policy", "moment/猫/policy"),
        ("", "_x0_"),
        ("a//b", "a/_x2F_b"),
        ("moment//policy", "moment/_x2F_policy"),
        ("/a", "_x2F_a"),
        ("a/", "a_x2F_"),
        ("/", "_x2F_"),
        ("..", "_x2E_."),
        (".", "_x2E_"),
        ("a/../b", "a/_x2E_./b"),
        ("..a", "_x2E_.a"),
        ("a.b..", "a.b.."),
        (" a ", "_x20_a_x20_"),
        ("a:b", "a_x3A_b"),
        ("#", "_x23_"),
        ("_x23_", "_x5F_x23_"),
        ("_x2#", "_x5F_x2_x23_"),
        ("max_x", "max_x"),
        ("a\nb", "a_x0A_b"),
        ("हिन्दी", "_x939__x93F__x928__x94D__x926__x940_"),
        ("😀", "_x1F600_"),
    ];

    #[test]
    fn names_are_replaced_where_a_server_refuses_them() {
        for (name, expected) in KEYS {
            assert_eq!(key(name), expected, "{name}");
        }
    }

    /// The name of a key that was not cut.
    fn name(key: &str) -> String {
        let (mut name, mut rest) = (String::new(), key);
        if key == "_x0_" {
            return name;
        }
        while let Some(first) = rest.chars().next() {
            let number = rest.strip_prefix("_x").and_then(|after| {
                let (digits, after) = after.split_once('_')?;
                let number = u32::from_str_radix(digits, 16).ok()?;
                (digits.len() >= 2 && !digits.contains(|other: char| other.is_ascii_lowercase()))
                    .then_some((char::from_u32(number)?, after))
            });
            let (character, after) = number.unwrap_or((first, &rest[first.len_utf8()..]));
            name.push(character);
            rest = after;
        }
        name
    }

    #[test]
    fn every_name_can_be_read_back_from_its_key() {
        // All texts of up to five of these characters.
        let alphabet = ['_', 'x', '2', 'F', '/', '.', ' ', '#', '猫'];
        let mut texts = vec![String::new()];
        let mut from = 0;
        for _ in 0..5 {
            let end = texts.len();
            for at in from..end {
                texts.extend(alphabet.map(|character| format!("{}{character}", texts[at])));
            }
            from = end;
        }
        let mut seen = HashMap::new();
        for text in &texts {
            let key = key(text);
            assert_eq!(&name(&key), text, "{key}");
            if let Some(other) = seen.insert(key, text) {
                panic!("{text:?} and {other:?}");
            }
        }
        assert_eq!(texts.len(), (0..=5).map(|length| 9usize.pow(length)).sum::<usize>());
    }

    #[test]
    fn long_names_are_cut_and_stay_different() {
        let [one, two] = ["a", "b"].map(|end| key(&format!("{}{end}", "long/".repeat(60))));
        assert!(one != two && one.len() == LONGEST_KEY && one.starts_with("long/long/"), "{one}");
        assert!(key(&"猫".repeat(100)).len() <= LONGEST_KEY);
        // FNV's own test vector.
        assert_eq!(checksum("a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
    }

    #[test]
    fn a_key_of_two_names_is_refused_and_others_are_told() {
        let mut names = Names::default();
        assert_eq!(names.key("plain").unwrap(), "plain");
        assert!(!names.has_new);
        names.key("a#").unwrap();
        names.add_json(r#"{"_x0_": "", "b_x23_": "another"}"#);
        assert_eq!(names.to_json(), r#"{"_x0_":"","a_x23_":"a#","b_x23_":"another"}"#);
        assert!(names.key("b#").unwrap_err().contains("have the same key b_x23_"));
    }

    #[test]
    fn long_values_say_that_they_were_cut_and_texts_fall_into_parts() {
        assert_eq!(value("short"), "short");
        let cut = value(&"é".repeat(700));
        assert_eq!(cut.chars().count(), 500);
        assert!(cut.ends_with("é… (700 characters)"), "{cut}");
        assert_eq!(parts("ééé", 3), ["é", "é", "é"]);
        assert_eq!(parts("", 3), [""]);
    }
}
