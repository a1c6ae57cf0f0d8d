//! OLMo 2 (OLMo team 2024): norms after the blocks, on the residual branch, and norms over all heads of queries and keys.

use super::{
    Architecture, Gguf, GgufMetadata,
    config_reader::ConfigReader,
    fields::{Fields, LLAMA_LIKE},
    llama::{self, DEFAULTS, Defaults, HeadDim},
    model_config::{ModelConfig, NormOrder, QueryKeyNorm},
    tensor_names::{StackNames, TensorNames},
};
use crate::Result;

pub(super) const OLMO2: Architecture = Architecture {
    model_type: "olmo2",
    fields: Fields { honoured: LLAMA_LIKE, idle: &[], fixed: &[] },
    read,
    gguf: Some(Gguf {
        name: "olmo2",
        metadata: GgufMetadata::Llama,
        tensors: TensorNames {
            stack: StackNames {
                attention_norm: "post_attention_norm",
                feed_forward_norm: "post_ffw_norm",
                ..llama::GGUF.stack
            },
            ..llama::GGUF
        },
        reorders_heads: false,
    }),
};

const NAMES: TensorNames = TensorNames {
    stack: StackNames {
        attention_norm: "post_attention_layernorm",
        feed_forward_norm: "post_feedforward_layernorm",
        ..llama::NAMES.stack
    },
    ..llama::NAMES
};

fn read(reader: &ConfigReader<'_>) -> Result<ModelConfig> {
    let defaults =
        Defaults { vocabulary: 50_304, head_dim: HeadDim::DividedNotNull, norm_epsilon: 1e-5, ..DEFAULTS };
    llama::refuse_no_window(reader)?;
    let bias = reader.flag("attention_bias", false)?;
    Ok(ModelConfig {
        names: NAMES,
        norm_order: NormOrder::OnBranch,
        query_key_norm: Some(QueryKeyNorm::AllHeads),
        qkv_bias: bias,
        output_bias: bias,
        ..llama::read(reader, &defaults, None)?
    })
}
