//! Pre-tokenizers: how byte-level tokenizers split a text before they merge. `tokenizer.ggml.pre` names one.

use serde_json::{Value, json};

use crate::text::vocabulary_files::QWEN2;

/// A pre-tokenizer, with the settings of the tokenizers that use it.
pub(crate) struct PreTokenizer {
    names: &'static [&'static str],
    split: Split,
    /// Whether a piece that is a token stays whole, even if no sequence of merges makes it.
    pub(crate) ignore_merges: bool,
    /// Whether a text begins with the begin token, if the file does not say so.
    pub(crate) adds_begin: bool,
    /// Whether the text is normalised to Unicode's composed form, NFC.
    pub(crate) composes: bool,
}

/// How a text is split into pieces.
enum Split {
    /// GPT-2's pattern.
    Gpt2,
    /// GPT-2's pattern, with every digit on its own.
    Digits,
    /// A regular expression that matches the pieces.
    Pattern(&'static str),
}

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const KNOWN: [PreTokenizer; 5] = [
    PreTokenizer {
        names: &["gpt-2"],
        split: Split::Gpt2,
        ignore_merges: false,
        adds_begin: false,
        composes: false,
    },
    PreTokenizer {
        names: &["smollm"],
        split: Split::Digits,
        ignore_merges: false,
        adds_begin: false,
        composes: false,
    },
    PreTokenizer {
        names: &["llama-bpe", "llama3", "llama-v3"],
        split: Split::Pattern(LLAMA3),
        ignore_merges: true,
        adds_begin: true,
        composes: false,
    },
    PreTokenizer {
        names: &["qwen2", "deepseek-r1-qwen"],
        split: Split::Pattern(QWEN2),
        ignore_merges: false,
        adds_begin: false,
        composes: true,
    },
    PreTokenizer {
        names: &["tekken"],
        split: Split::Pattern(TEKKEN),
        ignore_merges: true,
        adds_begin: true,
        composes: false,
    },
];

impl PreTokenizer {
    /// The pre-tokenizer of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        KNOWN.into_iter().find(|known| known.names.contains(&name))
    }

    /// All names, for messages.
    pub(crate) fn names() -> String {
        KNOWN.iter().flat_map(|known| known.names.iter().copied()).collect::<Vec<_>>().join(", ")
    }

    /// The `pre_tokenizer` of a `tokenizer.json`.
    pub(crate) fn to_json(&self) -> Value {
        let bytes = |use_regex: bool| {
            json!({
                "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex,
            })
        };
        let then_bytes =
            |first: Value, use_regex| json!({"type": "Sequence", "pretokenizers": [first, bytes(use_regex)]});
        match self.split {
            Split::Gpt2 => bytes(true),
            Split::Digits => then_bytes(json!({"type": "Digits", "individual_digits": true}), true),
            Split::Pattern(pattern) => {
                let split = json!({
                    "type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false,
                });
                then_bytes(split, false)
            }
        }
    }
}
