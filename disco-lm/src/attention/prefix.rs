//! The prefix of a batch: the keys and values of contexts that have been prefilled, and operations on such tensors.

use burn::tensor::Tensor;

use crate::{attention::cross::EncoderOutput, device::transfer::indices};

/// The keys and values of every layer, `[batch, kv_heads, seq_len, head_dim]` each.
pub(crate) type KeyValues = Vec<[Tensor<4>; 2]>;

/// The rows of `tensor` at the given indices.
pub(crate) fn select_rows(tensor: Tensor<4>, rows: &[usize]) -> Tensor<4> {
    let device = tensor.device();
    tensor.select(0, indices(rows.iter().copied(), &device))
}

/// The keys and values of prefilled contexts, padded on the right to the longest context.
pub(crate) struct Prefix {
    /// The index of the layer whose keys and values are the first of `layers`.
    pub(crate) first_layer: usize,
    pub(crate) layers: KeyValues,
    /// The number of tokens of each context.
    pub(crate) lengths: Vec<usize>,
    /// The encoder output for the contexts. If there is an encoder, `layers` belong to the decoder's start token.
    pub(crate) encoder_output: Option<EncoderOutput>,
}

impl Prefix {
    /// The length of the longest context.
    pub(crate) fn seq_len(&self) -> usize {
        self.lengths.iter().copied().max().unwrap_or(0)
    }

    /// One row for each sequence: row `i` is the context `context_of[i]`. A single context is shared, not copied.
    pub(crate) fn rows(&self, context_of: &[usize]) -> Self {
        let lengths: Vec<usize> = context_of.iter().map(|index| self.lengths[*index]).collect();
        let layers = self.layers.iter();
        let layers = layers.map(|pair| pair.each_ref().map(|tensor| context_rows(tensor, context_of)));
        let encoder_output =
            self.encoder_output.as_ref().map(|encoder_output| encoder_output.rows(context_of));
        Self { first_layer: self.first_layer, layers: layers.collect(), lengths, encoder_output }
    }

    /// The keys and values of a layer; `None` if nothing has been prefilled.
    pub(crate) fn layer(&self, layer: usize) -> Option<[Tensor<4>; 2]> {
        self.layers.get(layer - self.first_layer).cloned()
    }
}

/// One row for each sequence: row `i` is the context `context_of[i]`. A single context is shared, not copied.
///
/// - contexts: `[contexts, kv_heads, seq_len, head_dim]`
/// - returns: `[sequences, kv_heads, seq_len, head_dim]`
pub(crate) fn context_rows(contexts: &Tensor<4>, context_of: &[usize]) -> Tensor<4> {
    let [count, kv_heads, seq_len, head_dim] = contexts.dims();
    if count == 1 {
        contexts.clone().expand([context_of.len(), kv_heads, seq_len, head_dim])
    } else {
        select_rows(contexts.clone(), context_of)
    }
}

/// Pads or cuts keys or values on the right to `wanted_len` positions, `[rows, kv_heads, wanted_len, head_dim]`.
pub(crate) fn fit_seq_len(part: Tensor<4>, wanted_len: usize) -> Tensor<4> {
    let [rows, kv_heads, seq_len, head_dim] = part.dims();
    if seq_len >= wanted_len {
        return part.narrow(2, 0, wanted_len);
    }
    let empty = Tensor::zeros([rows, kv_heads, wanted_len - seq_len, head_dim], &part.device());
    Tensor::cat(vec![part, empty], 2)
}

/// Concatenates keys or values along the batch dimension.
pub(crate) fn concat_rows(mut parts: Vec<Tensor<4>>) -> Tensor<4> {
    if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(parts, 0) }
}

/// Concatenates keys and values along the positions: those of the contexts, then those of the sequences.
pub(crate) fn append(context: [Tensor<4>; 2], sequence: [Tensor<4>; 2]) -> [Tensor<4>; 2] {
    let [context_keys, context_values] = context;
    let [keys, values] = sequence;
    [Tensor::cat(vec![context_keys, keys], 2), Tensor::cat(vec![context_values, values], 2)]
}
