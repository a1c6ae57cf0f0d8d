//! The text model of Gemma 3: windows in most layers, with rotary frequencies of their own; norms before and after each block.

use super::{
    Architecture,
    config_reader::ConfigReader,
    llama,
    model_config::{
        Activation, FeedForward, ModelConfig, Norm, NormOrder, Positions, QueryKeyNorm, Sizes, Window,
        reciprocal_root,
    },
    rope_frequencies::Frequencies,
    tensor_names::{StackNames, TensorNames},
};
use crate::Result;

pub(super) const GEMMA3_TEXT: Architecture = Architecture { model_type: "gemma3_text", read, gguf: None };

const NAMES: TensorNames = TensorNames {
    stack: StackNames {
        attention_post_norm: "post_attention_layernorm",
        feed_forward_norm: "pre_feedforward_layernorm",
        feed_forward_post_norm: "post_feedforward_layernorm",
        ..llama::NAMES.stack
    },
    ..llama::NAMES
};

fn read(reader: &ConfigReader<'_>) -> Result<ModelConfig> {
    let tanh = Activation::GeluTanh;
    let activation =
        reader.choice("hidden_activation", "gelu_pytorch_tanh", &[("gelu_pytorch_tanh", tanh)])?;
    reader.refuse_true("use_bidirectional_attention")?;
    for field in ["final_logit_softcapping", "attn_logit_softcapping"] {
        if let Some(value) = reader.get(field) {
            return Err(reader.refused(field, value, "null"));
        }
    }
    let hidden_size = reader.size("hidden_size", None)?;
    let head_dim = reader.size("head_dim", Some(256))?;
    if !head_dim.is_multiple_of(2) {
        return Err(reader.refused("head_dim", head_dim, "even"));
    }
    let sizes = Sizes {
        vocabulary: reader.size("vocab_size", None)?,
        hidden_size,
        layers: reader.layers("num_hidden_layers", None)?,
        heads: reader.size("num_attention_heads", None)?,
        kv_heads: reader.size("num_key_value_heads", Some(4))?,
        head_dim,
        intermediate_size: reader.size("intermediate_size", None)?,
        max_positions: reader.size("max_position_embeddings", Some(131_072))?,
    };
    let bias = reader.flag("attention_bias", false)?;
    let size = reader.window("sliding_window", Some(4096))?;
    let layers = match reader.get("layer_types") {
        Some(_) => reader.layer_types(sizes.layers)?,
        None => {
            let pattern = reader.size("sliding_window_pattern", Some(6))?.max(1);
            (1..=sizes.layers).map(|layer| !layer.is_multiple_of(pattern)).collect()
        }
    };
    let global = frequencies(reader, "full_attention", "rope_theta", 1e6, head_dim)?;
    let local = frequencies(reader, "sliding_attention", "rope_local_base_freq", 1e4, head_dim)?;
    Ok(ModelConfig {
        embedding_scale: (hidden_size as f64).sqrt(),
        norm: Norm::RmsFromOne,
        norm_order: NormOrder::Around,
        norm_epsilon: reader.number("rms_norm_eps", Some(1e-6))?,
        window: Some(Window { size, layers, frequencies: Some(local) }),
        attention_scale: reciprocal_root(reader.size("query_pre_attn_scalar", Some(256))?),
        feed_forward: FeedForward { activation, gated: true },
        qkv_bias: bias,
        output_bias: bias,
        query_key_norm: Some(QueryKeyNorm::PerHead),
        tied: reader.flag("tie_word_embeddings", true)?,
        hand_written_backward: true,
        ..ModelConfig::new(NAMES, sizes, Positions::Rotary(global))
    })
}

/// The frequencies of a kind of layer: from `rope_parameters` (transformers 5), or from `theta` and, for layers without
/// a window, `rope_scaling` (older versions).
fn frequencies(
    reader: &ConfigReader<'_>,
    kind: &str,
    theta: &str,
    default: f64,
    head_dim: usize,
) -> Result<Frequencies> {
    let theta = reader.number(theta, Some(default))?;
    let scaling = match reader.section("rope_parameters")? {
        Some(parameters) => parameters.section(kind)?,
        None if kind == "full_attention" => reader.section("rope_scaling")?,
        None => None,
    };
    Frequencies::scaled(reader, scaling.as_ref(), theta, head_dim)
}
