//! The mask of sliding-window attention: layers in which a token sees only the last tokens before it (Mistral, Qwen2).

use burn::tensor::{Device, Tensor, TensorData};

use crate::{architecture::model_config::ModelConfig, attention::mask::MASKED};

/// The positions of queries and keys, for sequences that follow padded contexts. The keys are those of the context, then
/// those of the sequence.
#[derive(Clone, Debug)]
pub(crate) struct QueryLayout<'a> {
    /// The number of tokens of each row's context; empty without contexts.
    pub(crate) context_lengths: &'a [usize],
    /// The length to which contexts are padded: that of the longest.
    pub(crate) context_len: usize,
    /// The number of queries: the first tokens of each sequence.
    pub(crate) queries: usize,
}

impl QueryLayout<'_> {
    /// The mask for layers whose window has `size` tokens, `[rows, queries, keys]`; a single row if all contexts have one
    /// length.
    fn mask(&self, size: usize) -> Vec<f32> {
        let keys = self.context_len + self.queries;
        let mut mask = Vec::new();
        for length in self.rows() {
            for query in 0..self.queries {
                mask.extend((0..keys).map(|key| {
                    // How many positions the key is before the query; `None` for padding and for later tokens.
                    let distance = match key.checked_sub(self.context_len) {
                        Some(own) => query.checked_sub(own),
                        None if *length > key => Some(length + query - key),
                        None => None,
                    };
                    if distance.is_some_and(|distance| distance < size) { 0.0 } else { MASKED }
                }));
            }
        }
        mask
    }

    fn rows(&self) -> &[usize] {
        let same = self.context_lengths.iter().all(|length| *length == self.context_len);
        match self.context_lengths {
            [] => &[0],
            context_lengths if same => &context_lengths[..1],
            context_lengths => context_lengths,
        }
    }
}

/// The mask of the layers that have a window.
pub(crate) struct SlidingWindowMask {
    /// `[rows or 1, 1, group * queries, keys]`.
    mask: Tensor<4>,
    layers: Vec<bool>,
}

impl SlidingWindowMask {
    /// `None` if no layer has a window, or if every key is within it.
    pub(crate) fn new(config: &ModelConfig, layout: &QueryLayout<'_>, device: &Device) -> Option<Self> {
        let window = config.window.as_ref()?;
        let keys = layout.context_len + layout.queries;
        if keys <= window.size {
            return None;
        }
        let [rows, queries] = [layout.rows().len(), layout.queries];
        let mask = TensorData::new(layout.mask(window.size), [rows, 1, queries, keys]);
        let mask = Tensor::from_data(mask, device).repeat_dim(2, config.heads / config.kv_heads);
        Some(Self { mask, layers: window.layers.clone() })
    }

    /// The mask of `layer`, if it has a window.
    pub(crate) fn mask(&self, layer: usize) -> Option<&Tensor<4>> {
        self.layers[layer].then_some(&self.mask)
    }
}

#[cfg(test)]
mod tests {
    use super::QueryLayout;

    #[test]
    fn a_window_goes_by_distance_and_never_sees_padding() {
        // Contexts of 1 and 3 tokens; queries at positions 0 and 1 of their sequences; a window of 3.
        let layout = QueryLayout { context_lengths: &[1, 3], context_len: 3, queries: 2 };
        let seen: Vec<u8> = layout.mask(3).iter().map(|mask| u8::from(*mask == 0.0)).collect();
        let first = [1, 0, 0, 1, 0, /* second query */ 1, 0, 0, 1, 1];
        let second = [0, 1, 1, 1, 0, /* second query */ 0, 0, 1, 1, 1];
        assert_eq!(seen, [first, second].concat());
    }
}
