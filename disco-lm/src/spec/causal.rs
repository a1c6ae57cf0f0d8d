//! Decoder-only architectures: GPT-2, and Llama with its relatives.

use super::{
    Activation, Family, FeedForward, Fields, Norm, NormOrder, Positions, Spec, Window, reciprocal_root,
};
use crate::{Result, rope::Frequencies};

pub(super) fn gpt2(fields: &Fields<'_>) -> Result<Spec> {
    let tanh = Activation::GeluTanh;
    let activation = fields.choice(
        "activation_function",
        "gelu_new",
        &[("gelu_new", tanh), ("gelu_pytorch_tanh", tanh)],
    )?;
    fields.off("scale_attn_by_inverse_layer_idx")?;
    fields.off("add_cross_attention")?;
    let width = fields.size("n_embd", None)?;
    let heads = fields.size("n_head", None)?;
    let head_width = fields.divided(width, "n_head", heads, "n_embd")?;
    Ok(Spec {
        family: Family::Gpt2,
        vocabulary: fields.size("vocab_size", None)?,
        width,
        layers: fields.layers("n_layer", None)?,
        heads,
        kv_heads: heads,
        head_width,
        feed_forward_width: fields.size("n_inner", Some(4 * width))?,
        max_positions: fields.size("n_positions", Some(1024))?,
        embedding_scale: 1.0,
        norm: Norm::Layer,
        norm_order: NormOrder::Before,
        norm_epsilon: fields.number("layer_norm_epsilon", Some(1e-5))?,
        positions: Positions::Learned,
        window: None,
        attention_scale: reciprocal_root(head_width),
        feed_forward: FeedForward { activation, gated: false },
        qkv_bias: true,
        output_bias: true,
        feed_forward_bias: true,
        query_key_norm: false,
        tied: fields.flag("tie_word_embeddings", true)?,
        output_scale: 1.0,
        encoder: None,
    })
}

pub(super) fn llama(fields: &Fields<'_>, kind: &str) -> Result<Spec> {
    let activation = fields.choice("hidden_act", "silu", &[("silu", Activation::Silu)])?;
    let width = fields.size("hidden_size", None)?;
    let layers = fields.layers("num_hidden_layers", None)?;
    let heads = fields.size("num_attention_heads", None)?;
    let default_head = width.checked_div(heads).unwrap_or(0);
    let head_width = fields.size("head_dim", Some(default_head))?;
    if !head_width.is_multiple_of(2) {
        return Err(fields.refused("head_dim", head_width, "even"));
    }
    let bias = fields.flag("attention_bias", false)?;
    Ok(Spec {
        family: Family::Llama,
        vocabulary: fields.size("vocab_size", None)?,
        width,
        layers,
        heads,
        kv_heads: fields.size("num_key_value_heads", Some(heads))?,
        head_width,
        feed_forward_width: fields.size("intermediate_size", None)?,
        max_positions: fields.size("max_position_embeddings", Some(2048))?,
        embedding_scale: 1.0,
        norm: Norm::Rms,
        norm_order: NormOrder::Before,
        norm_epsilon: fields.number("rms_norm_eps", Some(1e-6))?,
        positions: Positions::Rotary(Frequencies::from_config(fields, head_width)?),
        window: window(fields, kind, layers)?,
        attention_scale: reciprocal_root(head_width),
        feed_forward: FeedForward { activation, gated: true },
        qkv_bias: bias || kind == "qwen2",
        output_bias: bias,
        feed_forward_bias: fields.flag("mlp_bias", false)?,
        query_key_norm: kind == "qwen3",
        tied: fields.flag("tie_word_embeddings", false)?,
        output_scale: 1.0,
        encoder: None,
    })
}

/// The sliding window, and the layers that have it: all of Mistral's; of Qwen's, if it is switched on, those
/// from `max_window_layers` on, unless `layer_types` names each.
fn window(fields: &Fields<'_>, kind: &str, layers: usize) -> Result<Option<Window>> {
    let size = match kind {
        "mistral" if fields.get("sliding_window").is_some() => fields.size("sliding_window", None)?,
        "qwen2" | "qwen3" if fields.flag("use_sliding_window", false)? => {
            fields.size("sliding_window", Some(4096))?
        }
        _ => return Ok(None),
    };
    if size == 0 {
        return Err(fields.refused("sliding_window", size, "null, or at least 1"));
    }
    let layers = match fields.get("layer_types") {
        Some(_) if kind != "mistral" => layer_types(fields, layers)?,
        _ => {
            let first = if kind == "mistral" { 0 } else { fields.size("max_window_layers", Some(28))? };
            (0..layers).map(|layer| layer >= first).collect()
        }
    };
    Ok(Some(Window { size, layers, frequencies: None }))
}

/// Whether each layer slides, as `layer_types` says.
pub(super) fn layer_types(fields: &Fields<'_>, layers: usize) -> Result<Vec<bool>> {
    const ALLOWED: &str = "sliding_attention or full_attention, once a layer";
    let refused = |value: &dyn ToString| fields.refused("layer_types", value.to_string(), ALLOWED);
    let value = fields.get("layer_types").ok_or_else(|| refused(&"missing"))?;
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
