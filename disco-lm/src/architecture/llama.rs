//! Llama (Touvron et al. 2023) and its relatives Mistral, Qwen2 and Qwen3, which differ in biases, norms and windows.

use super::{
    Architecture, Gguf, GgufMetadata,
    config_reader::ConfigReader,
    model_config::{Activation, FeedForward, ModelConfig, Positions, QueryKeyNorm, Sizes, Window},
    rope_frequencies::Frequencies,
    tensor_names::{StackNames, TensorNames},
};
use crate::Result;

pub(super) const LLAMA: Architecture = Architecture {
    model_type: "llama",
    read: |reader| Ok(by_hand(read(reader, None)?)),
    gguf: Some(Gguf { reorders_heads: true, ..gguf("llama") }),
};

/// Mistral. Its GGUF files name the architecture `llama`.
pub(super) const MISTRAL: Architecture = Architecture {
    model_type: "mistral",
    read: |reader| {
        let window = optional_window(reader)?;
        Ok(by_hand(read(reader, window)?))
    },
    gguf: None,
};

pub(super) const QWEN2: Architecture = Architecture {
    model_type: "qwen2",
    read: |reader| Ok(by_hand(ModelConfig { qkv_bias: true, ..read(reader, qwen_window(reader)?)? })),
    gguf: Some(gguf("qwen2")),
};

pub(super) const QWEN3: Architecture = Architecture {
    model_type: "qwen3",
    read: |reader| {
        let query_key_norm = Some(QueryKeyNorm::PerHead);
        Ok(by_hand(ModelConfig { query_key_norm, ..read(reader, qwen_window(reader)?)? }))
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

/// The fields that Llama's relatives share. Each of them says for itself whether its backward pass is hand-written.
pub(super) fn read(reader: &ConfigReader<'_>, window: Option<Window>) -> Result<ModelConfig> {
    let activation = reader.choice("hidden_act", "silu", &[("silu", Activation::Silu)])?;
    let sizes = sizes(reader)?;
    let bias = reader.flag("attention_bias", false)?;
    let positions = Positions::Rotary(Frequencies::from_config(reader, sizes.head_dim)?);
    Ok(ModelConfig {
        norm_epsilon: reader.number("rms_norm_eps", Some(1e-6))?,
        window,
        feed_forward: FeedForward { activation, gated: true },
        qkv_bias: bias,
        output_bias: bias,
        feed_forward_bias: reader.flag("mlp_bias", false)?,
        tied: reader.flag("tie_word_embeddings", false)?,
        ..ModelConfig::new(NAMES, sizes, positions)
    })
}

fn sizes(reader: &ConfigReader<'_>) -> Result<Sizes> {
    let hidden_size = reader.size("hidden_size", None)?;
    let heads = reader.size("num_attention_heads", None)?;
    let head_dim = reader.size("head_dim", Some(hidden_size.checked_div(heads).unwrap_or(0)))?;
    if !head_dim.is_multiple_of(2) {
        return Err(reader.refused("head_dim", head_dim, "even"));
    }
    Ok(Sizes {
        vocabulary: reader.size("vocab_size", None)?,
        hidden_size,
        layers: reader.layers("num_hidden_layers", None)?,
        heads,
        kv_heads: reader.size("num_key_value_heads", Some(heads))?,
        head_dim,
        intermediate_size: reader.size("intermediate_size", None)?,
        max_positions: reader.size("max_position_embeddings", Some(2048))?,
    })
}

/// A window in every layer, if `sliding_window` is set.
pub(super) fn optional_window(reader: &ConfigReader<'_>) -> Result<Option<Window>> {
    let layers = reader.layers("num_hidden_layers", None)?;
    match reader.get("sliding_window") {
        Some(_) => Ok(Some(Window::everywhere(reader.window("sliding_window", None)?, layers))),
        None => Ok(None),
    }
}

/// Qwen's window, if it is switched on: in the layers that `layer_types` names, or else in the layers from number
/// `max_window_layers` on.
fn qwen_window(reader: &ConfigReader<'_>) -> Result<Option<Window>> {
    if !reader.flag("use_sliding_window", false)? {
        return Ok(None);
    }
    let count = reader.layers("num_hidden_layers", None)?;
    let size = reader.window("sliding_window", Some(4096))?;
    let layers = match reader.get("layer_types") {
        Some(_) => reader.layer_types(count)?,
        None => {
            let first = reader.size("max_window_layers", Some(28))?;
            (0..count).map(|layer| layer >= first).collect()
        }
    };
    Ok(Some(Window { size, layers, frequencies: None }))
}
