//! The prefix of a batch: the keys and values of contexts that have been prefilled.

use burn::tensor::Tensor;

use crate::{attention::cross::EncoderOutput, device::transfer::indices};

/// The keys and values of every layer, `[batch, kv_heads, seq_len, head_dim]` each.
pub(crate) type KeyValues = Vec<[Tensor<4>; 2]>;

pub(crate) fn select_rows(tensor: Tensor<4>, rows: &[usize]) -> Tensor<4> {
    let device = tensor.device();
    tensor.select(0, indices(rows.iter().copied(), &device))
}

/// Contexts that have been read: their keys and values, padded on the right to the longest.
pub(crate) struct Prefix {
    /// The layer of the first keys and values.
    pub(crate) first_layer: usize,
    pub(crate) layers: KeyValues,
    /// The number of tokens of each context.
    pub(crate) lengths: Vec<usize>,
    /// What an encoder has read; `layers` are then those of the decoder's start token.
    pub(crate) encoder_output: Option<EncoderOutput>,
}

impl Prefix {
    /// The longest context.
    pub(crate) fn seq_len(&self) -> usize {
        self.lengths.iter().copied().max().unwrap_or(0)
    }

    /// One row per sequence: the context that `which` names for it. A single context is shared, not copied.
    pub(crate) fn rows(&self, which: &[usize]) -> Self {
        let lengths: Vec<usize> = which.iter().map(|index| self.lengths[*index]).collect();
        let layers = self.layers.iter();
        let layers = layers.map(|pair| pair.each_ref().map(|tensor| context_rows(tensor, which)));
        let encoder_output = self.encoder_output.as_ref().map(|encoder_output| encoder_output.rows(which));
        Self { first_layer: self.first_layer, layers: layers.collect(), lengths, encoder_output }
    }

    /// The keys and values of a layer; none if nothing has been read yet.
    pub(crate) fn layer(&self, layer: usize) -> Option<[Tensor<4>; 2]> {
        self.layers.get(layer - self.first_layer).cloned()
    }
}

/// The context of each sequence. A single context is shared, not copied.
pub(crate) fn context_rows(contexts: &Tensor<4>, which: &[usize]) -> Tensor<4> {
    let [count, kv_heads, seq_len, width] = contexts.dims();
    if count == 1 {
        contexts.clone().expand([which.len(), kv_heads, seq_len, width])
    } else {
        select_rows(contexts.clone(), which)
    }
}

/// With so many columns: some that are empty are added, or the last are left out.
pub(crate) fn fitted(part: Tensor<4>, columns: usize) -> Tensor<4> {
    let [rows, kv_heads, seq_len, width] = part.dims();
    if seq_len >= columns {
        return part.narrow(2, 0, columns);
    }
    let empty = Tensor::zeros([rows, kv_heads, columns - seq_len, width], &part.device());
    Tensor::cat(vec![part, empty], 2)
}

/// Rows below each other.
pub(crate) fn joined(mut parts: Vec<Tensor<4>>) -> Tensor<4> {
    if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(parts, 0) }
}

/// Keys and values one after the other in time.
pub(crate) fn after(before: [Tensor<4>; 2], own: [Tensor<4>; 2]) -> [Tensor<4>; 2] {
    let [before_keys, before_values] = before;
    let [keys, values] = own;
    [Tensor::cat(vec![before_keys, keys], 2), Tensor::cat(vec![before_values, values], 2)]
}
