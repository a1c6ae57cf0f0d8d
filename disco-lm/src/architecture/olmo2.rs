//! OLMo 2 (OLMo team 2024): norms after the blocks, on the residual branch, and norms over all heads of queries and keys.

use super::{
    Architecture, Gguf, GgufMetadata,
    config_reader::ConfigReader,
    llama,
    model_config::{ModelConfig, NormOrder, QueryKeyNorm},
    tensor_names::{StackNames, TensorNames},
};
use crate::Result;

pub(super) const OLMO2: Architecture = Architecture {
    model_type: "olmo2",
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
    Ok(ModelConfig {
        names: NAMES,
        norm_order: NormOrder::OnBranch,
        norm_epsilon: reader.number("rms_norm_eps", Some(1e-5))?,
        query_key_norm: Some(QueryKeyNorm::AllHeads),
        // The feed-forward block has no biases, even if the configuration asks for them.
        feed_forward_bias: false,
        ..llama::read(reader, None)?
    })
}
