//! Tokenizers for the golden models, whose 96 ids have no text of their own.

use std::{collections::BTreeMap, path::Path};

use disco_lm::Tokenizer;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The size of the golden models' vocabulary; 0 to 2 are special tokens, and 2 ends a sequence.
pub(crate) const VOCABULARY: usize = 96;

/// The texts of the ids from 3 on: letters, digits and signs, and tokens of several characters that spell the same texts again. The last
/// ids have no token.
pub(crate) fn texts() -> Vec<String> {
    let single = ('a'..='z').chain('0'..='9').chain(" {}[]\",:-.".chars()).map(String::from);
    let several = [
        "ab", "ba", "abc", "bc", "cc", "aa", "12", "00", "10", "{\"", "\":", "\",", "\"}", " a", " \"",
        "true", "fa", "lse", "ul", "nul", "[]", "{}", "}}", "]}", "é", "日",
    ];
    single.chain(several.map(String::from)).collect()
}

/// GPT-2's spelling of a text: one character for each byte.
fn byte_level(text: &str) -> String {
    let character = |byte: u8| match byte {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
        0..=0x20 => char::from_u32(256 + u32::from(byte)).expect("a character"),
        0x7f..=0xa0 => char::from_u32(256 + 33 + u32::from(byte) - 0x7f).expect("a character"),
        0xad => char::from_u32(256 + 67).expect("a character"),
    };
    text.bytes().map(character).collect()
}

fn load(vocabulary: BTreeMap<String, usize>, byte_fallback: bool, decoder: Value) -> Tokenizer {
    let special = |(id, text): (usize, &str)| {
        json!({"id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
               "special": true})
    };
    let added: Vec<Value> = ["<pad>", "<bos>", "<eos>"].into_iter().enumerate().map(special).collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": null, "post_processor": null, "decoder": decoder,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": byte_fallback, "vocab": vocabulary, "merges": []},
    });
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("tokenizer.json");
    std::fs::write(&path, tokenizer.to_string()).expect("written");
    Tokenizer::load(Path::new(&path)).expect("a tokenizer")
}

fn specials() -> impl Iterator<Item = (String, usize)> {
    ["<pad>", "<bos>", "<eos>"].into_iter().map(String::from).zip(0..)
}

/// A byte-level tokenizer with [`texts`].
pub(crate) fn byte_level_tokenizer() -> Tokenizer {
    let ids = texts().into_iter().map(|text| byte_level(&text)).zip(3..);
    load(
        specials().chain(ids).collect(),
        false,
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}),
    )
}

/// A tokenizer as SentencePiece's, with a sign in the place of a space and tokens of single bytes; its decoder takes a space off the
/// beginning of a text.
pub(crate) fn sentencepiece_tokenizer() -> Tokenizer {
    let few = texts().into_iter().filter(|text| text.len() < 3).map(|text| text.replace(' ', "\u{2581}"));
    let bytes = ["<0x41>", "<0xE6>", "<0x97>", "<0xA5>", "<0x61>", "<0x0A>"].map(String::from);
    let ids = few.chain(bytes).zip(3..);
    let decoder = json!({"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "\u{2581}"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    ]});
    load(specials().chain(ids).collect(), true, decoder)
}

/// Every sequence of ids that spells `text`, the end token included.
pub(crate) fn spellings(text: &str) -> Vec<Vec<u32>> {
    if text.is_empty() {
        return vec![vec![2]];
    }
    let mut all = Vec::new();
    for (id, token) in (3..).zip(texts()) {
        if let Some(rest) = text.strip_prefix(&token) {
            all.extend(spellings(rest).into_iter().map(|rest| [vec![id], rest].concat()));
        }
    }
    all
}
