//! The configuration of a model: from GGUF's metadata to a Hugging Face `config.json`.

use serde_json::{Map, Value, json};

use crate::{
    Result,
    architecture::{ARCHITECTURES, Architecture, Gguf, GgufMetadata},
    weights::gguf::{end_tokens::end_tokens, metadata::Metadata},
};

/// Relative tolerance for rotary factors: they are stored in f32, and some programs compute them in f32.
const FACTOR_TOLERANCE: f64 = 1e-4;

/// Keys of llama.cpp that change a probability in the architectures here, or would in others of its builds, with the value that changes
/// nothing.
const OTHER_KEYS: &[(&str, f64)] = &[
    ("attention.causal", 1.0),
    ("attention.clamp_kqv", 0.0),
    ("attention.max_alibi_bias", 0.0),
    ("attention.scale", 0.0),
    ("attention.temperature_scale", 0.0),
    ("attn_logit_softcapping", 0.0),
    ("embedding_scale", 0.0),
    ("expert_count", 0.0),
    ("expert_used_count", 0.0),
    ("final_logit_softcapping", 0.0),
    ("logit_scale", 0.0),
    ("nextn_predict_layers", 0.0),
    ("residual_scale", 0.0),
    ("rope.scaling.alpha", 0.0),
    ("rope.scaling.yarn_attn_factor", 1.0),
    ("rope.scaling.yarn_ext_factor", 1.0),
    ("rope.scaling.yarn_log_multiplier", 0.0),
    ("use_parallel_residual", 0.0),
];

/// The architecture that `general.architecture` names.
pub(crate) fn architecture(metadata: &Metadata<'_>) -> Result<(&'static Architecture, &'static Gguf)> {
    let key = "general.architecture";
    let all =
        || ARCHITECTURES.iter().filter_map(|architecture| Some((architecture, architecture.gguf.as_ref()?)));
    let known = || {
        all().map(|(_, gguf)| gguf.name).collect::<Vec<_>>().join(", ")
            + " (llama is also Mistral and others of its build)"
    };
    let found = metadata.text(key)?.ok_or_else(|| metadata.missing(key, &known()))?;
    all().find(|(_, gguf)| gguf.name == found).ok_or_else(|| metadata.refused(key, found, known()))
}

/// The `config.json` of the model. `rope_factors` are those that `rope_freqs.weight` divides frequencies by.
pub(crate) fn config(
    metadata: &Metadata<'_>,
    model_type: &str,
    gguf: &Gguf,
    rope_factors: Option<&[f32]>,
) -> Result<Value> {
    let reader = Reader { metadata, architecture: gguf.name };
    reader.check()?;
    let mut config = match gguf.metadata {
        GgufMetadata::Gpt2 => reader.gpt2()?,
        GgufMetadata::Llama => reader.llama(rope_factors)?,
    };
    config.insert("model_type".into(), model_type.into());
    let vocabulary = reader.vocabulary()?;
    config.insert("vocab_size".into(), vocabulary.into());
    config.insert("tie_word_embeddings".into(), (!reader.has("output.weight")).into());
    config.insert("eos_token_id".into(), end_tokens(metadata, vocabulary)?);
    if let Some(begin) = metadata.whole("tokenizer.ggml.bos_token_id")? {
        config.insert("bos_token_id".into(), begin.into());
    }
    Ok(config.into())
}

/// The metadata of one architecture.
struct Reader<'a> {
    metadata: &'a Metadata<'a>,
    architecture: &'a str,
}

impl Reader<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    fn has(&self, tensor: &str) -> bool {
        self.metadata.header.tensors.contains_key(tensor)
    }

    fn size(&self, name: &str) -> Result<u64> {
        let key = self.key(name);
        self.metadata.whole(&key)?.ok_or_else(|| self.metadata.missing(&key, "a whole number"))
    }

    /// The epsilon of norms, which llama.cpp insists on too.
    fn epsilon(&self, name: &str) -> Result<f64> {
        let key = self.key(name);
        self.metadata.number(&key)?.ok_or_else(|| self.metadata.missing(&key, "a number"))
    }

    /// The number of token ids: the rows of the embedding, since not every file has it in its metadata.
    fn vocabulary(&self) -> Result<usize> {
        let embedding = self.metadata.header.tensors.get("token_embd.weight");
        let rows = embedding.and_then(|tensor| tensor.shape.first()).copied();
        rows.ok_or_else(|| self.metadata.missing("token_embd.weight", "a matrix, one row a token"))
    }

    fn gpt2(&self) -> Result<Map<String, Value>> {
        let config = json!({
            "n_embd": self.size("embedding_length")?,
            "n_layer": self.size("block_count")?,
            "n_head": self.size("attention.head_count")?,
            "n_inner": self.size("feed_forward_length")?,
            "n_positions": self.size("context_length")?,
            "layer_norm_epsilon": self.epsilon("attention.layer_norm_epsilon")?,
            "activation_function": "gelu_new",
        });
        Ok(into_map(config))
    }

    fn llama(&self, rope_factors: Option<&[f32]>) -> Result<Map<String, Value>> {
        let [width, heads] = [self.size("embedding_length")?, self.size("attention.head_count")?];
        let default_head = width.checked_div(heads).unwrap_or(0);
        let head = self.metadata.whole(&self.key("attention.key_length"))?.unwrap_or(default_head);
        for name in ["rope.dimension_count", "attention.value_length"] {
            if let Some(other) = self.metadata.whole(&self.key(name))?.filter(|other| *other != head) {
                let allowed = format!("the width of a head, {head}");
                return Err(self.metadata.refused(&self.key(name), other, allowed));
            }
        }
        let theta = self.metadata.number(&self.key("rope.freq_base"))?.unwrap_or(10_000.0);
        let mut config = into_map(json!({
            "hidden_size": width,
            "num_hidden_layers": self.size("block_count")?,
            "num_attention_heads": heads,
            "num_key_value_heads": self.metadata.whole(&self.key("attention.head_count_kv"))?.unwrap_or(heads),
            "head_dim": head,
            "intermediate_size": self.size("feed_forward_length")?,
            "max_position_embeddings": self.size("context_length")?,
            "rms_norm_eps": self.epsilon("attention.layer_norm_rms_epsilon")?,
            "rope_theta": theta,
            "hidden_act": "silu",
            "attention_bias": self.has("blk.0.attn_output.bias"),
            "mlp_bias": self.has("blk.0.ffn_down.bias"),
        }));
        if let Some(window) = self.metadata.whole(&self.key("attention.sliding_window"))?.filter(|w| *w > 0) {
            config.insert("sliding_window".into(), window.into());
            config.insert("use_sliding_window".into(), true.into());
        }
        if let Some(scaling) = self.rope_scaling(theta, head, rope_factors)? {
            config.insert("rope_scaling".into(), scaling);
        }
        Ok(config)
    }

    /// The scaling of rotary positions, as llama.cpp reads it: a factor without a type is linear, and its older key counts where the
    /// newer one is missing.
    fn rope_scaling(&self, theta: f64, head: u64, factors: Option<&[f32]>) -> Result<Option<Value>> {
        let kind_key = self.key("rope.scaling.type");
        let kind = self.metadata.text(&kind_key)?.unwrap_or_else(|| "linear".into());
        let factor_key = self.key("rope.scaling.factor");
        let factor = match self.metadata.number(&factor_key)? {
            None => self.metadata.number(&self.key("rope.scale_linear"))?,
            factor => factor,
        };
        let factor = factor.filter(|factor| *factor != 0.0).unwrap_or(1.0);
        if let Some(factors) = factors {
            if kind != "none" && factor != 1.0 {
                let allowed = "1, beside rope_freqs.weight";
                return Err(self.metadata.refused(&factor_key, factor, allowed));
            }
            return Ok(Some(self.llama3(theta, head, factors)?));
        }
        match kind.as_str() {
            "none" => Ok(None),
            "linear" if factor == 1.0 => Ok(None),
            "linear" => Ok(Some(json!({"rope_type": "linear", "factor": factor}))),
            "yarn" => Ok(Some(self.yarn(factor)?)),
            _ => Err(self.metadata.refused(&kind_key, kind, "none, linear, yarn")),
        }
    }

    fn yarn(&self, factor: f64) -> Result<Value> {
        let number = |name: &str| self.metadata.number(&self.key(&format!("rope.scaling.{name}")));
        let mut yarn = json!({"rope_type": "yarn", "factor": factor});
        if let Some(original) = number("original_context_length")? {
            yarn["original_max_position_embeddings"] = json!(original);
        }
        for (name, field) in [("yarn_beta_fast", "beta_fast"), ("yarn_beta_slow", "beta_slow")] {
            if let Some(value) = number(name)? {
                yarn[field] = json!(value);
            }
        }
        if let Some(weight) = number("attn_factor")?.filter(|weight| *weight != 1.0) {
            yarn["attention_factor"] = json!(weight * (0.1 * factor.max(1.0).ln() + 1.0));
        }
        Ok(yarn)
    }

    /// Refuses metadata of llama.cpp that would change a probability, and that nothing here reads.
    fn check(&self) -> Result<()> {
        for (name, idle) in OTHER_KEYS {
            let key = self.key(name);
            let Some(found) = self.metadata.header.metadata.get(&key) else { continue };
            if found.as_f64() != Some(*idle) {
                return Err(self.metadata.refused(&key, found.shown(), idle.to_string()));
            }
        }
        Ok(())
    }

    /// Llama 3's rotary scaling, recovered from the factors, since the file has only these. In all models its bounds are 1
    /// and 4, the largest factor is the scale itself, and the original number of positions is a power of two: the one that
    /// gives these factors.
    fn llama3(&self, theta: f64, head: u64, factors: &[f32]) -> Result<Value> {
        let [low, high] = [1.0, 4.0];
        let factor = f64::from(factors.iter().copied().fold(1.0, f32::max));
        let expected = |original: f64, pair: usize| {
            let wavelength = std::f64::consts::TAU * theta.powf(2.0 * pair as f64 / head as f64);
            let smooth = ((original / wavelength - low) / (high - low)).clamp(0.0, 1.0);
            1.0 / (smooth + (1.0 - smooth) / factor)
        };
        let gives_them = |original: &u64| {
            factors.iter().enumerate().all(|(pair, found)| {
                (f64::from(*found) / expected(*original as f64, pair) - 1.0).abs() < FACTOR_TOLERANCE
            })
        };
        let original = (0..24).map(|power| 1 << power).find(gives_them);
        match original.filter(|_| factors.len() as u64 == head / 2) {
            Some(original) => Ok(json!({
                "rope_type": "llama3", "factor": factor, "low_freq_factor": low, "high_freq_factor": high,
                "original_max_position_embeddings": original,
            })),
            None => {
                let allowed = "one factor for each pair of a head's channels, made as for Llama 3";
                Err(self.metadata.refused("rope_freqs.weight", format!("{factors:?}"), allowed))
            }
        }
    }
}

/// The fields of an object, without those that are null, for which the default applies.
fn into_map(config: Value) -> Map<String, Value> {
    let Value::Object(fields) = config else { return Map::new() };
    fields.into_iter().filter(|(_, value)| !value.is_null()).collect()
}
