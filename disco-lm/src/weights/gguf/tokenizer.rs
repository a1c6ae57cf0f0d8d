//! The tokenizer of a GGUF file: from its metadata to a Hugging Face `tokenizer.json`.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::{
    Result,
    weights::gguf::{end_tokens::is_control, metadata::Metadata, pre_tokenizer::PreTokenizer},
};

/// The kinds of tokens, as `tokenizer.ggml.token_type` numbers them.
const NORMAL: u32 = 1;

const UNKNOWN: u32 = 2;

const CONTROL: u32 = 3;

const USER_DEFINED: u32 = 4;

/// The character that SentencePiece writes for a space.
const SPACE: &str = "\u{2581}";

/// The longest token of SentencePiece, in bytes: its merges take a time of the square of its length.
const LONGEST: usize = 1024;

/// The tokens of a file and their kinds, as in its metadata.
pub(crate) struct Vocabulary<'a> {
    metadata: &'a Metadata<'a>,
    // Invariant: as many kinds as tokens.
    tokens: Vec<String>,
    kinds: Vec<u32>,
}

impl<'a> Vocabulary<'a> {
    pub(crate) fn read(metadata: &'a Metadata<'a>) -> Result<Self> {
        let key = "tokenizer.ggml.tokens";
        let tokens = metadata.texts(key)?.ok_or_else(|| metadata.missing(key, "the tokenizer's tokens"))?;
        let key = "tokenizer.ggml.token_type";
        let mut kinds: Vec<u32> = match metadata.numbers(key)? {
            None => vec![NORMAL; tokens.len()],
            Some(kinds) if kinds.len() == tokens.len() => kinds.into_iter().map(|kind| kind as u32).collect(),
            Some(kinds) => {
                return Err(metadata.refused(key, kinds.len(), format!("{} numbers", tokens.len())));
            }
        };
        for (_, kind) in tokens.iter().zip(&mut kinds).filter(|(token, _)| is_control(token)) {
            *kind = CONTROL;
        }
        Ok(Self { metadata, tokens, kinds })
    }

    /// The special token of this kind, such as `bos`, by the id that the metadata gives.
    pub(crate) fn special(&self, kind: &str) -> Result<Option<&str>> {
        let key = format!("tokenizer.ggml.{kind}_token_id");
        let Some(id) = self.metadata.whole(&key)? else { return Ok(None) };
        let token = usize::try_from(id).ok().and_then(|id| self.tokens.get(id));
        let allowed = format!("below the number of tokens, {}", self.tokens.len());
        token.map(|token| Some(token.as_str())).ok_or_else(|| self.metadata.refused(&key, id, allowed))
    }

    /// The whole `tokenizer.json`.
    pub(crate) fn to_json(&self) -> Result<Value> {
        let key = "tokenizer.ggml.model";
        let allowed = "gpt2 (byte-level BPE), llama (SentencePiece BPE)";
        let kind = self.metadata.text(key)?.ok_or_else(|| self.metadata.missing(key, allowed))?;
        let mut json = match kind.as_str() {
            "gpt2" => self.byte_level()?,
            "llama" => self.sentence_piece()?,
            other => return Err(self.metadata.refused(key, other, allowed)),
        };
        json.insert("version".into(), "1.0".into());
        json.insert("truncation".into(), Value::Null);
        json.insert("padding".into(), Value::Null);
        json.insert("added_tokens".into(), self.added_tokens());
        Ok(json.into())
    }

    /// Byte-level BPE: tokens and merges, applied to the pieces of a pre-tokenizer.
    fn byte_level(&self) -> Result<Map<String, Value>> {
        let key = "tokenizer.ggml.pre";
        let named = self.metadata.text(key)?;
        let is_gpt2 = self.metadata.text("general.architecture")?.as_deref() == Some("gpt2");
        let name = match (named, is_gpt2) {
            (Some(name), _) => name,
            // Files of GPT-2 are as old as GGUF itself, and always use GPT-2's pre-tokenizer.
            (None, true) => "gpt-2".into(),
            (None, false) => return Err(self.metadata.missing(key, &PreTokenizer::names())),
        };
        let pre = PreTokenizer::named(&name)
            .ok_or_else(|| self.metadata.refused(key, &name, PreTokenizer::names()))?;
        let key = "tokenizer.ggml.merges";
        let merges =
            self.metadata.texts(key)?.ok_or_else(|| self.metadata.missing(key, "a list of merges"))?;
        let merges: Vec<(&str, &str)> = merges
            .iter()
            .map(|merge| {
                let pair = merge.split_once(' ');
                pair.ok_or_else(|| self.metadata.refused(key, merge, "two tokens with a space between"))
            })
            .collect::<Result<_>>()?;
        let model = json!({
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": pre.ignore_merges, "vocab": self.ids(), "merges": merges,
        });
        let decoder = json!({
            "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true,
        });
        let normalizer = if pre.composes { json!({"type": "NFC"}) } else { Value::Null };
        let post_processor = self.post_processor(pre.adds_begin)?;
        Ok(object([
            ("normalizer", normalizer),
            ("pre_tokenizer", pre.to_json()),
            ("post_processor", post_processor),
            ("decoder", decoder),
            ("model", model),
        ]))
    }

    /// SentencePiece's BPE: the next merge is always the one whose token has the highest score.
    fn sentence_piece(&self) -> Result<Map<String, Value>> {
        let key = "tokenizer.ggml.scores";
        let scores =
            self.metadata.numbers(key)?.ok_or_else(|| self.metadata.missing(key, "a list of numbers"))?;
        if scores.len() != self.tokens.len() {
            return Err(self.metadata.refused(key, scores.len(), format!("{} numbers", self.tokens.len())));
        }
        if let Some(token) = self.tokens.iter().find(|token| token.len() > LONGEST) {
            let value = format!("a list with a token of {} bytes", token.len());
            return Err(self.metadata.refused(
                "tokenizer.ggml.tokens",
                value,
                format!("tokens of up to {LONGEST}"),
            ));
        }
        let unknown = self.kinds.iter().position(|kind| *kind == UNKNOWN).map(|id| &self.tokens[id]);
        let model = json!({
            "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
            "vocab": self.ids(), "merges": self.merges(&scores),
        });
        let leading_space = self.metadata.flag("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
        let mut normalizers = vec![json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE})];
        let mut decoders = vec![
            json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ];
        if leading_space {
            normalizers.insert(0, json!({"type": "Prepend", "prepend": SPACE}));
            decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        Ok(object([
            ("normalizer", json!({"type": "Sequence", "normalizers": normalizers})),
            ("pre_tokenizer", Value::Null),
            ("post_processor", self.post_processor(true)?),
            ("decoder", json!({"type": "Sequence", "decoders": decoders})),
            ("model", model),
        ]))
    }

    /// Every merge of two tokens into a third, in the order of the third's score, the highest first.
    fn merges(&self, scores: &[f64]) -> Vec<(&str, &str)> {
        let ids: HashMap<&str, usize> =
            self.tokens.iter().enumerate().map(|(id, token)| (token.as_str(), id)).collect();
        let is_normal = |token: &str| ids.get(token).is_some_and(|id| self.kinds[*id] == NORMAL);
        let mut merges = Vec::new();
        for (id, token) in self.tokens.iter().enumerate().filter(|(id, _)| self.kinds[*id] == NORMAL) {
            let pairs = token.char_indices().skip(1).map(|(at, _)| token.split_at(at));
            let pairs = pairs.filter(|(left, right)| is_normal(left) && is_normal(right));
            merges.extend(pairs.map(|(left, right)| (id, left, right)));
        }
        merges.sort_by(|(a, ..), (b, ..)| scores[*b].total_cmp(&scores[*a]));
        merges.into_iter().map(|(_, left, right)| (left, right)).collect()
    }

    fn ids(&self) -> Map<String, Value> {
        self.tokens.iter().enumerate().map(|(id, token)| (token.clone(), id.into())).collect()
    }

    /// Tokens that are matched in a text before it is split. Control tokens are left out of decoded texts.
    fn added_tokens(&self) -> Value {
        let added = self.tokens.iter().zip(&self.kinds).enumerate();
        let added = added.filter(|(_, (_, kind))| [UNKNOWN, CONTROL, USER_DEFINED].contains(*kind));
        added
            .map(|(id, (token, kind))| {
                json!({
                    "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": *kind != USER_DEFINED,
                })
            })
            .collect()
    }

    /// The post-processor, which adds the begin and end tokens around every text.
    fn post_processor(&self, adds_begin: bool) -> Result<Value> {
        let mut around = Vec::new();
        for (flag, kind, default) in [("add_bos_token", "bos", adds_begin), ("add_eos_token", "eos", false)] {
            let token = match self.metadata.flag(&format!("tokenizer.ggml.{flag}"))?.unwrap_or(default) {
                true => self.special(kind)?,
                false => None,
            };
            around.push(token);
        }
        let special =
            |token: &Option<&str>| token.map(|token| json!({"SpecialToken": {"id": token, "type_id": 0}}));
        let text = |name: &str| Some(json!({"Sequence": {"id": name, "type_id": 0}}));
        let one = |name: &str| [special(&around[0]), text(name), special(&around[1])].into_iter().flatten();
        let tokens: Map<String, Value> = around
            .iter()
            .flatten()
            .map(|token| {
                let id = self.tokens.iter().position(|other| other == token);
                ((*token).to_string(), json!({"id": token, "ids": [id], "tokens": [token]}))
            })
            .collect();
        Ok(json!({
            "type": "TemplateProcessing", "single": one("A").collect::<Vec<_>>(),
            "pair": one("A").chain(one("B")).collect::<Vec<_>>(), "special_tokens": tokens,
        }))
    }

    /// The `tokenizer_config.json`: the special tokens by their name, and the chat template.
    pub(crate) fn config_json(&self) -> Result<Value> {
        let mut config = Map::new();
        for (kind, name) in [("bos", "bos_token"), ("eos", "eos_token"), ("padding", "pad_token")] {
            if let Some(token) = self.special(kind)? {
                config.insert(name.into(), token.into());
            }
        }
        if let Some(template) = self.metadata.text("tokenizer.chat_template")? {
            config.insert("chat_template".into(), template.into());
        }
        config.insert("tokenizer_class".into(), "PreTrainedTokenizerFast".into());
        Ok(config.into())
    }
}

fn object<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    fields.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}
