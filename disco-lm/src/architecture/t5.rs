//! T5 and Flan-T5: an encoder reads the context, a decoder writes (Raffel et al. 2020).

use crate::{
    Result,
    architecture::{
        config_reader::ConfigReader,
        model_config::{
            Activation, Encoder, Family, FeedForward, ModelConfig, Norm, NormOrder, Positions, UNLIMITED,
            reciprocal_root,
        },
        relative_buckets::Buckets,
    },
};

pub(crate) fn t5(reader: &ConfigReader<'_>) -> Result<ModelConfig> {
    let tanh = Activation::GeluTanh;
    let feed_forward = reader.choice(
        "feed_forward_proj",
        "relu",
        &[
            ("relu", FeedForward { activation: Activation::Relu, gated: false }),
            ("gated-gelu", FeedForward { activation: tanh, gated: true }),
            ("gated-silu", FeedForward { activation: Activation::Silu, gated: true }),
        ],
    )?;
    let hidden_size = reader.size("d_model", None)?;
    let heads = reader.size("num_heads", None)?;
    let encoder_layers = reader.layers("num_layers", None)?;
    let tied = reader.flag("tie_word_embeddings", true)?;
    // Newer files always say that the embeddings are tied, and keep the older meaning of it here.
    let scaled = reader.flag("scale_decoder_outputs", tied)?;
    let start = reader.size("decoder_start_token_id", Some(0))?;
    let vocabulary = reader.size("vocab_size", None)?;
    if start >= vocabulary {
        return Err(reader.refused("decoder_start_token_id", start, "below vocab_size"));
    }
    Ok(ModelConfig {
        family: Family::T5,
        vocabulary,
        hidden_size,
        layers: reader.layers("num_decoder_layers", Some(encoder_layers))?,
        heads,
        kv_heads: heads,
        head_dim: reader.size("d_kv", None)?,
        intermediate_size: reader.size("d_ff", None)?,
        // Only distances count, and those beyond the largest share a bucket.
        max_positions: UNLIMITED,
        embedding_scale: 1.0,
        norm: Norm::Rms,
        norm_order: NormOrder::Before,
        norm_epsilon: reader.number("layer_norm_epsilon", Some(1e-6))?,
        positions: Positions::Relative(Buckets::from_config(reader)?),
        window: None,
        attention_scale: 1.0,
        feed_forward,
        qkv_bias: false,
        output_bias: false,
        feed_forward_bias: false,
        query_key_norm: false,
        tied: true,
        output_scale: if scaled { reciprocal_root(hidden_size) } else { 1.0 },
        encoder: Some(Encoder { layers: encoder_layers, start: start as u32 }),
    })
}
