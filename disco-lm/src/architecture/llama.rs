//! Llama (Touvron et al. 2023) and its relatives Mistral, Qwen2 and Qwen3, which differ in biases, norms and windows.

use super::{
    Architecture, Gguf, GgufMetadata, activations,
    config_reader::ConfigReader,
    fields::{Fields, LLAMA_LIKE},
    model_config::{FeedForward, ModelConfig, Positions, QueryKeyNorm, Sizes, Window},
    rope_frequencies::{Frequencies, RotarySizes},
    tensor_names::{StackNames, TensorNames},
};
use crate::Result;

/// The meaning of the fields of Llama's relatives. `mlp_bias` and `attention_bias` are read where transformers reads them.
const FIELDS: Fields = Fields { honoured: LLAMA_LIKE, idle: &["pretraining_tp"], fixed: &[] };

pub(super) const LLAMA: Architecture = Architecture {
    model_type: "llama",
    fields: FIELDS,
    read: |reader| {
        let defaults = Defaults { whole_heads: true, ..DEFAULTS };
        let config = read(reader, &defaults, None)?;
        refuse_no_window(reader)?;
        let bias = reader.flag("attention_bias", false)?;
        let feed_forward_bias = reader.flag("mlp_bias", false)?;
        Ok(by_hand(ModelConfig { qkv_bias: bias, output_bias: bias, feed_forward_bias, ..config }))
    },
    gguf: Some(Gguf { reorders_heads: true, ..gguf("llama") }),
};

/// Mistral. Its GGUF files name the architecture `llama`.
pub(super) const MISTRAL: Architecture = Architecture {
    model_type: "mistral",
    fields: FIELDS,
    read: |reader| {
        let defaults =
            Defaults { intermediate_size: 14_336, kv_heads: Some(8), max_positions: 4096 * 32, ..DEFAULTS };
        let window = reader.window("sliding_window", Some(4096))?;
        Ok(by_hand(read(reader, &defaults, window)?))
    },
    gguf: None,
};

/// The defaults of Qwen2 and Qwen3.
const QWEN: Defaults = Defaults {
    vocabulary: 151_936,
    intermediate_size: 22_016,
    kv_heads: Some(32),
    head_dim: HeadDim::DividedNotNull,
    max_positions: 32_768,
    uniform_layers: false,
    ..DEFAULTS
};

pub(super) const QWEN2: Architecture = Architecture {
    model_type: "qwen2",
    fields: FIELDS,
    read: |reader| {
        let config = read(reader, &QWEN, None)?;
        let window = qwen_window(reader, config.layers)?;
        Ok(by_hand(ModelConfig { qkv_bias: true, window, ..config }))
    },
    gguf: Some(gguf("qwen2")),
};

pub(super) const QWEN3: Architecture = Architecture {
    model_type: "qwen3",
    fields: FIELDS,
    read: |reader| {
        let config = read(reader, &Defaults { head_dim: HeadDim::Of(128), ..QWEN }, None)?;
        let window = qwen_window(reader, config.layers)?;
        let bias = reader.flag("attention_bias", false)?;
        let query_key_norm = Some(QueryKeyNorm::PerHead);
        Ok(by_hand(ModelConfig { qkv_bias: bias, output_bias: bias, window, query_key_norm, ..config }))
    },
    gguf: Some(gguf("qwen3")),
};

pub(super) const NAMES: TensorNames = TensorNames {
    embedding: "model.embed_tokens",
    positions: "",
    head: "lm_head",
    stack: StackNames {
        layers: "model.layers",
        attention_norm: "input_layernorm",
        qkv: &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
        query_norm: "self_attn.q_norm",
        key_norm: "self_attn.k_norm",
        output: "self_attn.o_proj",
        feed_forward_norm: "post_attention_layernorm",
        up: &["mlp.gate_proj", "mlp.up_proj"],
        down: "mlp.down_proj",
        norm: "model.norm",
        ..StackNames::NONE
    },
    encoder: None,
};

pub(super) const GGUF: TensorNames = TensorNames {
    embedding: "token_embd",
    positions: "",
    head: "output",
    stack: StackNames {
        layers: "blk",
        attention_norm: "attn_norm",
        qkv: &["attn_q", "attn_k", "attn_v"],
        query_norm: "attn_q_norm",
        key_norm: "attn_k_norm",
        output: "attn_output",
        feed_forward_norm: "ffn_norm",
        up: &["ffn_gate", "ffn_up"],
        down: "ffn_down",
        norm: "output_norm",
        ..StackNames::NONE
    },
    encoder: None,
};

const fn gguf(name: &'static str) -> Gguf {
    Gguf { name, metadata: GgufMetadata::Llama, tensors: GGUF, reorders_heads: false }
}

/// The configuration of an architecture whose gradient `layers/block_backward.rs` has.
fn by_hand(config: ModelConfig) -> ModelConfig {
    ModelConfig { hand_written_backward: true, ..config }
}

/// The defaults of transformers' configuration class, for fields that a file does not have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Defaults {
    pub(super) vocabulary: usize,
    pub(super) hidden_size: usize,
    pub(super) intermediate_size: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    /// `None`: as many as there are heads.
    pub(super) kv_heads: Option<usize>,
    pub(super) head_dim: HeadDim,
    pub(super) max_positions: usize,
    pub(super) norm_epsilon: f64,
    /// Whether transformers insists that the heads divide the width, even if their size is given.
    pub(super) whole_heads: bool,
    /// Whether all layers have the same attention, whatever `layer_types` says.
    pub(super) uniform_layers: bool,
}

/// The size of a head where the file does not give it.
#[derive(Clone, Copy, Debug)]
pub(super) enum HeadDim {
    /// The width divided by the number of heads; null means the same.
    Divided,
    /// As `Divided`, but null is refused.
    DividedNotNull,
    /// This size; null is refused.
    Of(usize),
}

pub(super) const DEFAULTS: Defaults = Defaults {
    vocabulary: 32_000,
    hidden_size: 4096,
    intermediate_size: 11_008,
    layers: 32,
    heads: 32,
    kv_heads: None,
    head_dim: HeadDim::Divided,
    max_positions: 2048,
    norm_epsilon: 1e-6,
    whole_heads: false,
    uniform_layers: true,
};

/// The fields that Llama's relatives share, with a window of `window` tokens in every layer. Each of them reads its biases, and says
/// for itself whether its backward pass is hand-written.
pub(super) fn read(
    reader: &ConfigReader<'_>,
    defaults: &Defaults,
    window: Option<usize>,
) -> Result<ModelConfig> {
    let activation = reader.choice("hidden_act", "silu", activations::SILU)?;
    let sizes = sizes(reader, defaults)?;
    let rotary = RotarySizes { head_dim: sizes.head_dim, max_positions: sizes.max_positions };
    let positions = Positions::Rotary(Frequencies::from_config(reader, rotary)?);
    let windowed = window.is_some();
    if defaults.uniform_layers
        && reader.get("layer_types").is_some()
        && reader.layer_types(sizes.layers)?.iter().any(|slides| *slides != windowed)
    {
        let value = reader.get("layer_types").map_or_else(String::new, ToString::to_string);
        let kind = if windowed { "sliding_attention" } else { "full_attention" };
        return Err(reader.refused("layer_types", value, format!("{kind} for each layer")));
    }
    Ok(ModelConfig {
        norm_epsilon: reader.number("rms_norm_eps", Some(defaults.norm_epsilon))?,
        window: window.map(|size| Window::everywhere(size, sizes.layers)),
        feed_forward: FeedForward { activation, gated: true },
        tied: reader.flag("tie_word_embeddings", false)?,
        ..ModelConfig::new(NAMES, sizes, positions)
    })
}

fn sizes(reader: &ConfigReader<'_>, defaults: &Defaults) -> Result<Sizes> {
    let hidden_size = reader.size("hidden_size", Some(defaults.hidden_size))?;
    let heads = reader.size("num_attention_heads", Some(defaults.heads))?;
    let divided = hidden_size.checked_div(heads).unwrap_or(0);
    let head_dim = match defaults.head_dim {
        HeadDim::Divided => reader.size_or_null("head_dim", None)?.unwrap_or(divided),
        HeadDim::DividedNotNull => reader.size("head_dim", Some(divided))?,
        HeadDim::Of(size) => reader.size("head_dim", Some(size))?,
    };
    if defaults.whole_heads {
        reader.divided(hidden_size, "num_attention_heads", heads, "hidden_size")?;
    }
    if !head_dim.is_multiple_of(2) {
        return Err(reader.refused("head_dim", head_dim, "even"));
    }
    Ok(Sizes {
        vocabulary: reader.size("vocab_size", Some(defaults.vocabulary))?,
        hidden_size,
        layers: reader.layers("num_hidden_layers", Some(defaults.layers))?,
        heads,
        kv_heads: reader.size_or_null("num_key_value_heads", defaults.kv_heads)?.unwrap_or(heads),
        head_dim,
        intermediate_size: reader.size("intermediate_size", Some(defaults.intermediate_size))?,
        max_positions: reader.size("max_position_embeddings", Some(defaults.max_positions))?,
    })
}

/// Refuses a window of no tokens in a model that has none: transformers refuses it in its cache.
pub(super) fn refuse_no_window(reader: &ConfigReader<'_>) -> Result<()> {
    reader.window("sliding_window", None).map(|_| ())
}

/// Qwen's window, if it is switched on: in the layers that `layer_types` names, or else in the layers from number
/// `max_window_layers` on.
fn qwen_window(reader: &ConfigReader<'_>, count: usize) -> Result<Option<Window>> {
    let size = match reader.flag("use_sliding_window", false)? {
        true => reader.window("sliding_window", Some(4096))?,
        false => None,
    };
    let layers = match reader.get("layer_types") {
        Some(_) => reader.layer_types(count)?,
        None => {
            let first = reader.size("max_window_layers", Some(28))?;
            (0..count).map(|layer| size.is_some() && layer >= first).collect()
        }
    };
    match size {
        None if layers.contains(&true) => {
            let allowed = "a number, with use_sliding_window true, where a layer is of sliding_attention";
            Err(reader.refused("sliding_window", "switched off", allowed))
        }
        None => Ok(None),
        Some(size) => Ok(Some(Window { size, layers, frequencies: None })),
    }
}
