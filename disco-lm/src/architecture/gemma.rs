//! The text model of Gemma 3: windows in most layers, with rotary frequencies of their own; norms before and after each block.

use super::{
    Architecture, activations,
    config_reader::ConfigReader,
    fields::{Fields, LLAMA_LIKE},
    llama,
    model_config::{
        FeedForward, ModelConfig, Norm, NormOrder, Positions, QueryKeyNorm, Sizes, Window, reciprocal_root,
    },
    rope_frequencies::{Frequencies, RotarySizes},
    tensor_names::{StackNames, TensorNames},
};
use crate::Result;

pub(super) const GEMMA3_TEXT: Architecture = Architecture {
    model_type: "gemma3_text",
    fields: Fields {
        honoured: &FIELDS,
        idle: &[],
        fixed: &[
            ("use_bidirectional_attention", &["false", "null"]),
            ("final_logit_softcapping", &["null"]),
            ("attn_logit_softcapping", &["null"]),
        ],
    },
    read,
    gguf: None,
};

/// The fields beside those of Llama.
const OWN: [&str; 4] =
    ["hidden_activation", "query_pre_attn_scalar", "rope_local_base_freq", "sliding_window_pattern"];

const FIELDS: [&str; LLAMA_LIKE.len() + OWN.len()] = {
    let mut fields = [""; LLAMA_LIKE.len() + OWN.len()];
    let mut index = 0;
    while index < fields.len() {
        fields[index] = if index < OWN.len() { OWN[index] } else { LLAMA_LIKE[index - OWN.len()] };
        index += 1;
    }
    fields
};

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
    let activation = reader.choice("hidden_activation", "gelu_pytorch_tanh", activations::ALL)?;
    let hidden_size = reader.size("hidden_size", Some(2304))?;
    let heads = reader.size("num_attention_heads", Some(8))?;
    reader.divided(hidden_size, "num_attention_heads", heads, "hidden_size")?;
    let head_dim = reader.size("head_dim", Some(256))?;
    if !head_dim.is_multiple_of(2) {
        return Err(reader.refused("head_dim", head_dim, "even"));
    }
    let sizes = Sizes {
        vocabulary: reader.size("vocab_size", Some(262_208))?,
        hidden_size,
        layers: reader.layers("num_hidden_layers", Some(26))?,
        heads,
        kv_heads: reader.size("num_key_value_heads", Some(4))?,
        head_dim,
        intermediate_size: reader.size("intermediate_size", Some(9216))?,
        max_positions: reader.size("max_position_embeddings", Some(131_072))?,
    };
    let bias = reader.flag("attention_bias", false)?;
    let size = reader.window("sliding_window", Some(4096))?;
    let size = size.ok_or_else(|| reader.refused("sliding_window", "null", "at least 1"))?;
    let layers = match reader.get("layer_types") {
        Some(_) => reader.layer_types(sizes.layers)?,
        None => {
            let pattern = reader.size("sliding_window_pattern", Some(6))?;
            if pattern == 0 {
                return Err(reader.refused("sliding_window_pattern", pattern, "at least 1"));
            }
            (1..=sizes.layers).map(|layer| !layer.is_multiple_of(pattern)).collect()
        }
    };
    let scalar = reader.size("query_pre_attn_scalar", Some(256))?;
    if scalar == 0 {
        return Err(reader.refused("query_pre_attn_scalar", scalar, "at least 1"));
    }
    let rotary = RotarySizes { head_dim, max_positions: sizes.max_positions };
    let global = frequencies(reader, "full_attention", "rope_theta", 1e6, rotary)?;
    let local = frequencies(reader, "sliding_attention", "rope_local_base_freq", 1e4, rotary)?;
    Ok(ModelConfig {
        embedding_scale: (hidden_size as f64).sqrt(),
        norm: Norm::RmsFromOne,
        norm_order: NormOrder::Around,
        norm_epsilon: reader.number("rms_norm_eps", Some(1e-6))?,
        window: Some(Window { size, layers, frequencies: Some(local) }),
        attention_scale: reciprocal_root(scalar),
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
    sizes: RotarySizes,
) -> Result<Frequencies> {
    const KINDS: &str = "full_attention and sliding_attention, each an object or null";
    let theta = reader.number(theta, Some(default))?;
    let parameters = reader.section("rope_parameters")?;
    if let Some(parameters) = &parameters
        && let Some(fields) = parameters.config.as_object()
        && let Some(field) =
            fields.keys().find(|field| !["full_attention", "sliding_attention"].contains(&field.as_str()))
    {
        return Err(reader.refused("rope_parameters", format!("an object with `{field}`"), KINDS));
    }
    let older = reader.section("rope_scaling")?.filter(|_| kind == "full_attention");
    let section = match (parameters, older) {
        // transformers adds one to the other.
        (Some(_), Some(older)) => {
            return Err(reader.refused("rope_scaling", older.config, "null beside rope_parameters"));
        }
        (Some(parameters), None) => parameters.section(kind)?,
        (None, older) => older,
    };
    if let Some(section) = &section {
        // transformers does not read either of them here.
        if section.get("rope_type").is_none() {
            section.only("type", "default", &["default"])?;
        }
        if !section.flag("truncate", true)? {
            return Err(section.refused("truncate", false, "true"));
        }
    }
    Frequencies::scaled(reader, section.as_ref(), theta, None, sizes)
}
