//! GPT-2 and DistilGPT-2 (Radford et al. 2019): learned positions, LayerNorm with biases, matrices stored as `[in, out]`.

use super::{
    Architecture, Gguf, GgufMetadata, activations,
    config_reader::ConfigReader,
    fields::Fields,
    model_config::{FeedForward, ModelConfig, Norm, Positions, Sizes, reciprocal_root},
    tensor_names::{StackNames, TensorNames},
};
use crate::Result;

pub(super) const GPT2: Architecture = Architecture {
    model_type: "gpt2",
    fields: Fields {
        honoured: &[
            "vocab_size",
            "n_positions",
            "max_position_embeddings",
            "n_embd",
            "hidden_size",
            "n_layer",
            "num_hidden_layers",
            "n_head",
            "num_attention_heads",
            "n_inner",
            "activation_function",
            "layer_norm_epsilon",
            "scale_attn_weights",
            "tie_word_embeddings",
        ],
        idle: &[
            // Attention is computed in f32 anyhow.
            "reorder_and_upcast_attn",
            "resid_pdrop",
            "embd_pdrop",
            "attn_pdrop",
            "hidden_dropout",
            "summary_type",
            "summary_use_proj",
            "summary_activation",
            "summary_proj_to_labels",
            "summary_first_dropout",
            "summary_last_dropout",
        ],
        fixed: &[("scale_attn_by_inverse_layer_idx", &["false"]), ("add_cross_attention", &["false"])],
    },
    read,
    gguf: Some(Gguf { name: "gpt2", metadata: GgufMetadata::Gpt2, tensors: GGUF, reorders_heads: false }),
};

const NAMES: TensorNames = TensorNames {
    embedding: "transformer.wte",
    positions: "transformer.wpe",
    head: "lm_head",
    stack: StackNames {
        layers: "transformer.h",
        attention_norm: "ln_1",
        qkv: &["attn.c_attn"],
        output: "attn.c_proj",
        feed_forward_norm: "ln_2",
        up: &["mlp.c_fc"],
        down: "mlp.c_proj",
        norm: "transformer.ln_f",
        transposed: true,
        ..StackNames::NONE
    },
    encoder: None,
};

const GGUF: TensorNames = TensorNames {
    embedding: "token_embd",
    positions: "position_embd",
    head: "output",
    stack: StackNames {
        layers: "blk",
        attention_norm: "attn_norm",
        qkv: &["attn_qkv"],
        output: "attn_output",
        feed_forward_norm: "ffn_norm",
        up: &["ffn_up"],
        down: "ffn_down",
        norm: "output_norm",
        ..StackNames::NONE
    },
    encoder: None,
};

fn read(reader: &ConfigReader<'_>) -> Result<ModelConfig> {
    let activation = reader.choice("activation_function", "gelu_new", activations::ALL)?;
    let hidden_size = reader.size(reader.either("n_embd", "hidden_size"), Some(768))?;
    let heads_field = reader.either("n_head", "num_attention_heads");
    let heads = reader.size(heads_field, Some(12))?;
    let head_dim = reader.divided(hidden_size, heads_field, heads, "n_embd")?;
    let sizes = Sizes {
        vocabulary: reader.size("vocab_size", Some(50_257))?,
        hidden_size,
        layers: reader.layers(reader.either("n_layer", "num_hidden_layers"), Some(12))?,
        heads,
        kv_heads: heads,
        head_dim,
        intermediate_size: reader.size_or_null("n_inner", None)?.unwrap_or(4 * hidden_size),
        max_positions: reader.size(reader.either("n_positions", "max_position_embeddings"), Some(1024))?,
    };
    let scaled = reader.flag("scale_attn_weights", true)?;
    Ok(ModelConfig {
        norm: Norm::Layer,
        norm_epsilon: reader.number("layer_norm_epsilon", Some(1e-5))?,
        attention_scale: if scaled { reciprocal_root(head_dim) } else { 1.0 },
        feed_forward: FeedForward { activation, gated: false },
        qkv_bias: true,
        output_bias: true,
        feed_forward_bias: true,
        tied: reader.flag("tie_word_embeddings", true)?,
        hand_written_backward: true,
        ..ModelConfig::new(NAMES, sizes, Positions::Learned)
    })
}
