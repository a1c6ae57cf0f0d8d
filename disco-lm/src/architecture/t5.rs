//! T5 and Flan-T5 (Raffel et al. 2020): an encoder reads the context, a decoder generates the sequence.

use super::{
    Architecture, activations,
    config_reader::ConfigReader,
    fields::Fields,
    model_config::{
        Activation, Encoder, FeedForward, ModelConfig, Positions, Sizes, UNLIMITED, reciprocal_root,
    },
    relative_buckets::Buckets,
    tensor_names::{StackNames, TensorNames},
};
use crate::Result;

pub(super) const T5: Architecture = Architecture {
    model_type: "t5",
    fields: Fields {
        honoured: &[
            "vocab_size",
            "d_model",
            "hidden_size",
            "d_kv",
            "head_dim",
            "d_ff",
            "num_layers",
            "num_hidden_layers",
            "num_decoder_layers",
            "num_heads",
            "num_attention_heads",
            "relative_attention_num_buckets",
            "relative_attention_max_distance",
            "layer_norm_epsilon",
            "feed_forward_proj",
            "dense_act_fn",
            "is_gated_act",
            "tie_word_embeddings",
            "scale_decoder_outputs",
            "decoder_start_token_id",
        ],
        // Both stacks have their own `is_decoder`.
        idle: &["dropout_rate", "initializer_factor", "is_decoder"],
        fixed: &[("is_encoder_decoder", &["true"])],
    },
    read,
    gguf: None,
};

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
    let feed_forward = feed_forward(reader)?;
    let hidden_size = reader.size(reader.either("d_model", "hidden_size"), Some(512))?;
    let heads = reader.size(reader.either("num_heads", "num_attention_heads"), Some(8))?;
    let encoder_layers = reader.layers(reader.either("num_layers", "num_hidden_layers"), Some(6))?;
    // The default is the field under its own name, even where its alias is the number of the encoder's layers.
    let decoder_layers = match reader.size_or_null("num_decoder_layers", None)? {
        Some(_) => reader.layers("num_decoder_layers", None)?,
        None => reader.layers("num_layers", Some(6))?,
    };
    let tied = reader.get("tie_word_embeddings").is_none() || reader.flag("tie_word_embeddings", true)?;
    // In older files `tie_word_embeddings` also decides whether the outputs are scaled. In newer files it is always true, and
    // `scale_decoder_outputs` decides.
    let scaled = reader.flag("scale_decoder_outputs", tied)?;
    let start = reader.size("decoder_start_token_id", None)?;
    let vocabulary = reader.size("vocab_size", Some(32_128))?;
    if start >= vocabulary {
        return Err(reader.refused("decoder_start_token_id", start, "below vocab_size"));
    }
    let names = if feed_forward.gated { GATED } else { NAMES };
    let sizes = Sizes {
        vocabulary,
        hidden_size,
        layers: decoder_layers,
        heads,
        kv_heads: heads,
        head_dim: reader.size(reader.either("d_kv", "head_dim"), Some(64))?,
        intermediate_size: reader.size("d_ff", Some(2048))?,
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

/// `feed_forward_proj`; `dense_act_fn` and `is_gated_act`, which newer files have too, take precedence.
fn feed_forward(reader: &ConfigReader<'_>) -> Result<FeedForward> {
    let plain = |activation| FeedForward { activation, gated: false };
    let gated = |activation| FeedForward { activation, gated: true };
    let named = reader.choice(
        "feed_forward_proj",
        "relu",
        &[
            ("relu", plain(Activation::Relu)),
            ("gelu", plain(Activation::Gelu)),
            ("gelu_new", plain(Activation::GeluTanh)),
            ("silu", plain(Activation::Silu)),
            // Without `gated`, `gelu` is the exact one.
            ("gated-gelu", gated(Activation::GeluTanh)),
            ("gated-gelu_new", gated(Activation::GeluTanh)),
            ("gated-relu", gated(Activation::Relu)),
            ("gated-silu", gated(Activation::Silu)),
        ],
    )?;
    let activation = match reader.config.get("dense_act_fn") {
        Some(_) => reader.choice("dense_act_fn", "relu", activations::ALL)?,
        None => named.activation,
    };
    Ok(FeedForward { activation, gated: reader.flag("is_gated_act", named.gated)? })
}
