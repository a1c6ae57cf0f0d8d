//! Tokenizers from the files that came before `tokenizer.json`: `vocab.json` with `merges.txt`, and `vocab.txt`.
//!
//! These hold the vocabulary alone. The rest is in the code of the tokenizer's class in transformers, so that the class must be known.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::{Error, Result, text::tokenizer_settings::TokenizerSettings};

/// The files that such a tokenizer may have.
pub(crate) const FILES: [&str; 3] = ["vocab.json", "merges.txt", "vocab.txt"];

/// The classes with their special tokens, in the order of `NAMES`.
const CLASSES: [(&str, [&str; 7]); 4] = [
    ("GPT2Tokenizer", ["<|endoftext|>", "<|endoftext|>", "<|endoftext|>", "", "", "", ""]),
    ("Qwen2Tokenizer", ["", "<|endoftext|>", "<|endoftext|>", "", "<|endoftext|>", "", ""]),
    ("RobertaTokenizer", ["<s>", "</s>", "<unk>", "</s>", "<pad>", "<s>", "<mask>"]),
    ("BertTokenizer", ["", "", "[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"]),
];

const NAMES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// How Qwen2's class splits a text.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The special tokens of a tokenizer by their names.
struct Special(Map<String, Value>);

impl Special {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }
}

/// The `tokenizer.json` for the vocabulary in a folder, whose files are read by `read`; `None` if there is no such file.
pub(crate) fn tokenizer_json(
    folder: &Path,
    settings: &TokenizerSettings,
    read: impl Fn(&str) -> Result<Option<String>>,
) -> Result<Option<Value>> {
    let [vocabulary, merges, words] = FILES.map(read);
    let (vocabulary, merges, words) = (vocabulary?, merges?, words?);
    let class = settings.class().unwrap_or("of no name").to_string();
    let refused = |files: &str, allowed: &str| Error::Config {
        path: settings.path.clone(),
        field: "tokenizer_class".into(),
        value: class.clone(),
        allowed: format!("for {files} without tokenizer.json: {allowed}"),
    };
    match (vocabulary, merges, words) {
        (Some(vocabulary), Some(merges), _) => {
            let path = folder.join(FILES[0]);
            let ids = serde_json::from_str(&vocabulary).map_err(|error| Error::format(&path, error))?;
            let ids = checked(ids, &path)?;
            let merges = pairs(&merges, &folder.join(FILES[1]))?;
            let known = ["GPT2Tokenizer", "Qwen2Tokenizer", "RobertaTokenizer"];
            if !known.contains(&class.as_str()) {
                return Err(refused("vocab.json and merges.txt", &known.join(", ")));
            }
            byte_level(&class, settings, ids, &merges).map(Some)
        }
        (Some(_), None, None) => Err(Error::NoTokenizer { folder: folder.into(), found: FILES[0].into() }),
        (_, _, Some(words)) => {
            if class != "BertTokenizer" {
                return Err(refused("vocab.txt", "BertTokenizer"));
            }
            let lines = words.strip_suffix('\n').unwrap_or(&words).split('\n');
            let ids = lines.enumerate().map(|(id, word)| (word.trim_end().to_string(), id.into()));
            word_piece(settings, ids.collect(), &folder.join(FILES[2])).map(Some)
        }
        _ => Ok(None),
    }
}

/// A vocabulary whose ids are whole numbers.
fn checked(ids: Map<String, Value>, path: &Path) -> Result<Map<String, Value>> {
    match ids.iter().find(|(_, id)| id.as_u64().is_none_or(|id| id > u64::from(u32::MAX))) {
        None => Ok(ids),
        Some((token, id)) => Err(Error::format(path, format!("the id of {token:?} is {id}"))),
    }
}

/// The merges of `merges.txt`, one pair a line.
fn pairs(text: &str, path: &Path) -> Result<Vec<Value>> {
    let lines =
        text.lines().enumerate().filter(|(_, line)| !line.starts_with("#version") && !line.trim().is_empty());
    let pair = |(number, line): (usize, &str)| {
        let parts: Vec<&str> = line.split(' ').collect();
        match parts.as_slice() {
            [left, right] => Ok(json!([left, right])),
            _ => Err(Error::format(path, format!("line {} is no pair of tokens: {line:?}", number + 1))),
        }
    };
    lines.map(pair).collect()
}

/// The special tokens of a class, where the settings name no others.
fn special(class: &str, settings: &TokenizerSettings) -> Special {
    let (_, defaults) = CLASSES.iter().find(|(name, _)| *name == class).unwrap_or(&CLASSES[0]);
    let named = settings.special_tokens().named;
    let mut tokens = Map::new();
    for (name, default) in NAMES.into_iter().zip(defaults) {
        let is_set = settings.config.get(name).is_some() || named.contains_key(name);
        let token = if is_set { named.get(name).map(String::as_str) } else { Some(*default) };
        if let Some(token) = token.filter(|token| !token.is_empty()) {
            tokens.insert(name.into(), token.into());
        }
    }
    Special(tokens)
}

/// The special tokens as added tokens: those that the vocabulary lacks get the next ids.
fn added_tokens(special: &Special, ids: &mut Map<String, Value>) -> Vec<Value> {
    let mut added: Vec<Value> = Vec::new();
    let mut next = ids.len();
    let mut new = Map::new();
    for token in NAMES.into_iter().filter_map(|name| special.get(name)) {
        if added.iter().any(|other| other["content"] == token) {
            continue;
        }
        let id = ids.get(token).cloned().unwrap_or_else(|| {
            next += 1;
            (next - 1).into()
        });
        new.insert(token.into(), id.clone());
        added.push(json!({
            "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            "special": true,
        }));
    }
    added.sort_by_key(|token| token["id"].as_u64());
    // Only to look ids up: an added token is not part of the vocabulary.
    new.extend(std::mem::take(ids));
    *ids = new;
    added
}

/// A template that puts special tokens before and behind a text.
fn template(before: Option<&str>, behind: Option<&str>, ids: &Map<String, Value>) -> Value {
    let one = |token: &str| json!({"SpecialToken": {"id": token, "type_id": 0}});
    let text = |name: &str| json!({"Sequence": {"id": name, "type_id": 0}});
    let around = |name: &str| {
        before.map(one).into_iter().chain([text(name)]).chain(behind.map(one)).collect::<Vec<_>>()
    };
    let used = before.into_iter().chain(behind);
    let tokens: Map<String, Value> = used
        .map(|token| (token.to_string(), json!({"id": token, "ids": [ids[token]], "tokens": [token]})))
        .collect();
    let pair: Vec<Value> = around("A").into_iter().chain(around("B")).collect();
    json!({"type": "TemplateProcessing", "single": around("A"), "pair": pair, "special_tokens": tokens})
}

fn byte_level(
    class: &str,
    settings: &TokenizerSettings,
    ids: Map<String, Value>,
    merges: &[Value],
) -> Result<Value> {
    let special = special(class, settings);
    let mut all = ids.clone();
    let added = added_tokens(&special, &mut all);
    let flag = |name: &str| settings.config[name].as_bool() == Some(true);
    let bytes = |use_regex: bool| {
        json!({
            "type": "ByteLevel", "add_prefix_space": flag("add_prefix_space"), "trim_offsets": true,
            "use_regex": use_regex,
        })
    };
    let split =
        json!({"type": "Split", "pattern": {"Regex": QWEN2}, "behavior": "Isolated", "invert": false});
    let (normalizer, pre_tokenizer) = match class {
        "Qwen2Tokenizer" => {
            (json!({"type": "NFC"}), json!({"type": "Sequence", "pretokenizers": [split, bytes(false)]}))
        }
        _ => (Value::Null, bytes(true)),
    };
    let post_processor = match class {
        "RobertaTokenizer" => template(special.get("cls_token"), special.get("sep_token"), &all),
        _ => {
            let begin = special.get("bos_token").filter(|_| flag("add_bos_token"));
            template(begin, special.get("eos_token").filter(|_| flag("add_eos_token")), &all)
        }
    };
    Ok(json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer, "post_processor": post_processor,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "vocab": ids,
            "merges": merges,
        },
    }))
}

fn word_piece(settings: &TokenizerSettings, ids: Map<String, Value>, path: &Path) -> Result<Value> {
    let special = special("BertTokenizer", settings);
    let unknown = special.get("unk_token").unwrap_or("[UNK]");
    if !ids.contains_key(unknown) {
        return Err(Error::format(
            path,
            format!("the vocabulary has no {unknown:?}, the token for unknown words"),
        ));
    }
    let mut all = ids.clone();
    let added = added_tokens(&special, &mut all);
    let flag = |name: &str| settings.config[name].as_bool();
    Ok(json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "strip_accents": flag("strip_accents"),
            "handle_chinese_chars": flag("tokenize_chinese_chars").unwrap_or(true),
            "lowercase": flag("do_lower_case").unwrap_or(true),
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": template(special.get("cls_token"), special.get("sep_token"), &all),
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {
            "type": "WordPiece", "unk_token": unknown, "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": ids,
        },
    }))
}
