//! Attention: which keys and values a query sees, and how it combines them. The attention backends of a transformer's layers.

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

use burn::tensor::Tensor;

pub(crate) use self::{
    bidirectional::BidirectionalAttention, causal::CausalAttention, cross::EncoderOutput,
    packed::PackedAttention, prefix::Prefix, relative_bias::RelativeBias,
};

/// An attention backend: where the keys and values of the layers are stored, and which of them each query attends to.
pub(crate) trait Attention {
    /// Self-attention of one layer. The output has the heads of each token next to each other.
    ///
    /// - queries: `[tokens, heads, head_dim]`
    /// - keys, values: `[tokens, kv_heads, head_dim]`
    /// - returns: `[tokens, heads * head_dim]`
    fn attend(&mut self, layer: usize, queries: Tensor<3>, keys: Tensor<3>, values: Tensor<3>) -> Tensor<2>;

    /// Sets the relative position bias of all layers; called before the first layer of a stack that has one.
    fn set_position_bias(&mut self, bias: &RelativeBias);

    /// The encoder output for cross-attention; `None` without an encoder.
    fn encoder_output(&self) -> Option<&EncoderOutput>;
}
