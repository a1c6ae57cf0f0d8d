//! Gemma 3, its text model: windows in most layers, with rotary frequencies of their own.

use super::{
    Activation, Family, FeedForward, Fields, Norm, NormOrder, Positions, Spec, Window, causal::layer_types,
    reciprocal_root,
};
use crate::{Result, rope::Frequencies};

pub(super) fn gemma3(fields: &Fields<'_>) -> Result<Spec> {
    let tanh = Activation::GeluTanh;
    let activation =
        fields.choice("hidden_activation", "gelu_pytorch_tanh", &[("gelu_pytorch_tanh", tanh)])?;
    fields.off("use_bidirectional_attention")?;
    for field in ["final_logit_softcapping", "attn_logit_softcapping"] {
        if let Some(value) = fields.get(field) {
            return Err(fields.refused(field, value, "null"));
        }
    }
    let width = fields.size("hidden_size", None)?;
    let layers = fields.layers("num_hidden_layers", None)?;
    let heads = fields.size("num_attention_heads", None)?;
    let head_width = fields.size("head_dim", Some(256))?;
    if !head_width.is_multiple_of(2) {
        return Err(fields.refused("head_dim", head_width, "even"));
    }
    let bias = fields.flag("attention_bias", false)?;
    let size = fields.size("sliding_window", Some(4096))?;
    if size == 0 {
        return Err(fields.refused("sliding_window", size, "at least 1"));
    }
    let windowed = match fields.get("layer_types") {
        Some(_) => layer_types(fields, layers)?,
        None => {
            let pattern = fields.size("sliding_window_pattern", Some(6))?.max(1);
            (1..=layers).map(|layer| !layer.is_multiple_of(pattern)).collect()
        }
    };
    Ok(Spec {
        family: Family::Gemma,
        vocabulary: fields.size("vocab_size", None)?,
        width,
        layers,
        heads,
        kv_heads: fields.size("num_key_value_heads", Some(4))?,
        head_width,
        feed_forward_width: fields.size("intermediate_size", None)?,
        max_positions: fields.size("max_position_embeddings", Some(131_072))?,
        embedding_scale: (width as f64).sqrt(),
        norm: Norm::RmsFromOne,
        norm_order: NormOrder::Around,
        norm_epsilon: fields.number("rms_norm_eps", Some(1e-6))?,
        positions: Positions::Rotary(frequencies(fields, "full_attention", "rope_theta", 1e6, head_width)?),
        window: Some(Window {
            size,
            layers: windowed,
            frequencies: Some(frequencies(
                fields,
                "sliding_attention",
                "rope_local_base_freq",
                1e4,
                head_width,
            )?),
        }),
        attention_scale: reciprocal_root(fields.size("query_pre_attn_scalar", Some(256))?),
        feed_forward: FeedForward { activation, gated: true },
        qkv_bias: bias,
        output_bias: bias,
        feed_forward_bias: false,
        query_key_norm: true,
        tied: fields.flag("tie_word_embeddings", true)?,
        output_scale: 1.0,
        encoder: None,
    })
}

/// The frequencies of a kind of layer: of `rope_parameters` (transformers 5), or of `theta` and, for layers without
/// a window, `rope_scaling` (before).
fn frequencies(
    fields: &Fields<'_>,
    kind: &str,
    theta: &str,
    default: f64,
    head_width: usize,
) -> Result<Frequencies> {
    let theta = fields.number(theta, Some(default))?;
    let scaling = match fields.section("rope_parameters")? {
        Some(parameters) => parameters.section(kind)?,
        None if kind == "full_attention" => fields.section("rope_scaling")?,
        None => None,
    };
    Frequencies::scaled(fields, scaling.as_ref(), theta, head_width)
}
