//! Checks of a `tokenizer.json` before the library reads it: sizes in it by which the library would take any amount of memory or stack.

use std::{collections::HashMap, fmt, path::Path};

use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

use crate::{Error, Result};

/// The longest text in a vocabulary or a setting, in bytes. Tries of the library are as deep as their longest token.
const TEXT: usize = 4096;

/// How many times as long a text may become by normalizers or decoders.
const GROWTH: usize = 4096;

/// The most tokens that a post-processor may add.
const ADDED: usize = 100_000;

/// The parts of a file that are looked at. The vocabulary is measured while it is read, and not kept.
#[derive(Deserialize)]
struct Parts {
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    decoder: Value,
    model: Option<HashMap<String, Longest>>,
}

/// The length of the longest text inside of a value.
struct Longest(usize);

impl<'de> Deserialize<'de> for Longest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(Measure)
    }
}

struct Measure;

impl<'de> Visitor<'de> for Measure {
    type Value = Longest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> std::result::Result<Longest, E> {
        Ok(Longest(0))
    }

    fn visit_i64<E>(self, _: i64) -> std::result::Result<Longest, E> {
        Ok(Longest(0))
    }

    fn visit_u64<E>(self, _: u64) -> std::result::Result<Longest, E> {
        Ok(Longest(0))
    }

    fn visit_f64<E>(self, _: f64) -> std::result::Result<Longest, E> {
        Ok(Longest(0))
    }

    fn visit_unit<E>(self) -> std::result::Result<Longest, E> {
        Ok(Longest(0))
    }

    fn visit_str<E>(self, text: &str) -> std::result::Result<Longest, E> {
        Ok(Longest(text.len()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> std::result::Result<Longest, A::Error> {
        let mut longest = 0;
        while let Some(Longest(length)) = values.next_element()? {
            longest = longest.max(length);
        }
        Ok(Longest(longest))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> std::result::Result<Longest, A::Error> {
        let mut longest = 0;
        while let Some((Longest(key), Longest(value))) = entries.next_entry()? {
            longest = longest.max(key).max(value);
        }
        Ok(Longest(longest))
    }
}

/// Checks the content of a `tokenizer.json`; error messages name `path`.
pub(crate) fn vet(bytes: &[u8], path: &Path) -> Result<()> {
    let parts: Parts = serde_json::from_slice(bytes).map_err(|error| Error::format(path, error))?;
    let refused = |field: &str, value: String, allowed: String| Error::Config {
        path: path.into(),
        field: field.into(),
        value,
        allowed,
    };
    for (name, Longest(length)) in parts.model.into_iter().flatten() {
        if length > TEXT {
            let (field, value) = (format!("model.{name}"), format!("a text of {length} bytes"));
            return Err(refused(&field, value, format!("texts of up to {TEXT} bytes")));
        }
    }
    for (field, part) in [("normalizer", &parts.normalizer), ("decoder", &parts.decoder)] {
        let mut growth = 1;
        walk(part, &mut |name, value| grow(&mut growth, name, value))
            .map_err(|(value, allowed)| refused(field, value, allowed))?;
        if growth > GROWTH {
            let value = format!("one that makes texts {growth} times as long");
            return Err(refused(field, value, format!("up to {GROWTH} times")));
        }
    }
    for (field, part) in [("pre_tokenizer", &parts.pre_tokenizer), ("post_processor", &parts.post_processor)]
    {
        walk(part, &mut |_, value| short(value))
            .map_err(|(value, allowed)| refused(field, value, allowed))?;
    }
    let count = |name: &str| parts.post_processor[name].as_array().map_or(0, Vec::len);
    let tokens = parts.post_processor["special_tokens"].as_object().into_iter().flatten();
    let most = tokens.map(|(_, token)| token["ids"].as_array().map_or(1, Vec::len)).max().unwrap_or(1);
    let added = count("single").max(count("pair")).saturating_mul(most);
    if added > ADDED {
        let value = format!("a template that adds up to {added} tokens");
        return Err(refused("post_processor", value, format!("up to {ADDED}")));
    }
    Ok(())
}

/// A value that is refused, and the allowed ones.
type Refusal = (String, String);

/// Hands every field of a part of the file, with its name, to `check`.
fn walk(
    part: &Value,
    check: &mut impl FnMut(&str, &Value) -> std::result::Result<(), Refusal>,
) -> std::result::Result<(), Refusal> {
    match part {
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| {
            check(name, value)?;
            walk(value, check)
        }),
        Value::Array(values) => values.iter().try_for_each(|value| walk(value, check)),
        _ => Ok(()),
    }
}

fn short(value: &Value) -> std::result::Result<(), Refusal> {
    match value.as_str().map_or(0, str::len) {
        length if length > TEXT => {
            Err((format!("one with a text of {length} bytes"), format!("texts of up to {TEXT} bytes")))
        }
        _ => Ok(()),
    }
}

/// Multiplies `growth` by the growth that one field brings about.
fn grow(growth: &mut usize, name: &str, value: &Value) -> std::result::Result<(), Refusal> {
    match (name, value.as_str()) {
        ("precompiled_charsmap", Some(charsmap)) => {
            let longest = longest_entry(charsmap)?;
            *growth = growth.saturating_mul(longest.max(1));
            Ok(())
        }
        ("content" | "prepend", Some(text)) => {
            *growth = growth.saturating_mul(text.len().max(1));
            short(value)
        }
        _ => short(value),
    }
}

/// The longest entry of SentencePiece's table of normalizations, in base64: the length of a trie, the trie, and texts that each end with
/// a zero byte.
fn longest_entry(charsmap: &str) -> std::result::Result<usize, Refusal> {
    let bytes = decoded(charsmap);
    let allowed = || "a table in base64 that holds a trie and texts".to_string();
    let refused = |value: &str| Err((format!("a `precompiled_charsmap` {value}"), allowed()));
    let Some(bytes) = bytes else { return refused("that is not base64") };
    let Some((length, rest)) = bytes.split_first_chunk() else { return refused("of less than four bytes") };
    let length = u32::from_le_bytes(*length) as usize;
    // The library reads the first unit of the trie for every text.
    let Some(texts) = rest.get(length..).filter(|_| length >= 4) else {
        return refused(&format!("of {} bytes whose trie has {length}", bytes.len()));
    };
    Ok(texts.split(|byte| *byte == 0).map(<[u8]>::len).max().unwrap_or(0))
}

/// The bytes that base64 stands for.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let (mut bits, mut count) = (0_u32, 0);
    for letter in text {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}
