//! GPT-2 and DistilGPT-2 (Radford et al. 2019): learned positions, LayerNorm with biases, matrices stored as `[in, out]`.

use super::{
    Architecture, Gguf, GgufMetadata,
    config_reader::ConfigReader,
    model_config::{Activation, FeedForward, ModelConfig, Norm, Positions, Sizes},
    tensor_names::{StackNames, TensorNames},
};
use crate::Result;

pub(super) const GPT2: Architecture = Architecture {
    model_type: "gpt2",
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
    let tanh = Activation::GeluTanh;
    let activation = reader.choice(
        "activation_function",
        "gelu_new",
        &[("gelu_new", tanh), ("gelu_pytorch_tanh", tanh)],
    )?;
    reader.refuse_true("scale_attn_by_inverse_layer_idx")?;
    reader.refuse_true("add_cross_attention")?;
    let hidden_size = reader.size("n_embd", None)?;
    let heads = reader.size("n_head", None)?;
    let sizes = Sizes {
        vocabulary: reader.size("vocab_size", None)?,
        hidden_size,
        layers: reader.layers("n_layer", None)?,
        heads,
        kv_heads: heads,
        head_dim: reader.divided(hidden_size, "n_head", heads, "n_embd")?,
        intermediate_size: reader.size("n_inner", Some(4 * hidden_size))?,
        max_positions: reader.size("n_positions", Some(1024))?,
    };
    Ok(ModelConfig {
        norm: Norm::Layer,
        norm_epsilon: reader.number("layer_norm_epsilon", Some(1e-5))?,
        feed_forward: FeedForward { activation, gated: false },
        qkv_bias: true,
        output_bias: true,
        feed_forward_bias: true,
        tied: reader.flag("tie_word_embeddings", true)?,
        hand_written_backward: true,
        ..ModelConfig::new(NAMES, sizes, Positions::Learned)
    })
}
