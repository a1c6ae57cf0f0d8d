//! What a decoder is built of, read from a Hugging Face `config.json`.

use std::path::Path;

use serde_json::Value;

use crate::{Error, Result, rope::Frequencies};

/// How a layer's input is normalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Norm {
    /// `x / rms(x) * scale`.
    Rms,
    /// `(x - mean) / std * scale + bias`.
    Layer,
}

/// How a token's place enters.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Positions {
    /// A learned vector per position is added to the embedding.
    Learned,
    /// Queries and keys are rotated (rotate-half layout).
    Rotary(Frequencies),
}

/// The feed-forward block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FeedForward {
    /// `down(silu(gate(x)) * up(x))`.
    GatedSilu,
    /// `down(gelu(up(x)))` with the tanh form of gelu.
    Gelu,
}

/// The families that differ in the names and layout of their weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Gpt2,
    Llama,
}

/// The shape of a decoder-only transformer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spec {
    pub(crate) family: Family,
    pub(crate) vocabulary: usize,
    pub(crate) width: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_width: usize,
    pub(crate) feed_forward_width: usize,
    pub(crate) max_positions: usize,
    pub(crate) norm: Norm,
    pub(crate) norm_epsilon: f64,
    pub(crate) positions: Positions,
    pub(crate) feed_forward: FeedForward,
    pub(crate) qkv_bias: bool,
    pub(crate) output_bias: bool,
    pub(crate) feed_forward_bias: bool,
    pub(crate) query_key_norm: bool,
    pub(crate) tied: bool,
}

/// The architectures there are, as `model_type` names them.
const KNOWN: &str = "gpt2, llama, mistral, qwen2, qwen3";

impl Spec {
    /// Reads a `config.json`; `path` is for messages.
    pub(crate) fn from_config(config: &Value, path: &Path) -> Result<Self> {
        let fields = Fields { config, path };
        let spec = match fields.text("model_type", None)?.as_str() {
            "gpt2" => gpt2(&fields)?,
            kind @ ("llama" | "mistral" | "qwen2" | "qwen3") => llama(&fields, kind)?,
            other => return Err(fields.refused("model_type", other, KNOWN)),
        };
        for (field, value) in [
            ("vocab_size", spec.vocabulary),
            ("hidden size", spec.width),
            ("number of layers", spec.layers),
            ("number of heads", spec.heads),
            ("num_key_value_heads", spec.kv_heads),
            ("head_dim", spec.head_width),
            ("intermediate size", spec.feed_forward_width),
            ("number of positions", spec.max_positions),
        ] {
            if value == 0 || value > 1 << 24 {
                return Err(fields.refused(field, value, "1 to 2^24"));
            }
        }
        if !spec.heads.is_multiple_of(spec.kv_heads) {
            return Err(fields.refused(
                "num_key_value_heads",
                spec.kv_heads,
                "a divisor of the number of heads",
            ));
        }
        if !(spec.norm_epsilon > 0.0) {
            return Err(fields.refused("norm epsilon", spec.norm_epsilon, "positive"));
        }
        Ok(spec)
    }
}

fn gpt2(fields: &Fields<'_>) -> Result<Spec> {
    fields.only("activation_function", "gelu_new", &["gelu_new", "gelu_pytorch_tanh"])?;
    fields.off("scale_attn_by_inverse_layer_idx")?;
    fields.off("add_cross_attention")?;
    let width = fields.size("n_embd", None)?;
    let heads = fields.size("n_head", None)?;
    if heads == 0 || !width.is_multiple_of(heads) {
        return Err(fields.refused("n_head", heads, "a divisor of n_embd"));
    }
    Ok(Spec {
        family: Family::Gpt2,
        vocabulary: fields.size("vocab_size", None)?,
        width,
        layers: fields.size("n_layer", None)?,
        heads,
        kv_heads: heads,
        head_width: width / heads,
        feed_forward_width: fields.size("n_inner", Some(4 * width))?,
        max_positions: fields.size("n_positions", Some(1024))?,
        norm: Norm::Layer,
        norm_epsilon: fields.number("layer_norm_epsilon", Some(1e-5))?,
        positions: Positions::Learned,
        feed_forward: FeedForward::Gelu,
        qkv_bias: true,
        output_bias: true,
        feed_forward_bias: true,
        query_key_norm: false,
        tied: fields.flag("tie_word_embeddings", true)?,
    })
}

fn llama(fields: &Fields<'_>, kind: &str) -> Result<Spec> {
    fields.only("hidden_act", "silu", &["silu"])?;
    let width = fields.size("hidden_size", None)?;
    let heads = fields.size("num_attention_heads", None)?;
    let default_head = width.checked_div(heads).unwrap_or(0);
    let head_width = fields.size("head_dim", Some(default_head))?;
    if !head_width.is_multiple_of(2) {
        return Err(fields.refused("head_dim", head_width, "even"));
    }
    let max_positions = fields.size("max_position_embeddings", Some(2048))?;
    // A window as long as the positions never cuts anything off.
    let windowed = kind == "mistral" || fields.flag("use_sliding_window", false)?;
    if windowed {
        let window = fields.size("sliding_window", Some(max_positions))?;
        if window < max_positions {
            return Err(fields.refused(
                "sliding_window",
                window,
                "null, or at least max_position_embeddings",
            ));
        }
    }
    let bias = fields.flag("attention_bias", false)?;
    Ok(Spec {
        family: Family::Llama,
        vocabulary: fields.size("vocab_size", None)?,
        width,
        layers: fields.size("num_hidden_layers", None)?,
        heads,
        kv_heads: fields.size("num_key_value_heads", Some(heads))?,
        head_width,
        feed_forward_width: fields.size("intermediate_size", None)?,
        max_positions,
        norm: Norm::Rms,
        norm_epsilon: fields.number("rms_norm_eps", Some(1e-6))?,
        positions: Positions::Rotary(Frequencies::from_config(fields, head_width)?),
        feed_forward: FeedForward::GatedSilu,
        qkv_bias: bias || kind == "qwen2",
        output_bias: bias,
        feed_forward_bias: fields.flag("mlp_bias", false)?,
        query_key_norm: kind == "qwen3",
        tied: fields.flag("tie_word_embeddings", false)?,
    })
}

/// Typed access to a configuration whose errors name the field.
pub(crate) struct Fields<'a> {
    pub(crate) config: &'a Value,
    pub(crate) path: &'a Path,
}

impl Fields<'_> {
    /// The value of a field that is there and not null.
    fn get(&self, field: &str) -> Option<&Value> {
        self.config.get(field).filter(|value| !value.is_null())
    }

    pub(crate) fn refused(&self, field: &str, value: impl ToString, allowed: impl Into<String>) -> Error {
        Error::Config {
            path: self.path.to_path_buf(),
            field: field.into(),
            value: value.to_string(),
            allowed: allowed.into(),
        }
    }

    fn typed<T>(
        &self,
        field: &str,
        default: Option<T>,
        allowed: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<T> {
        match (self.get(field), default) {
            (Some(value), _) => read(value).ok_or_else(|| self.refused(field, value, allowed)),
            (None, Some(default)) => Ok(default),
            (None, None) => Err(self.refused(field, "missing", allowed)),
        }
    }

    pub(crate) fn size(&self, field: &str, default: Option<usize>) -> Result<usize> {
        self.typed(field, default, "a whole number", |value| {
            value.as_u64().and_then(|number| usize::try_from(number).ok())
        })
    }

    pub(crate) fn number(&self, field: &str, default: Option<f64>) -> Result<f64> {
        self.typed(field, default, "a number", Value::as_f64)
    }

    pub(crate) fn text(&self, field: &str, default: Option<String>) -> Result<String> {
        self.typed(field, default, "text", |value| value.as_str().map(String::from))
    }

    pub(crate) fn flag(&self, field: &str, default: bool) -> Result<bool> {
        self.typed(field, Some(default), "true or false", Value::as_bool)
    }

    /// A part of the configuration, with the same path for its messages.
    pub(crate) fn section(&self, field: &str) -> Option<Fields<'_>> {
        self.get(field).map(|config| Fields { config, path: self.path })
    }

    pub(crate) fn only(&self, field: &str, default: &str, allowed: &[&str]) -> Result<()> {
        let value = self.text(field, Some(default.into()))?;
        if allowed.contains(&value.as_str()) {
            Ok(())
        } else {
            Err(self.refused(field, value, allowed.join(", ")))
        }
    }

    pub(crate) fn off(&self, field: &str) -> Result<()> {
        if self.flag(field, false)? { Err(self.refused(field, true, "false")) } else { Ok(()) }
    }
    pub(crate) fn empty(&self, field: &str) -> Result<()> {
        match self.get(field) {
            Some(Value::Array(values)) if values.is_empty() => Ok(()),
            Some(Value::Object(values)) if values.is_empty() => Ok(()),
            Some(value) => Err(self.refused(field, value, "nothing")),
            None => Ok(()),
        }
    }
}
