//! BERT, RoBERTa and DistilBERT: encoders.

use crate::{
    Result,
    architecture::{
        config_reader::ConfigReader,
        model_config::{
            Activation, Family, FeedForward, ModelConfig, Norm, NormOrder, Positions, reciprocal_root,
        },
    },
};

/// The activations of a feed-forward block, as configurations name them.
const ACTIVATIONS: [(&str, Activation); 4] = [
    ("gelu", Activation::Gelu),
    ("gelu_new", Activation::GeluTanh),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("relu", Activation::Relu),
];

pub(crate) fn bert(reader: &ConfigReader<'_>, family: Family) -> Result<ModelConfig> {
    reader.choice("position_embedding_type", "absolute", &[("absolute", ())])?;
    reader.off("is_decoder")?;
    reader.off("add_cross_attention")?;
    let hidden_size = reader.size("hidden_size", Some(768))?;
    let heads = reader.size("num_attention_heads", Some(12))?;
    let head_dim = reader.divided(hidden_size, "num_attention_heads", heads, "hidden_size")?;
    Ok(ModelConfig {
        family,
        vocabulary: reader.size("vocab_size", None)?,
        layers: reader.layers("num_hidden_layers", Some(12))?,
        intermediate_size: reader.size("intermediate_size", Some(3072))?,
        max_positions: reader.size("max_position_embeddings", Some(512))?,
        norm_epsilon: reader.number("layer_norm_eps", Some(1e-12))?,
        ..encoder(hidden_size, heads, head_dim, reader.choice("hidden_act", "gelu", &ACTIVATIONS)?)
    })
}

pub(crate) fn distilbert(reader: &ConfigReader<'_>) -> Result<ModelConfig> {
    let hidden_size = reader.size("dim", Some(768))?;
    let heads = reader.size("n_heads", Some(12))?;
    let head_dim = reader.divided(hidden_size, "n_heads", heads, "dim")?;
    Ok(ModelConfig {
        vocabulary: reader.size("vocab_size", None)?,
        layers: reader.layers("n_layers", Some(6))?,
        intermediate_size: reader.size("hidden_dim", Some(3072))?,
        max_positions: reader.size("max_position_embeddings", Some(512))?,
        ..encoder(hidden_size, heads, head_dim, reader.choice("activation", "gelu", &ACTIVATIONS)?)
    })
}

/// What all of them share; sizes that are not given here are zero.
pub(crate) fn encoder(
    hidden_size: usize,
    heads: usize,
    head_dim: usize,
    activation: Activation,
) -> ModelConfig {
    ModelConfig {
        family: Family::DistilBert,
        vocabulary: 0,
        hidden_size,
        layers: 0,
        heads,
        kv_heads: heads,
        head_dim,
        intermediate_size: 0,
        max_positions: 0,
        embedding_scale: 1.0,
        norm: Norm::Layer,
        norm_order: NormOrder::After,
        norm_epsilon: 1e-12,
        positions: Positions::Learned,
        window: None,
        attention_scale: reciprocal_root(head_dim),
        feed_forward: FeedForward { activation, gated: false },
        qkv_bias: true,
        output_bias: true,
        feed_forward_bias: true,
        query_key_norm: false,
        tied: true,
        output_scale: 1.0,
        encoder: None,
    }
}
