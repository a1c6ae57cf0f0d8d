//! Attention in both directions, and attention to what an encoder has read.

use burn::tensor::Tensor;

use crate::attention::{
    mask::padding_mask,
    prefix::{KeyValues, context_rows, fitted, joined, select_rows},
    sdpa::{attention, group, ungroup},
};

/// What an encoder has read, as each layer of the decoder sees it.
#[derive(Clone)]
pub(crate) struct EncoderOutput {
    /// Padded on the right to the longest context.
    pub(super) layers: KeyValues,
    pub(super) scale: f64,
    pub(super) lengths: Vec<usize>,
    /// Hides the padding: `[contexts, 1, 1, seq_len]`.
    pub(super) padding: Option<Tensor<4>>,
}

impl EncoderOutput {
    /// Queries of a layer meet its keys and values: those of each row its own context, or all of them the
    /// only one there is.
    ///
    /// - queries: `[rows * seq_len, heads, head_dim]`
    /// - returns: `[rows * seq_len, heads * head_dim]`
    pub(crate) fn attend(&self, layer: usize, queries: Tensor<3>) -> Tensor<2> {
        let [keys, values] = &self.layers[layer];
        // A single context sees the tokens of all rows as those of one sequence: the products are larger so.
        let [rows, kv_heads, _, _] = keys.dims();
        let seq_len = queries.dims()[0] / rows;
        let seen = [keys.clone(), values.clone()];
        let queries = group(queries, rows, kv_heads);
        ungroup(attention(queries, seen, self.scale, self.padding.as_ref()), seq_len)
    }

    /// One row per sequence: the context that `which` names for it. A single context stays as it is.
    pub(crate) fn rows(&self, which: &[usize]) -> Self {
        if self.lengths.len() == 1 {
            return self.clone();
        }
        let select = |tensor: &Tensor<4>| select_rows(tensor.clone(), which);
        let layers = self.layers.iter().map(|pair| pair.each_ref().map(select)).collect();
        let lengths = which.iter().map(|context| self.lengths[*context]).collect();
        Self { layers, scale: self.scale, lengths, padding: self.padding.as_ref().map(select) }
    }

    /// The same of contexts that were read apart: one row for each that is named, part by part. Nothing without parts.
    pub(crate) fn concatenated(parts: &[(&Self, Vec<usize>)]) -> Option<Self> {
        let (first, which) = parts.first()?;
        if parts.len() == 1 {
            return Some(first.rows(which));
        }
        let named = parts.iter().flat_map(|(part, which)| which.iter().map(|context| part.lengths[*context]));
        let lengths: Vec<usize> = named.collect();
        let seq_len = lengths.iter().copied().max().unwrap_or(0);
        let layers = (0..first.layers.len()).map(|layer| {
            [0, 1].map(|kind| {
                let rows = |(part, which): &(&Self, Vec<usize>)| {
                    fitted(context_rows(&part.layers[layer][kind], which), seq_len)
                };
                joined(parts.iter().map(rows).collect())
            })
        });
        let layers: KeyValues = layers.collect();
        let padding = padding_mask(&lengths, seq_len, 0, &layers.first()?[0].device());
        Some(Self { layers, scale: first.scale, lengths, padding })
    }
}
