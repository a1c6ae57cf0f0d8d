//! How byte-level tokenizers cut a text before they merge: what `tokenizer.ggml.pre` names.

use serde_json::{Value, json};

/// A way to cut, with the settings that go with it.
pub(crate) struct PreTokenizer {
    names: &'static [&'static str],
    cut: Cut,
    /// Whether a piece that is a token stays whole, even if no merges make it.
    pub(crate) ignore_merges: bool,
    /// Whether a begin token comes first, if the file does not say.
    pub(crate) adds_begin: bool,
    /// Whether the text is brought to Unicode's composed form.
    pub(crate) composes: bool,
}

enum Cut {
    /// GPT-2's.
    Gpt2,
    /// GPT-2's, with every digit on its own.
    Digits,
    Pattern(&'static str),
}

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const KNOWN: [PreTokenizer; 5] = [
    PreTokenizer {
        names: &["gpt-2"],
        cut: Cut::Gpt2,
        ignore_merges: false,
        adds_begin: false,
        composes: false,
    },
    PreTokenizer {
        names: &["smollm"],
        cut: Cut::Digits,
        ignore_merges: false,
        adds_begin: false,
        composes: false,
    },
    PreTokenizer {
        names: &["llama-bpe", "llama3", "llama-v3"],
        cut: Cut::Pattern(LLAMA3),
        ignore_merges: true,
        adds_begin: true,
        composes: false,
    },
    PreTokenizer {
        names: &["qwen2", "deepseek-r1-qwen"],
        cut: Cut::Pattern(QWEN2),
        ignore_merges: false,
        adds_begin: false,
        composes: true,
    },
    PreTokenizer {
        names: &["tekken"],
        cut: Cut::Pattern(TEKKEN),
        ignore_merges: true,
        adds_begin: true,
        composes: false,
    },
];

impl PreTokenizer {
    /// The one of this name.
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
        match self.cut {
            Cut::Gpt2 => bytes(true),
            Cut::Digits => then_bytes(json!({"type": "Digits", "individual_digits": true}), true),
            Cut::Pattern(pattern) => {
                let split = json!({
                    "type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false,
                });
                then_bytes(split, false)
            }
        }
    }
}
