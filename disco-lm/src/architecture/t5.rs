//! T5 and Flan-T5 (Raffel et al. 2020): an encoder reads the context, a decoder generates the sequence.

use super::{
    Architecture,
    config_reader::ConfigReader,
    model_config::{
        Activation, Encoder, FeedForward, ModelConfig, Positions, Sizes, UNLIMITED, reciprocal_root,
    },
    relative_buckets::Buckets,
    tensor_names::{StackNames, TensorNames},
};
use crate::Result;

pub(super) const T5: Architecture = Architecture { model_type: "t5", read, gguf: None };

const NAMES: TensorNames = TensorNames {
    embedding: "shared",
    positions: "",
    head: "lm_head",
    stack: DECODER,
    encoder: Some(ENCODER),
};

const DECODER: StackNames = StackNames {
    layers: "decoder.block",
    attention_norm: "layer.0.layer_norm",
    qkv: &["layer.0.SelfAttention.q", "layer.0.SelfAttention.k", "layer.0.SelfAttention.v"],
    output: "layer.0.SelfAttention.o",
    cross_norm: "layer.1.layer_norm",
    cross_query: "layer.1.EncDecAttention.q",
    cross_keys_values: &["layer.1.EncDecAttention.k", "layer.1.EncDecAttention.v"],
    cross_output: "layer.1.EncDecAttention.o",
    feed_forward_norm: "layer.2.layer_norm",
    up: &["layer.2.DenseReluDense.wi"],
    down: "layer.2.DenseReluDense.wo",
    relative: "decoder.block.0.layer.0.SelfAttention.relative_attention_bias",
    norm: "decoder.final_layer_norm",
    ..StackNames::NONE
};

const ENCODER: StackNames = StackNames {
    layers: "encoder.block",
    feed_forward_norm: "layer.1.layer_norm",
    up: &["layer.1.DenseReluDense.wi"],
    down: "layer.1.DenseReluDense.wo",
    relative: "encoder.block.0.layer.0.SelfAttention.relative_attention_bias",
    norm: "encoder.final_layer_norm",
    ..DECODER
};

/// The names of models whose feed-forward blocks are gated: Flan-T5, and T5 of version 1.1.
const GATED: TensorNames = TensorNames {
    stack: StackNames { up: &["layer.2.DenseReluDense.wi_0", "layer.2.DenseReluDense.wi_1"], ..DECODER },
    encoder: Some(StackNames {
        up: &["layer.1.DenseReluDense.wi_0", "layer.1.DenseReluDense.wi_1"],
        ..ENCODER
    }),
    ..NAMES
};

fn read(reader: &ConfigReader<'_>) -> Result<ModelConfig> {
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
    // In older files `tie_word_embeddings` also decides whether the outputs are scaled. In newer files it is always true, and
    // `scale_decoder_outputs` decides.
    let scaled = reader.flag("scale_decoder_outputs", tied)?;
    let start = reader.size("decoder_start_token_id", Some(0))?;
    let vocabulary = reader.size("vocab_size", None)?;
    if start >= vocabulary {
        return Err(reader.refused("decoder_start_token_id", start, "below vocab_size"));
    }
    let names = if feed_forward.gated { GATED } else { NAMES };
    let sizes = Sizes {
        vocabulary,
        hidden_size,
        layers: reader.layers("num_decoder_layers", Some(encoder_layers))?,
        heads,
        kv_heads: heads,
        head_dim: reader.size("d_kv", None)?,
        intermediate_size: reader.size("d_ff", None)?,
        // Only distances between tokens matter, and distances beyond the largest share a bucket.
        max_positions: UNLIMITED,
    };
    Ok(ModelConfig {
        norm_epsilon: reader.number("layer_norm_epsilon", Some(1e-6))?,
        attention_scale: 1.0,
        feed_forward,
        tied: true,
        output_scale: if scaled { reciprocal_root(hidden_size) } else { 1.0 },
        encoder: Some(Encoder { layers: encoder_layers, start: start as u32 }),
        ..ModelConfig::new(names, sizes, Positions::Relative(Buckets::from_config(reader)?))
    })
}
