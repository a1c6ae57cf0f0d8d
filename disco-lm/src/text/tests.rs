//! Tokenizers against transformers (`tests/suite/reference/tokenizer_files.py` made the values), and on damaged files.

use std::{collections::BTreeMap, path::Path};

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use serde_json::Value;

use crate::{
    Error, Result, Tokenizer,
    text::{tokenizer_settings::TokenizerSettings, vocabulary_files::tokenizer_json},
};

fn reference() -> Value {
    serde_json::from_str(include_str!("../../tests/suite/reference/tokenizer_files.json")).expect("JSON")
}

/// The files of a case, by name.
fn files(reference: &Value, row: &Value) -> BTreeMap<String, Vec<u8>> {
    let base = row["base"].as_str().expect("a base");
    let mut tokenizer = reference["bases"][base].clone();
    for change in row["tokenizer"].as_array().into_iter().flatten() {
        let path = change[0].as_str().expect("a path");
        let (parent, name) = path.rsplit_once('/').expect("a path with a name");
        tokenizer.pointer_mut(parent).expect("a field")[name] = change[1].clone();
    }
    let mut files = BTreeMap::from([
        ("config.json".to_string(), reference["models"][base].clone()),
        ("tokenizer.json".to_string(), tokenizer),
    ]);
    for (name, content) in row["files"].as_object().into_iter().flatten() {
        files.insert(name.clone(), content.clone());
    }
    let content = |value: Value| match value {
        Value::String(text) => text.into_bytes(),
        other => other.to_string().into_bytes(),
    };
    let some = files.into_iter().filter(|(_, value)| !value.is_null());
    some.map(|(name, value)| (name, content(value))).collect()
}

/// The tokenizer of a folder with these files.
fn tokenizer(files: &BTreeMap<String, Vec<u8>>) -> Result<Tokenizer> {
    let json = |name: &str| {
        let content = files.get(name).map(|bytes| serde_json::from_slice(bytes));
        content
            .transpose()
            .map(Option::unwrap_or_default)
            .map_err(|error| Error::format(Path::new(name), error))
    };
    let settings = TokenizerSettings {
        path: "tokenizer_config.json".into(),
        config: json("tokenizer_config.json")?,
        special_tokens_map: json("special_tokens_map.json")?,
        added_tokens: json("added_tokens.json")?,
        model: json("config.json")?,
    };
    let path = Path::new("tokenizer.json");
    if let Some(bytes) = files.get("tokenizer.json") {
        return Tokenizer::from_json(bytes, path, Some(&settings));
    }
    let read = |name: &str| {
        let text = files.get(name).map(|bytes| String::from_utf8(bytes.clone()));
        text.transpose().map_err(|error| Error::format(Path::new(name), error))
    };
    let json = tokenizer_json(Path::new(""), &settings, read)?.expect("a vocabulary");
    Tokenizer::from_json(json.to_string().as_bytes(), path, Some(&settings))
}

#[test]
fn files_beside_a_tokenizer_count_as_in_transformers() {
    let reference = reference();
    let rows = reference["rows"].as_array().expect("rows");
    assert!(rows.len() >= 40, "{} rows", rows.len());
    for row in rows {
        let found = tokenizer(&files(&reference, row))
            .and_then(|found| found.encode(row["text"].as_str().expect("text")));
        let what = format!("{} {} {}", row["base"], row["tokenizer"], row["files"]);
        match (found, row["refused"].as_str()) {
            (Ok(ids), None) => assert_eq!(Value::from(ids), row["ids"], "{what}"),
            (Err(Error::Config { field, .. }), Some(refused)) => assert_eq!(field, refused, "{what}"),
            (found, refused) => panic!("{what}: {found:?}, refused: {refused:?}"),
        }
    }
}

#[test]
fn a_completion_is_what_it_adds_to_the_text_of_its_context() {
    let reference = reference();
    let rows = reference["completions"].as_array().expect("completions");
    assert!(rows.len() >= 20, "{} rows", rows.len());
    let ids = |row: &Value| -> Vec<u32> { serde_json::from_value(row.clone()).expect("ids") };
    for row in rows {
        let tokenizer = tokenizer(&files(&reference, row)).expect("a tokenizer");
        let (context, tokens) = (ids(&row["context"]), ids(&row["tokens"]));
        let text = row["text"].as_str().expect("text");
        assert_eq!(tokenizer.decode_after(&context, &tokens).expect("text"), text, "{row}");
        assert_eq!(tokenizer.decode_after_text(&tokens).expect("text"), text, "{row} after some text");
    }
}

/// Where a context ends inside of a character, the next tokens complete it.
#[test]
fn a_character_that_a_context_begins_belongs_to_the_completion() {
    let reference = reference();
    let row = serde_json::json!({"base": "pieces"});
    let tokenizer = tokenizer(&files(&reference, &row)).expect("a tokenizer");
    let ids = tokenizer.encode("the 猫").expect("ids");
    let whole = tokenizer.decode(&ids).expect("text");
    for cut in 1..ids.len() {
        let context = tokenizer.decode(&ids[..cut]).expect("text");
        let kept = context.trim_end_matches(char::REPLACEMENT_CHARACTER);
        let text = tokenizer.decode_after(&ids[..cut], &ids[cut..]).expect("text");
        assert_eq!(format!("{kept}{text}"), whole, "cut at {cut} of {ids:?}");
    }
    // After a context without a text the first space is none of the text's.
    assert_eq!(tokenizer.decode_after(&ids[..1], &ids[1..]).expect("text"), whole);
}

#[test]
fn merges_are_never_left_out_by_chance() {
    let reference = reference();
    let row = serde_json::json!({"base": "bytes", "tokenizer": [["/model/dropout", 0.5]]});
    let plain = tokenizer(&files(&reference, &serde_json::json!({"base": "bytes"}))).expect("a tokenizer");
    let dropping = tokenizer(&files(&reference, &row)).expect("a tokenizer");
    for _ in 0..8 {
        assert_eq!(
            dropping.encode("the baker asked").expect("ids"),
            plain.encode("the baker asked").expect("ids")
        );
    }
}

/// Files that would take any amount of memory or stack, each refused by the name of its field.
#[test]
fn sizes_in_a_file_are_checked_before_they_are_taken() {
    let long = "a".repeat(1 << 20);
    let precompiled =
        |charsmap: &str| serde_json::json!({"type": "Precompiled", "precompiled_charsmap": charsmap});
    for (field, path, value) in [
        // A trie of 4 GiB in a table of four bytes, and no trie at all.
        ("normalizer", "/normalizer", precompiled("/////w==")),
        ("normalizer", "/normalizer", precompiled("AAAAAA==")),
        ("normalizer", "/normalizer", precompiled("!")),
        ("normalizer", "/normalizer", serde_json::json!({"type": "Prepend", "prepend": long})),
        (
            "normalizer",
            "/normalizer",
            serde_json::json!({"type": "Sequence", "normalizers": vec![serde_json::json!(
                {"type": "Replace", "pattern": {"String": "a"}, "content": "aaaaaaaaaaaaaaaa"}); 16]}),
        ),
        (
            "decoder",
            "/decoder",
            serde_json::json!({"type": "Replace", "pattern": {"String": "a"}, "content": long}),
        ),
        ("model.continuing_subword_prefix", "/model/continuing_subword_prefix", serde_json::json!(long)),
        (
            "model.vocab",
            "/model",
            serde_json::json!({"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], [long, -1.0]], "byte_fallback": false}),
        ),
        (
            "post_processor",
            "/post_processor",
            serde_json::json!({
                "type": "TemplateProcessing", "pair": [],
                "single": vec![serde_json::json!({"SpecialToken": {"id": "x", "type_id": 0}}); 1000],
                "special_tokens": {"x": {"id": "x", "ids": vec![1; 1000], "tokens": vec!["x"; 1000]}},
            }),
        ),
    ] {
        let row = serde_json::json!({"base": "bytes", "tokenizer": [[path, value]]});
        match tokenizer(&files(&reference(), &row)) {
            Err(Error::Config { field: found, path, .. }) => {
                assert_eq!((found.as_str(), path.as_path()), (field, Path::new("tokenizer.json")));
            }
            other => panic!("{field}: {other:?}"),
        }
    }
}

/// One file of a tokenizer with a few bytes or values changed.
fn mutated(files: &BTreeMap<String, Vec<u8>>, rng: &mut ChaCha8Rng) -> BTreeMap<String, Vec<u8>> {
    let mut files = files.clone();
    let names: Vec<String> = files.keys().filter(|name| *name != "config.json").cloned().collect();
    let name = &names[rng.random_range(0..names.len())];
    let bytes = files.get_mut(name).expect("the file");
    for _ in 0..rng.random_range(1..4) {
        let at = rng.random_range(0..bytes.len());
        match rng.random_range(0..6) {
            0 => bytes[at] = rng.random(),
            1 => bytes[at] = b"0123456789\",:[]{}nt\\u\n\xff"[rng.random_range(0..22)],
            2 => {
                bytes.remove(at);
            }
            3 => {
                let end = (at + rng.random_range(1..64)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                let to = rng.random_range(0..bytes.len());
                bytes.splice(to..to, part);
            }
            4 => bytes.truncate(at.max(1)),
            _ => change_number(bytes, at, rng),
        }
        if bytes.is_empty() {
            bytes.push(b'{');
        }
    }
    files
}

/// Replaces the first number or word behind a place by one that is at a limit.
fn change_number(bytes: &mut Vec<u8>, at: usize, rng: &mut ChaCha8Rng) {
    const VALUES: [&str; 10] =
        ["0", "-1", "4294967295", "18446744073709551615", "1e308", "null", "true", "\"\"", "[]", "{}"];
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'.';
    let Some(start) = bytes[at..].iter().position(is_part).map(|start| at + start) else { return };
    let end = bytes[start..].iter().position(|byte| !is_part(byte)).map_or(bytes.len(), |end| start + end);
    bytes.splice(start..end, VALUES[rng.random_range(0..VALUES.len())].bytes());
}

/// Loads mutated files, and encodes and decodes with those that load. A panic ends the test, and an abort the process.
fn survive(count: usize, seed: u64) {
    let reference = reference();
    let mut all: Vec<BTreeMap<String, Vec<u8>>> = Vec::new();
    for row in reference["rows"].as_array().expect("rows") {
        all.push(files(&reference, row));
    }
    all.extend(unigrams(&reference));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut loaded, mut refused) = (0, 0);
    for index in 0..count {
        let files = mutated(&all[index % all.len()], &mut rng);
        match tokenizer(&files) {
            Err(_) => refused += 1,
            Ok(tokenizer) => {
                loaded += 1;
                for text in ["", "the baker <s> asked\u{0}\u{fffd} 12 Café 日本語\r\n", "[MASK]"] {
                    let Ok(ids) = tokenizer.encode(text) else { continue };
                    let _ = tokenizer.decode(&ids);
                    let _ = tokenizer.decode_after(&ids[..ids.len() / 2], &ids[ids.len() / 2..]);
                }
                let _ = tokenizer.decode_after_text(&[0, 7, u32::MAX]);
                let _ = tokenizer.to_json();
            }
        }
    }
    println!("{count} mutations, seed {seed}: {loaded} tokenizers loaded, {refused} were refused");
}

/// Tokenizers of the kinds that SentencePiece's unigrams have, with a table of normalizations.
fn unigrams(reference: &Value) -> Vec<BTreeMap<String, Vec<u8>>> {
    let mut tokenizer = reference["bases"]["pieces"].clone();
    let vocabulary = tokenizer["model"]["vocab"].as_object().expect("a vocabulary").clone();
    let pieces: Vec<Value> = vocabulary.keys().map(|token| serde_json::json!([token, -1.0])).collect();
    tokenizer["model"] =
        serde_json::json!({"type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": true});
    // A trie of four units, and the texts "a" and "bc".
    tokenizer["normalizer"] = serde_json::json!({
        "type": "Precompiled", "precompiled_charsmap": "EAAAAAAEAABhBQAAAAAAgAIAAIBhAGJjAA==",
    });
    tokenizer["pre_tokenizer"] = serde_json::json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true});
    tokenizer["decoder"] = tokenizer["pre_tokenizer"].clone();
    let content = tokenizer.to_string().into_bytes();
    vec![BTreeMap::from([("tokenizer.json".to_string(), content)]); 8]
}

#[test]
fn mutated_files_are_errors_or_tokenizers() {
    survive(1500, 1);
}

#[test]
#[ignore = "sweep: 100,000 mutations of the files of tokenizers, 10 minutes"]
fn sweep_mutated_files_are_errors_or_tokenizers() {
    survive(100_000, 2);
}
