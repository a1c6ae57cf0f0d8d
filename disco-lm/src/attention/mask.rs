//! Attention masks: which tokens of its context and of its own sequence a query attends to.

use burn::tensor::{Device, Tensor, TensorData};

use crate::{
    architecture::model_config::ModelConfig,
    attention::sliding_window::{QueryLayout, SlidingWindowMask},
};

/// Added to the score of a key that a query must not see: far below any score, far above overflow.
pub(crate) const MASKED: f32 = -1e30;

/// The mask that hides the padding of contexts shorter than `seq_len`, followed by `further` positions that are not hidden:
/// `[batch, 1, 1, seq_len + further]`; `None` if no context is shorter.
pub(crate) fn padding_mask(
    lengths: &[usize],
    seq_len: usize,
    further: usize,
    device: &Device,
) -> Option<Tensor<4>> {
    if lengths.iter().all(|length| *length == seq_len) {
        return None;
    }
    let row = |length: &usize| {
        let length = *length;
        (0..seq_len + further).map(move |s| if s >= length && s < seq_len { MASKED } else { 0.0 })
    };
    let mask: Vec<f32> = lengths.iter().flat_map(row).collect();
    Some(Tensor::from_data(TensorData::new(mask, [lengths.len(), 1, 1, seq_len + further]), device))
}

/// The causal masks of sequences that follow contexts, for layers with and without a sliding window.
pub(crate) struct AttentionMasks {
    /// For layers without a window. Broadcast to `[batch, 1, group * seq_len, kv_len]`.
    pub(crate) mask: Tensor<4>,
    /// For layers with a window, instead of `mask`; `None` if no layer has one, or if no token is outside of it.
    windowed: Option<SlidingWindowMask>,
}

impl AttentionMasks {
    /// For sequences of `seq_len` tokens that follow contexts of the given lengths, padded to `context_len`. Without contexts,
    /// `context_lengths` is empty.
    pub(crate) fn new(
        config: &ModelConfig,
        context_lengths: &[usize],
        context_len: usize,
        seq_len: usize,
        device: &Device,
    ) -> Self {
        let kv_len = context_len + seq_len;
        let mut mask = vec![0.0f32; seq_len * kv_len];
        for t in 0..seq_len {
            mask[t * kv_len + context_len + t + 1..(t + 1) * kv_len].fill(MASKED);
        }
        let mask = mask.repeat(config.heads / config.kv_heads);
        let rows = mask.len() / kv_len;
        let mask = Tensor::from_data(TensorData::new(mask, [1, 1, rows, kv_len]), device);
        let mask = match padding_mask(context_lengths, context_len, seq_len, device) {
            Some(padding) => mask + padding,
            None => mask,
        };
        Self {
            mask,
            windowed: SlidingWindowMask::new(
                config,
                &QueryLayout { context_lengths, context_len, queries: seq_len },
                device,
            ),
        }
    }

    pub(crate) fn mask(&self, layer: usize) -> &Tensor<4> {
        self.windowed.as_ref().and_then(|windowed| windowed.mask(layer)).unwrap_or(&self.mask)
    }
}
