//! GPT-2 and DistilGPT-2.

use crate::{
    Result,
    architecture::{
        config_reader::ConfigReader,
        model_config::{
            Activation, Family, FeedForward, ModelConfig, Norm, NormOrder, Positions, reciprocal_root,
        },
    },
};

pub(crate) fn gpt2(reader: &ConfigReader<'_>) -> Result<ModelConfig> {
    let tanh = Activation::GeluTanh;
    let activation = reader.choice(
        "activation_function",
        "gelu_new",
        &[("gelu_new", tanh), ("gelu_pytorch_tanh", tanh)],
    )?;
    reader.off("scale_attn_by_inverse_layer_idx")?;
    reader.off("add_cross_attention")?;
    let hidden_size = reader.size("n_embd", None)?;
    let heads = reader.size("n_head", None)?;
    let head_dim = reader.divided(hidden_size, "n_head", heads, "n_embd")?;
    Ok(ModelConfig {
        family: Family::Gpt2,
        vocabulary: reader.size("vocab_size", None)?,
        hidden_size,
        layers: reader.layers("n_layer", None)?,
        heads,
        kv_heads: heads,
        head_dim,
        intermediate_size: reader.size("n_inner", Some(4 * hidden_size))?,
        max_positions: reader.size("n_positions", Some(1024))?,
        embedding_scale: 1.0,
        norm: Norm::Layer,
        norm_order: NormOrder::Before,
        norm_epsilon: reader.number("layer_norm_epsilon", Some(1e-5))?,
        positions: Positions::Learned,
        window: None,
        attention_scale: reciprocal_root(head_dim),
        feed_forward: FeedForward { activation, gated: false },
        qkv_bias: true,
        output_bias: true,
        feed_forward_bias: true,
        query_key_norm: false,
        tied: reader.flag("tie_word_embeddings", true)?,
        output_scale: 1.0,
        encoder: None,
    })
}
