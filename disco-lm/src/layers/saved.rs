//! Activations saved by a forward pass for the backward pass.

use burn::tensor::Tensor;

use crate::architecture::model_config::ModelConfig;

/// The activations of one layer that its forward pass has saved for its backward pass; `None` for those that it has not.
#[derive(Debug, Default)]
pub(crate) struct SavedActivations {
    /// The input of the layer: `[tokens, hidden_size]`.
    pub(crate) input: Option<Tensor<2>>,
    /// Queries, keys and values, before norms and rotation: `[tokens, heads + 2 * kv_heads, head_dim]`.
    pub(crate) qkv: Option<Tensor<3>>,
    /// The output of attention, before its output projection: `[tokens, heads * head_dim]`.
    pub(crate) attention_output: Option<Tensor<2>>,
    /// The output of the output projection, if a norm follows it: `[tokens, hidden_size]`.
    pub(crate) projected_attention: Option<Tensor<2>>,
    /// The input of the feed-forward block, before its norm: `[tokens, hidden_size]`.
    pub(crate) post_attention: Option<Tensor<2>>,
    /// The output of the feed-forward block's first matmul: `[tokens, intermediate_size]`, twice as wide if it is gated.
    pub(crate) up: Option<Tensor<2>>,
    /// The output of the feed-forward block's second matmul, if a norm follows it: `[tokens, hidden_size]`.
    pub(crate) mlp_output: Option<Tensor<2>>,
}

impl SavedActivations {
    /// The saved input of a layer whose other activations the backward pass recomputes.
    pub(crate) fn input_only(input: Tensor<2>) -> Self {
        Self { input: Some(input), ..Self::default() }
    }

    /// The input of the layer, if nothing else was saved.
    pub(crate) fn input_to_recompute(&self) -> Option<Tensor<2>> {
        if self.qkv.is_none() { self.input.clone() } else { None }
    }

    /// About how many elements are saved per token, if all activations are.
    pub(crate) fn elements_per_token(config: &ModelConfig) -> usize {
        let norms = if config.norm_order.has_post_norms() { 2 } else { 0 };
        let heads = 2 * config.heads + 2 * config.kv_heads;
        let up = if config.feed_forward.gated { 2 } else { 1 };
        (2 + norms) * config.hidden_size + heads * config.head_dim + up * config.intermediate_size
    }
}

/// Takes an activation that was saved.
///
/// # Panics
/// If it was not saved.
pub(crate) fn take_saved<T>(saved: &mut Option<T>) -> T {
    saved.take().expect("saved by the forward pass")
}
