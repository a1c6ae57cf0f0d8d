//! `tokenizer_config.json` and the files beside it, applied to a tokenizer as transformers applies them.
//!
//! Honoured: the tokens that these files name, with their settings; `do_lower_case`, `strip_accents` and `tokenize_chinese_chars` of
//! BERT's class; `add_prefix_space` of byte-level classes. Refused where it says another thing than `tokenizer.json`: an id of an added
//! token, `add_prefix_space` and `do_lower_case` of other classes, `split_special_tokens`.
//!
//! The class LlamaTokenizer of SentencePiece's BPE takes its spaces from `add_prefix_space` and `legacy`, not from `tokenizer.json`.
//!
//! Without an effect, as in transformers: `add_bos_token` and `add_eos_token` (the post-processor of `tokenizer.json` counts), `legacy`
//! of other classes (it acted when `tokenizer.json` was made), `padding_side`, `truncation_side`, `model_max_length` and other settings of
//! batches. `clean_up_tokenization_spaces` would change a text after it was decoded, so that it was not what the model wrote: it is left out.

use std::path::PathBuf;

use serde_json::Value;
use tokenizers::{
    AddedToken, DecoderWrapper, ModelWrapper, NormalizerWrapper, PreTokenizerWrapper,
    Tokenizer as HfTokenizer,
    decoders::{byte_fallback::ByteFallback, fuse::Fuse, sequence::Sequence as Decoders, strip::Strip},
    normalizers::{BertNormalizer, Replace},
    pre_tokenizers::metaspace::{Metaspace, PrependScheme},
};

use crate::{
    Error, Result,
    text::special_tokens::{SpecialTokens, special_tokens},
};

/// The class of tokenizers whose normalizer is BERT's.
const BERT: &str = "BertTokenizer";

/// The classes of byte-level tokenizers that set `add_prefix_space` themselves, to false if the configuration does not say it.
const BYTE_LEVEL: [&str; 4] = ["GPT2Tokenizer", "RobertaTokenizer", "Qwen2Tokenizer", "GPTNeoXTokenizer"];

/// Classes that are `tokenizer.json` and nothing else: they have no settings of their own.
const GENERIC: [&str; 3] = ["PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend"];

/// Kinds of models whose tokenizer is of a generic class, whatever class `tokenizer_config.json` names.
const ALWAYS_GENERIC: [&str; 3] = ["mistral", "olmo2", "phi3"];

/// The files beside a `tokenizer.json`; `Null` for one that there is not.
#[derive(Clone, Debug, Default)]
pub(crate) struct TokenizerSettings {
    /// The path of `tokenizer_config.json`, for messages.
    pub(crate) path: PathBuf,
    pub(crate) config: Value,
    pub(crate) special_tokens_map: Value,
    pub(crate) added_tokens: Value,
    /// The model's own `config.json`, which may name the tokenizer's class or imply it.
    pub(crate) model: Value,
}

impl TokenizerSettings {
    /// The class of the tokenizer in transformers, without the ending `Fast`.
    pub(crate) fn class(&self) -> Option<&str> {
        let class = self.config["tokenizer_class"].as_str().or(self.model["tokenizer_class"].as_str());
        let class = class.or_else(|| match self.model["model_type"].as_str()? {
            "bert" | "distilbert" | "electra" => Some("BertTokenizer"),
            "roberta" => Some("RobertaTokenizer"),
            "gpt2" => Some("GPT2Tokenizer"),
            "qwen2" | "qwen3" => Some("Qwen2Tokenizer"),
            _ => None,
        });
        // Classes of other names that are BERT's.
        let class = class.map(|class| match class.strip_suffix("Fast").unwrap_or(class) {
            "DistilBertTokenizer" | "ElectraTokenizer" | "MobileBertTokenizer" => BERT,
            _ => class,
        });
        class.map(
            |class| {
                if GENERIC.contains(&class) { class } else { class.strip_suffix("Fast").unwrap_or(class) }
            },
        )
    }

    pub(crate) fn special_tokens(&self) -> SpecialTokens {
        special_tokens(&self.config, &self.special_tokens_map, &self.added_tokens)
    }

    /// Applies the settings to the tokenizer of `tokenizer.json`.
    pub(crate) fn apply(&self, tokenizer: &mut HfTokenizer) -> Result<()> {
        if self.config["split_special_tokens"].as_bool() == Some(true) {
            return Err(self.refused("split_special_tokens", "true".into(), "false"));
        }
        let is_generic = self.model["model_type"].as_str().is_some_and(|kind| ALWAYS_GENERIC.contains(&kind));
        let class = self.class().filter(|_| !is_generic).unwrap_or(GENERIC[0]).to_string();
        if class == "LlamaTokenizer" && self.apply_llama(tokenizer)? {
            return self.add_tokens(tokenizer);
        }
        self.apply_case(tokenizer, &class)?;
        self.apply_prefix_space(tokenizer, &class)?;
        self.add_tokens(tokenizer)
    }

    fn refused(&self, field: &str, value: String, allowed: impl Into<String>) -> Error {
        Error::Config { path: self.path.clone(), field: field.into(), value, allowed: allowed.into() }
    }

    fn flag(&self, name: &str) -> Result<Option<bool>> {
        match &self.config[name] {
            Value::Null => Ok(None),
            Value::Bool(flag) => Ok(Some(*flag)),
            other => Err(self.refused(name, other.to_string(), "true, false, null")),
        }
    }

    /// Whether the tokenizer's normalizer makes texts lower case, and the settings of BERT's.
    fn apply_case(&self, tokenizer: &mut HfTokenizer, class: &str) -> Result<()> {
        let lower = self.flag("do_lower_case")?;
        if class == BERT
            && let Some(NormalizerWrapper::BertNormalizer(found)) = tokenizer.get_normalizer()
        {
            let mut wanted = *found;
            match lower {
                Some(lower) => wanted.lowercase = lower,
                // The class has true where the configuration says nothing.
                None if !wanted.lowercase => {
                    let value = "not there, which means true, while tokenizer.json keeps case".to_string();
                    return Err(self.refused("do_lower_case", value, "what tokenizer.json does: false"));
                }
                None => {}
            }
            if self.config.get("strip_accents").is_some() {
                wanted.strip_accents = self.flag("strip_accents")?;
            }
            if let Some(splits) = self.flag("tokenize_chinese_chars")? {
                wanted.handle_chinese_chars = splits;
            }
            let BertNormalizer { clean_text, handle_chinese_chars, strip_accents, lowercase, .. } = wanted;
            let wanted = BertNormalizer::new(clean_text, handle_chinese_chars, strip_accents, lowercase);
            let failed = |error: tokenizers::Error| Error::format(&self.path, error);
            tokenizer.with_normalizer(Some(wanted)).map_err(failed)?;
            return Ok(());
        }
        if GENERIC.contains(&class) {
            return Ok(());
        }
        let found = tokenizer.get_normalizer().is_some_and(lowers);
        match lower {
            Some(lower) if lower != found => Err(self.refused(
                "do_lower_case",
                lower.to_string(),
                format!("what tokenizer.json does: {found}"),
            )),
            _ => Ok(()),
        }
    }

    fn apply_prefix_space(&self, tokenizer: &mut HfTokenizer, class: &str) -> Result<()> {
        let wanted = self.flag("add_prefix_space")?;
        if GENERIC.contains(&class) {
            return Ok(());
        }
        let Some(mut pre_tokenizer) = tokenizer.get_pre_tokenizer().cloned() else { return Ok(()) };
        if BYTE_LEVEL.contains(&class) {
            set_prefix_space(&mut pre_tokenizer, wanted.unwrap_or(false));
            tokenizer.with_pre_tokenizer(Some(pre_tokenizer));
            return Ok(());
        }
        let found = prefix_space(&pre_tokenizer);
        match (wanted, found) {
            (Some(wanted), Some(found)) if wanted != found => {
                let allowed = format!("what tokenizer.json does: {found}");
                Err(self.refused("add_prefix_space", wanted.to_string(), allowed))
            }
            _ => Ok(()),
        }
    }

    /// Makes the spaces of SentencePiece's BPE as transformers' class LlamaTokenizer does; false for a tokenizer of bytes, which
    /// transformers reads as it is.
    fn apply_llama(&self, tokenizer: &mut HfTokenizer) -> Result<bool> {
        let ModelWrapper::BPE(model) = tokenizer.get_model() else { return Ok(false) };
        if tokenizer.get_pre_tokenizer().is_some_and(is_of_bytes) {
            return Ok(false);
        }
        let mut model = model.clone();
        (model.fuse_unk, model.byte_fallback, model.ignore_merges) = (true, true, false);
        let prefix = self.flag("add_prefix_space")?.unwrap_or(true);
        let scheme = match self.flag("legacy")?.unwrap_or(false) {
            _ if !prefix => PrependScheme::Never,
            true => PrependScheme::Always,
            false => PrependScheme::First,
        };
        let failed = |error: tokenizers::Error| Error::format(&self.path, error);
        let spaces = Replace::new("\u{2581}", " ").map_err(failed)?;
        let mut decoders = vec![spaces.into(), ByteFallback::new().into(), DecoderWrapper::Fuse(Fuse::new())];
        if prefix {
            decoders.push(Strip::new(' ', 1, 0).into());
        }
        tokenizer.with_model(model);
        tokenizer.with_normalizer(None::<NormalizerWrapper>).map_err(failed)?;
        tokenizer.with_pre_tokenizer(Some(Metaspace::new('\u{2581}', scheme, false)));
        tokenizer.with_decoder(Some(Decoders::new(decoders)));
        Ok(true)
    }

    /// Adds the tokens that stand only in these files, and gives the others the settings that they have there.
    fn add_tokens(&self, tokenizer: &mut HfTokenizer) -> Result<()> {
        let SpecialTokens { special, added, .. } = self.special_tokens();
        let failed = |error: tokenizers::Error| Error::format(&self.path, error);
        let known = tokenizer.get_added_tokens_decoder();
        let mut settings: Vec<AddedToken> = Vec::new();
        for (id, token) in added {
            let same = known.get(&(id as u32)).filter(|known| **known == token && u64::from(id as u32) == id);
            if same.is_none() {
                tokenizer.add_tokens([token.clone()]).map_err(failed)?;
            }
            let found = tokenizer.token_to_id(&token.content).map(u64::from);
            if found != Some(id) {
                let value = format!("{id} for {:?}", token.content);
                let allowed = match found {
                    Some(found) => {
                        format!("the id that it has behind the vocabulary of tokenizer.json, {found}")
                    }
                    None => "the id of a token".into(),
                };
                return Err(self.refused("added_tokens_decoder", value, allowed));
            }
            settings.push(token);
        }
        for (text, own) in special {
            let listed = settings.iter().find(|token| token.content == text).cloned();
            let known = || known.values().find(|token| token.content == text).cloned();
            let token = listed.or_else(known).or(own);
            let token = token.unwrap_or_else(|| AddedToken::from(text.as_str(), true).normalized(false));
            tokenizer.add_special_tokens([AddedToken { special: true, ..token }]).map_err(failed)?;
        }
        Ok(())
    }
}

fn is_of_bytes(pre_tokenizer: &PreTokenizerWrapper) -> bool {
    match pre_tokenizer {
        PreTokenizerWrapper::ByteLevel(_) => true,
        PreTokenizerWrapper::Sequence(all) => all.as_ref().iter().any(is_of_bytes),
        _ => false,
    }
}

/// Whether a normalizer makes texts lower case.
fn lowers(normalizer: &NormalizerWrapper) -> bool {
    match normalizer {
        NormalizerWrapper::BertNormalizer(bert) => bert.lowercase,
        NormalizerWrapper::Lowercase(_) => true,
        NormalizerWrapper::Sequence(all) => all.as_ref().iter().any(lowers),
        _ => false,
    }
}

/// Whether a space is put before a text; `None` if the pre-tokenizer has no such setting.
fn prefix_space(pre_tokenizer: &PreTokenizerWrapper) -> Option<bool> {
    match pre_tokenizer {
        PreTokenizerWrapper::ByteLevel(bytes) => Some(bytes.add_prefix_space),
        PreTokenizerWrapper::Metaspace(space) => Some(space.prepend_scheme != PrependScheme::Never),
        PreTokenizerWrapper::Sequence(all) => all.as_ref().iter().find_map(prefix_space),
        _ => None,
    }
}

fn set_prefix_space(pre_tokenizer: &mut PreTokenizerWrapper, wanted: bool) {
    match pre_tokenizer {
        PreTokenizerWrapper::ByteLevel(bytes) => bytes.add_prefix_space = wanted,
        PreTokenizerWrapper::Sequence(all) => {
            all.as_mut().iter_mut().for_each(|one| set_prefix_space(one, wanted))
        }
        _ => {}
    }
}
