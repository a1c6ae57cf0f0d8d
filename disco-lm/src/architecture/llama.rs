//! Transformer-only architectures: GPT-2, and Llama with its relatives.

use crate::{
    Result,
    architecture::{
        config_reader::ConfigReader,
        model_config::{
            Activation, Family, FeedForward, ModelConfig, Norm, NormOrder, Positions, Window, reciprocal_root,
        },
        rope_frequencies::Frequencies,
    },
};

pub(crate) fn llama(reader: &ConfigReader<'_>, kind: &str) -> Result<ModelConfig> {
    let activation = reader.choice("hidden_act", "silu", &[("silu", Activation::Silu)])?;
    let hidden_size = reader.size("hidden_size", None)?;
    let layers = reader.layers("num_hidden_layers", None)?;
    let heads = reader.size("num_attention_heads", None)?;
    let default_head = hidden_size.checked_div(heads).unwrap_or(0);
    let head_dim = reader.size("head_dim", Some(default_head))?;
    if !head_dim.is_multiple_of(2) {
        return Err(reader.refused("head_dim", head_dim, "even"));
    }
    let bias = reader.flag("attention_bias", false)?;
    Ok(ModelConfig {
        family: Family::Llama,
        vocabulary: reader.size("vocab_size", None)?,
        hidden_size,
        layers,
        heads,
        kv_heads: reader.size("num_key_value_heads", Some(heads))?,
        head_dim,
        intermediate_size: reader.size("intermediate_size", None)?,
        max_positions: reader.size("max_position_embeddings", Some(2048))?,
        embedding_scale: 1.0,
        norm: Norm::Rms,
        norm_order: NormOrder::Before,
        norm_epsilon: reader.number("rms_norm_eps", Some(1e-6))?,
        positions: Positions::Rotary(Frequencies::from_config(reader, head_dim)?),
        window: window(reader, kind, layers)?,
        attention_scale: reciprocal_root(head_dim),
        feed_forward: FeedForward { activation, gated: true },
        qkv_bias: bias || kind == "qwen2",
        output_bias: bias,
        feed_forward_bias: reader.flag("mlp_bias", false)?,
        query_key_norm: kind == "qwen3",
        tied: reader.flag("tie_word_embeddings", false)?,
        output_scale: 1.0,
        encoder: None,
    })
}

/// The sliding window, and the layers that have it: all of Mistral's; of Qwen's, if it is switched on, those
/// from `max_window_layers` on, unless `layer_types` names each.
fn window(reader: &ConfigReader<'_>, kind: &str, layers: usize) -> Result<Option<Window>> {
    let size = match kind {
        "mistral" if reader.get("sliding_window").is_some() => reader.size("sliding_window", None)?,
        "qwen2" | "qwen3" if reader.flag("use_sliding_window", false)? => {
            reader.size("sliding_window", Some(4096))?
        }
        _ => return Ok(None),
    };
    if size == 0 {
        return Err(reader.refused("sliding_window", size, "null, or at least 1"));
    }
    let layers = match reader.get("layer_types") {
        Some(_) if kind != "mistral" => layer_types(reader, layers)?,
        _ => {
            let first = if kind == "mistral" { 0 } else { reader.size("max_window_layers", Some(28))? };
            (0..layers).map(|layer| layer >= first).collect()
        }
    };
    Ok(Some(Window { size, layers, frequencies: None }))
}

/// Whether each layer slides, as `layer_types` says.
pub(crate) fn layer_types(reader: &ConfigReader<'_>, layers: usize) -> Result<Vec<bool>> {
    const ALLOWED: &str = "sliding_attention or full_attention, once a layer";
    let refused = |value: &dyn ToString| reader.refused("layer_types", value.to_string(), ALLOWED);
    let value = reader.get("layer_types").ok_or_else(|| refused(&"missing"))?;
    let types: Option<Vec<bool>> = value.as_array().and_then(|types| {
        let slides = |kind: &serde_json::Value| match kind.as_str() {
            Some("sliding_attention") => Some(true),
            Some("full_attention") => Some(false),
            _ => None,
        };
        types.iter().map(slides).collect()
    });
    types.filter(|types| types.len() == layers).ok_or_else(|| refused(value))
}
