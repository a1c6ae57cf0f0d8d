//! Activations saved by a forward pass for the backward pass.

use burn::tensor::Tensor;

use crate::architecture::model_config::ModelConfig;

/// What a layer has computed on the way forwards, for the way back.
#[derive(Debug, Default)]
pub(crate) struct SavedActivations {
    /// What entered the layer: `[tokens, hidden_size]`.
    pub(crate) input: Option<Tensor<2>>,
    /// Queries, keys and values as the product leaves them: `[tokens, heads + 2 * kv_heads, head_dim]`.
    pub(crate) qkv: Option<Tensor<3>>,
    /// What attention gives: `[tokens, heads * head_dim]`.
    pub(crate) attention_output: Option<Tensor<2>>,
    /// Before the norm behind the block, where there is one: `[tokens, hidden_size]`.
    pub(crate) projected_attention: Option<Tensor<2>>,
    /// What enters the feed-forward block: `[tokens, hidden_size]`.
    pub(crate) post_attention: Option<Tensor<2>>,
    /// What leaves its first product: `[tokens, intermediate_size]`, twice as wide if it is gated.
    pub(crate) up: Option<Tensor<2>>,
    /// Before the norm behind the block, where there is one: `[tokens, hidden_size]`.
    pub(crate) mlp_output: Option<Tensor<2>>,
}

impl SavedActivations {
    /// Of a layer that is run again when its turn comes.
    pub(crate) fn input_only(input: Tensor<2>) -> Self {
        Self { input: Some(input), ..Self::default() }
    }

    /// What entered the layer, if nothing else has been kept.
    pub(crate) fn input_to_recompute(&self) -> Option<Tensor<2>> {
        if self.qkv.is_none() { self.input.clone() } else { None }
    }

    /// About how many numbers it holds per token.
    pub(crate) fn elements_per_token(config: &ModelConfig) -> usize {
        let norms = if config.norm_order.has_post_norms() { 2 } else { 0 };
        let heads = 2 * config.heads + 2 * config.kv_heads;
        let up = if config.feed_forward.gated { 2 } else { 1 };
        (2 + norms) * config.hidden_size + heads * config.head_dim + up * config.intermediate_size
    }
}

/// Takes what must have been kept.
pub(crate) fn take_saved<T>(saved: &mut Option<T>) -> T {
    saved.take().expect("kept on the way forwards")
}
