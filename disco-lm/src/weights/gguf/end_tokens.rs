//! The ids that end a sequence, as llama.cpp finds them: by the metadata, and by the texts of tokens.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::{Result, weights::gguf::metadata::Metadata};

/// Tokens that end a text, a turn or a message, whatever the metadata say of them.
const ENDS: [&str; 21] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
];

/// Tokens around parts of code, one group for each purpose: padding, repositories, files. The metadata may name one of a group.
const AROUND_CODE: [(&str, &[&str]); 3] = [
    ("fim_pad", &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"]),
    ("fim_rep", &["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"]),
    ("fim_sep", &["<|file_sep|>"]),
];

/// Whether a token of this text is a control token, whatever kind the file gives it.
pub(crate) fn is_control(token: &str) -> bool {
    ENDS.contains(&token)
}

/// `eos_token_id` of a model with this vocabulary: an id, a list of them, or null.
pub(crate) fn end_tokens(metadata: &Metadata<'_>, vocabulary: usize) -> Result<Value> {
    let mut ids = Vec::new();
    let tokens = metadata.texts("tokenizer.ggml.tokens")?.unwrap_or_default();
    let mut by_text: HashMap<&str, u64> = HashMap::new();
    for (id, token) in (0..).zip(tokens.iter().take(vocabulary)) {
        // Of tokens with one text, the first counts.
        by_text.entry(token).or_insert(id);
    }
    let id_of = |text: &str| by_text.get(text).copied();
    for kind in ["eos", "eot", "eom"] {
        ids.extend(named(metadata, kind, vocabulary)?);
    }
    for (kind, texts) in AROUND_CODE {
        let found = || texts.iter().find_map(|text| id_of(text));
        ids.extend(named(metadata, kind, vocabulary)?.or_else(found));
    }
    let has = |text: &str| id_of(text).is_some();
    let is_left_out = |text: &str| match text {
        // Formats in which these separate parts of one answer.
        "<|end|>" => {
            has("<|return|>") && has("<|call|>") || has("<|flush|>") && (has("<|calls|>") || has("<|call|>"))
        }
        "</s>" => has("<|tool_response>"),
        _ => false,
    };
    for text in ENDS {
        match id_of(text) {
            Some(id) if is_left_out(text) => ids.retain(|other| *other != id),
            found => ids.extend(found),
        }
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(match ids.as_slice() {
        [] => Value::Null,
        [id] => json!(id),
        ids => json!(ids),
    })
}

/// The id that the metadata give for a kind of token.
fn named(metadata: &Metadata<'_>, kind: &str, vocabulary: usize) -> Result<Option<u64>> {
    let key = format!("tokenizer.ggml.{kind}_token_id");
    match metadata.whole(&key)? {
        Some(id) if id >= vocabulary as u64 => {
            Err(metadata.refused(&key, id, format!("below the number of tokens, {vocabulary}")))
        }
        id => Ok(id),
    }
}
