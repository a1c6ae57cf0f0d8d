//! What does a query see, and how is it combined? The attention backends of a transformer's layers.

use burn::tensor::Tensor;

pub(crate) mod bidirectional;
pub(crate) mod causal;
pub(crate) mod cross;
pub(crate) mod kv_cache;
pub(crate) mod mask;
pub(crate) mod packed;
pub(crate) mod prefix;
pub(crate) mod relative_bias;
pub(crate) mod sdpa;
pub(crate) mod sliding_window;

pub(crate) use self::{
    bidirectional::BidirectionalAttention, causal::CausalAttention, cross::EncoderOutput,
    packed::PackedAttention, prefix::Prefix, relative_bias::RelativeBias,
};

/// Where a layer's keys and values are kept, and how its queries meet them.
pub(crate) trait Attention {
    /// - queries: `[tokens, heads, head_dim]`
    /// - keys, values: `[tokens, kv_heads, head_dim]`
    /// - returns: `[tokens, heads * head_dim]`
    fn attend(&mut self, layer: usize, queries: Tensor<3>, keys: Tensor<3>, values: Tensor<3>) -> Tensor<2>;

    /// Called before the first layer of a stack whose scores have a bias by distance.
    fn set_position_bias(&mut self, bias: &RelativeBias);

    /// What an encoder has read; nothing if there is no encoder.
    fn encoder_output(&self) -> Option<&EncoderOutput>;
}
