//! The bytes that each token adds to a text, from the tokenizer's own decoder.

use serde_json::Value;

use crate::{Error, Result, Tokenizer};

/// The first byte of a special token's bytes. No UTF-8 text has this byte, so that no text spells a special token.
pub(crate) const SPECIAL: u8 = 0xff;

/// The decoders whose tokens have bytes of their own, whatever is around them.
const ALLOWED: &str = "ByteLevel, Metaspace, ByteFallback, Replace of one character, Fuse, Strip after Fuse";

/// The most bytes of a token: the deepest trie that the library of grammars takes.
const LONGEST: usize = 1024;

/// The most bytes of a token while its text is decoded. In a tokenizer's file each character may become a text of any length.
const LONGEST_TEXT: usize = 8 * LONGEST;

/// A step of a decoder.
enum Step {
    /// Each character stands for one byte.
    ByteLevel,
    /// A token `<0x0A>` stands for the byte 10.
    ByteFallback,
    /// A character stands for a text.
    Replace(char, String),
}

impl Tokenizer {
    /// The bytes of each id below `vocabulary`: of an ordinary token its text, without regard to where a text begins, so that the
    /// space of a word is part of it; of a special token [`SPECIAL`] and its name; of an id without a token, none.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a tokenizer whose tokens have no bytes of their own (WordPiece, or no decoder), or more than 1024.
    pub(crate) fn token_bytes(&self, vocabulary: usize) -> Result<Vec<Vec<u8>>> {
        let steps = steps(&self.decoder()?)?;
        let byte_of = byte_of_character();
        let tokens = self.tokens(vocabulary)?;
        let bytes = tokens.into_iter().map(|token| match token {
            None => Some(Vec::new()),
            Some((text, true)) => Some([&[SPECIAL], text.as_bytes()].concat()),
            Some((text, false)) => bytes(text, &steps, &byte_of),
        });
        let bytes = bytes.map(|bytes| bytes.filter(|bytes| bytes.len() <= LONGEST)).collect::<Option<_>>();
        bytes.ok_or_else(|| {
            let value = format!("of a tokenizer with a token of more than {LONGEST} bytes");
            Error::invalid("grammar", value, format!("tokens of up to {LONGEST} bytes"))
        })
    }
}

/// The bytes of an ordinary token; `None` if there are far too many.
fn bytes(mut text: String, steps: &[Step], byte_of: &[Option<u8>]) -> Option<Vec<u8>> {
    for step in steps {
        match step {
            Step::Replace(from, to) => {
                if text.len() + text.matches(*from).count() * to.len() > LONGEST_TEXT {
                    return None;
                }
                text = text.replace(*from, to);
            }
            Step::ByteFallback => {
                let digits = text.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
                let byte =
                    digits.filter(|digits| digits.len() == 2).map(|digits| u8::from_str_radix(digits, 16));
                if let Some(Ok(byte)) = byte {
                    return Some(vec![byte]);
                }
            }
            Step::ByteLevel => {
                let byte = |character: char| byte_of.get(character as usize).copied().flatten();
                // As in the library: a token with any other character stands for its own UTF-8.
                if let Some(bytes) = text.chars().map(byte).collect() {
                    return Some(bytes);
                }
            }
        }
    }
    Some(text.into_bytes())
}

/// The steps of a decoder, as `tokenizer.json` describes it.
fn steps(decoder: &Value) -> Result<Vec<Step>> {
    let kind = decoder["type"].as_str().unwrap_or("none");
    let refused = |found: String| {
        let value = format!("of a tokenizer whose decoder is {found}");
        Err(Error::invalid("grammar", value, ALLOWED))
    };
    let one = |text: &Value| {
        let mut characters = text.as_str().unwrap_or_default().chars();
        characters.next().filter(|_| characters.next().is_none())
    };
    match kind {
        "ByteLevel" => Ok(vec![Step::ByteLevel]),
        "ByteFallback" => Ok(vec![Step::ByteFallback]),
        "Metaspace" => {
            Ok(one(&decoder["replacement"]).map(|from| Step::Replace(from, " ".into())).into_iter().collect())
        }
        "Replace" => match (one(&decoder["pattern"]["String"]), decoder["content"].as_str()) {
            (Some(from), Some(to)) => Ok(vec![Step::Replace(from, to.into())]),
            _ => refused("Replace of another pattern".into()),
        },
        "Fuse" => Ok(Vec::new()),
        "Sequence" => {
            let decoders = decoder["decoders"].as_array().map_or(&[][..], Vec::as_slice);
            let mut all = Vec::new();
            let mut is_fused = false;
            for decoder in decoders {
                is_fused |= decoder["type"] == "Fuse";
                // After Fuse it takes characters off the beginning and end of the whole text, which no token is.
                if !(is_fused && decoder["type"] == "Strip") {
                    all.extend(steps(decoder)?);
                }
            }
            Ok(all)
        }
        other => refused(other.into()),
    }
}

/// The byte that each character stands for in byte-level tokens, by the character's code: GPT-2's table.
fn byte_of_character() -> Vec<Option<u8>> {
    let mut byte_of = vec![None; 512];
    let mut next = 256;
    for byte in 0..=255_u8 {
        let is_printable = matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
        let character = if is_printable { usize::from(byte) } else { next };
        next += usize::from(!is_printable);
        byte_of[character] = Some(byte);
    }
    byte_of
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn decoders_are_read_or_refused_by_name() {
        let replace = |pattern: Value, content: &str| json!({"type": "Replace", "pattern": pattern, "content": content});
        let sequence = |decoders: &[Value]| json!({"type": "Sequence", "decoders": decoders});
        let strip = json!({"type": "Strip", "content": " ", "start": 1, "stop": 0});
        let space = replace(json!({"String": "\u{2581}"}), " ");
        let [fallback, fuse] = ["ByteFallback", "Fuse"].map(|kind| json!({"type": kind}));
        let read =
            steps(&sequence(&[space, fallback, fuse.clone(), strip.clone()])).expect("SentencePiece's");
        for (text, expected) in [
            ("\u{2581}a\u{2581}", &b" a "[..]),
            ("<0xE6>", &[0xe6][..]),
            ("<0xG6>", &b"<0xG6>"[..]),
            ("<0x1>", &b"<0x1>"[..]),
        ] {
            assert_eq!(bytes(text.into(), &read, &[]).expect("few bytes"), expected, "{text}");
        }
        let read = steps(&json!({"type": "ByteLevel"})).expect("GPT-2's");
        // Of other characters it is UTF-8.
        for (text, expected) in
            [("\u{120}a\u{10a}", &b" a\n"[..]), ("a b", &b"a b"[..]), ("\u{c3}\u{a9}", "\u{e9}".as_bytes())]
        {
            assert_eq!(
                bytes(text.into(), &read, &byte_of_character()).expect("few bytes"),
                expected,
                "{text}"
            );
        }
        let growing = steps(&replace(json!({"String": "a"}), &"b".repeat(4000))).expect("a replacement");
        assert!(bytes("aaa".into(), &growing, &[]).is_none());
        for refused in [
            Value::Null,
            json!({"type": "WordPiece", "prefix": "##", "cleanup": true}),
            sequence(&[strip, fuse]),
            replace(json!({"Regex": "a+"}), "b"),
            replace(json!({"String": "ab"}), "b"),
        ] {
            assert!(matches!(steps(&refused), Err(Error::Invalid { field: "grammar", .. })), "{refused}");
        }
    }
}
