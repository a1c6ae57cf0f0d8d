//! Phi-3 (Abdin et al. 2024): a Llama whose files store queries, keys and values as one matrix, and gate and up as another.

use super::{
    Architecture, Gguf, GgufMetadata,
    config_reader::ConfigReader,
    fields::{Fields, LLAMA_LIKE},
    llama::{self, DEFAULTS, Defaults, HeadDim},
    model_config::ModelConfig,
    tensor_names::{StackNames, TensorNames},
};
use crate::Result;

pub(super) const PHI3: Architecture = Architecture {
    model_type: "phi3",
    fields: Fields { honoured: LLAMA_LIKE, idle: &["resid_pdrop", "embd_pdrop"], fixed: &[] },
    read,
    gguf: Some(Gguf {
        name: "phi3",
        metadata: GgufMetadata::Llama,
        tensors: TensorNames {
            stack: StackNames { qkv: &["attn_qkv"], up: &["ffn_up"], ..llama::GGUF.stack },
            ..llama::GGUF
        },
        reorders_heads: false,
    }),
};

const NAMES: TensorNames = TensorNames {
    stack: StackNames { qkv: &["self_attn.qkv_proj"], up: &["mlp.gate_up_proj"], ..llama::NAMES.stack },
    ..llama::NAMES
};

/// It has no biases, whatever the configuration says.
fn read(reader: &ConfigReader<'_>) -> Result<ModelConfig> {
    let defaults = Defaults {
        vocabulary: 32_064,
        hidden_size: 3072,
        intermediate_size: 8192,
        head_dim: HeadDim::DividedNotNull,
        max_positions: 4096,
        norm_epsilon: 1e-5,
        ..DEFAULTS
    };
    // Their frequencies depend on the length of the text, or have a part of each head only (Phi-4-mini).
    for name in ["rope_scaling", "rope_parameters"] {
        let Some(section) = reader.section(name)? else { continue };
        for field in ["rope_type", "type"] {
            section.only(field, "default", &["default"])?;
        }
    }
    let window = reader.window("sliding_window", None)?;
    let config = llama::read(reader, &defaults, window)?;
    Ok(ModelConfig { names: NAMES, hand_written_backward: true, ..config })
}
