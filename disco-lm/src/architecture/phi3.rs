//! Phi-3 (Abdin et al. 2024): a Llama whose files store queries, keys and values as one matrix, and gate and up as another.

use super::{
    Architecture, Gguf, GgufMetadata,
    config_reader::ConfigReader,
    llama,
    model_config::ModelConfig,
    tensor_names::{StackNames, TensorNames},
};
use crate::Result;

pub(super) const PHI3: Architecture = Architecture {
    model_type: "phi3",
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

/// `longrope`, whose frequencies depend on the length of the text, is refused by [`llama::read`], which reads the frequencies.
fn read(reader: &ConfigReader<'_>) -> Result<ModelConfig> {
    // Phi-4-mini rotates a part of each head only.
    let rope = reader.section("rope_parameters")?;
    for section in [Some(reader), rope.as_ref()].into_iter().flatten() {
        let rotated = section.number("partial_rotary_factor", Some(1.0))?;
        if rotated != 1.0 {
            return Err(section.refused("partial_rotary_factor", rotated, "1"));
        }
    }
    let config = llama::read(reader, llama::optional_window(reader)?)?;
    // The reference has these biases nowhere, whatever the configuration says.
    Ok(ModelConfig {
        names: NAMES,
        qkv_bias: false,
        output_bias: false,
        feed_forward_bias: false,
        hand_written_backward: true,
        ..config
    })
}
