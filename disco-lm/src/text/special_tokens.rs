//! The special tokens of a model, and its other added tokens, as `tokenizer_config.json`, `special_tokens_map.json` and
//! `added_tokens.json` name them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tokenizers::AddedToken;

/// The names that every tokenizer may have a special token for.
const NAMES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// The tokens that stand outside of `tokenizer.json`.
pub(crate) struct SpecialTokens {
    /// The special tokens by their names, which chat templates know them by.
    pub(crate) named: BTreeMap<String, String>,
    /// The special tokens in the order in which transformers adds them, with their settings if the files have some.
    pub(crate) special: Vec<(String, Option<AddedToken>)>,
    /// Tokens with their ids.
    pub(crate) added: Vec<(u64, AddedToken)>,
}

/// The tokens that the configuration of a tokenizer, its special tokens and its added tokens name, each `Null` if there is no such file.
///
/// As in transformers, the other two files count only where the configuration has no `added_tokens_decoder`, and then before it.
pub(crate) fn special_tokens(config: &Value, map: &Value, added: &Value) -> SpecialTokens {
    let mut fields: Map<String, Value> = config.as_object().cloned().unwrap_or_default();
    let has_added = fields.contains_key("added_tokens_decoder");
    if !has_added {
        fields.extend(map.as_object().cloned().unwrap_or_default());
    }
    let mut special = Vec::new();
    let mut named = BTreeMap::new();
    let mut add = |name: Option<&str>, token: &Value| {
        if let Some(text) = content(token) {
            named.extend(name.map(|name| (name.to_string(), text.to_string())));
            special.push((text.to_string(), settings(token)));
        }
    };
    NAMES
        .iter()
        .filter_map(|name| fields.get_key_value(*name))
        .for_each(|(name, token)| add(Some(name), token));
    let lists = ["extra_special_tokens", "additional_special_tokens"]
        .map(|name| fields.get(name).unwrap_or(&Value::Null));
    // Names of a model's own, such as `image_token`.
    let is_other = |name: &str| name.ends_with("_token") && !NAMES.contains(&name);
    fields.iter().filter(|(name, _)| is_other(name)).for_each(|(name, token)| add(Some(name), token));
    lists
        .iter()
        .filter_map(|list| list.as_object())
        .flatten()
        .for_each(|(name, token)| add(Some(name), token));
    lists.iter().filter_map(|list| list.as_array()).flatten().for_each(|token| add(None, token));
    let is_special = |text: &str| special.iter().any(|(token, _)| token == text);
    let with_ids = fields.get("added_tokens_decoder").and_then(Value::as_object).into_iter().flatten();
    let mut all: Vec<(u64, AddedToken)> =
        with_ids.filter_map(|(id, token)| Some((id.parse().ok()?, settings(token)?))).collect();
    if !has_added {
        for (text, id) in added.as_object().into_iter().flatten() {
            let special = is_special(text);
            let token = AddedToken::from(text.as_str(), special).normalized(!special);
            all.extend(id.as_u64().map(|id| (id, token)));
        }
    }
    all.sort_by_key(|(id, _)| *id);
    SpecialTokens { named, special, added: all }
}

/// The text of a token, which is written as its text, or as an object that holds its text.
fn content(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token["content"].as_str()).filter(|text| !text.is_empty())
}

/// The settings of a token that is written as an object.
fn settings(token: &Value) -> Option<AddedToken> {
    token.as_object()?;
    let text = content(token)?;
    let flag = |name: &str| token[name].as_bool();
    let special = flag("special").unwrap_or(false);
    Some(
        AddedToken::from(text, special)
            .single_word(flag("single_word").unwrap_or(false))
            .lstrip(flag("lstrip").unwrap_or(false))
            .rstrip(flag("rstrip").unwrap_or(false))
            .normalized(flag("normalized").unwrap_or(!special)),
    )
}
