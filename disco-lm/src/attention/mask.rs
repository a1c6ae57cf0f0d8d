//! Attention masks: what a token may see of its context and of its own sequence.

use burn::tensor::{Device, Tensor, TensorData};

use crate::{
    architecture::model_config::ModelConfig,
    attention::sliding_window::{QueryLayout, SlidingWindowMask},
};

/// Added to the score of what must not be seen: far below any score, far above overflow.
pub(crate) const MASKED: f32 = -1e30;

/// What hides the padding of contexts that are shorter than `time`, for `own` further positions that all may be seen:
/// `[batch, 1, 1, seq_len + own]`, or nothing if none is shorter.
pub(crate) fn padding_mask(
    lengths: &[usize],
    seq_len: usize,
    own: usize,
    device: &Device,
) -> Option<Tensor<4>> {
    if lengths.iter().all(|length| *length == seq_len) {
        return None;
    }
    let row = |length: &usize| {
        let length = *length;
        (0..seq_len + own).map(move |s| if s >= length && s < seq_len { MASKED } else { 0.0 })
    };
    let mask: Vec<f32> = lengths.iter().flat_map(row).collect();
    Some(Tensor::from_data(TensorData::new(mask, [lengths.len(), 1, 1, seq_len + own]), device))
}

/// What the tokens of sequences see of their contexts and of themselves, in every layer.
pub(crate) struct AttentionMasks {
    /// Broadcast to `[batch, 1, group * seq_len, seen]`.
    pub(crate) mask: Tensor<4>,
    /// For layers with a window, in the place of `mask`.
    local: Option<SlidingWindowMask>,
}

impl AttentionMasks {
    /// Of sequences of `time` tokens that follow contexts of the given lengths, padded to `before`; none without contexts.
    pub(crate) fn new(
        config: &ModelConfig,
        lengths: &[usize],
        before: usize,
        seq_len: usize,
        device: &Device,
    ) -> Self {
        let seen = before + seq_len;
        let mut mask = vec![0.0f32; seq_len * seen];
        for t in 0..seq_len {
            mask[t * seen + before + t + 1..(t + 1) * seen].fill(MASKED);
        }
        let mask = mask.repeat(config.heads / config.kv_heads);
        let rows = mask.len() / seen;
        let mask = Tensor::from_data(TensorData::new(mask, [1, 1, rows, seen]), device);
        let mask = match padding_mask(lengths, before, seq_len, device) {
            Some(padding) => mask + padding,
            None => mask,
        };
        Self {
            mask,
            local: SlidingWindowMask::new(config, &QueryLayout { lengths, before, queries: seq_len }, device),
        }
    }

    pub(crate) fn mask(&self, layer: usize) -> &Tensor<4> {
        self.local.as_ref().and_then(|local| local.mask(layer)).unwrap_or(&self.mask)
    }
}
