//! Cross-attention: queries of a decoder over the output of an encoder.

use burn::tensor::Tensor;

use crate::attention::{
    mask::padding_mask,
    prefix::{KeyValues, concat_rows, context_rows, fit_seq_len, select_rows},
    sdpa::{attention, group, ungroup},
};

/// The output of an encoder for some contexts, as the keys and values of the cross-attention of each layer of the decoder.
#[derive(Clone)]
pub(crate) struct EncoderOutput {
    /// `[contexts, kv_heads, seq_len, head_dim]` each, padded on the right to the longest context.
    pub(super) layers: KeyValues,
    pub(super) scale: f64,
    pub(super) lengths: Vec<usize>,
    /// Hides the padding: `[contexts, 1, 1, seq_len]`.
    pub(super) padding: Option<Tensor<4>>,
}

impl EncoderOutput {
    /// Cross-attention of a layer: the queries of each row over the encoder output of that row. If there is only one
    /// context, all queries are over it.
    ///
    /// - queries: `[rows * seq_len, heads, head_dim]`
    /// - returns: `[rows * seq_len, heads * head_dim]`
    pub(crate) fn attend(&self, layer: usize, queries: Tensor<3>) -> Tensor<2> {
        let [keys, values] = &self.layers[layer];
        // For a single context, the queries of all rows count as one sequence: that makes fewer and larger matmuls.
        let [rows, kv_heads, _, _] = keys.dims();
        let seq_len = queries.dims()[0] / rows;
        let keys_values = [keys.clone(), values.clone()];
        let queries = group(queries, rows, kv_heads);
        ungroup(attention(queries, keys_values, self.scale, self.padding.as_ref()), seq_len)
    }

    /// One row for each sequence: row `i` is the context `context_of[i]`. A single context stays one row.
    pub(crate) fn rows(&self, context_of: &[usize]) -> Self {
        if self.lengths.len() == 1 {
            return self.clone();
        }
        let select = |tensor: &Tensor<4>| select_rows(tensor.clone(), context_of);
        let layers = self.layers.iter().map(|pair| pair.each_ref().map(select)).collect();
        let lengths = context_of.iter().map(|context| self.lengths[*context]).collect();
        Self { layers, scale: self.scale, lengths, padding: self.padding.as_ref().map(select) }
    }

    /// One row for each sequence, from encoder outputs that were computed separately: part by part, row `i` of a part is
    /// the context `context_of[i]` of its encoder output. `None` without parts.
    pub(crate) fn concatenated(parts: &[(&Self, Vec<usize>)]) -> Option<Self> {
        let (first, context_of) = parts.first()?;
        if parts.len() == 1 {
            return Some(first.rows(context_of));
        }
        let listed = parts
            .iter()
            .flat_map(|(part, context_of)| context_of.iter().map(|context| part.lengths[*context]));
        let lengths: Vec<usize> = listed.collect();
        let seq_len = lengths.iter().copied().max().unwrap_or(0);
        let layers = (0..first.layers.len()).map(|layer| {
            [0, 1].map(|kind| {
                let rows = |(part, context_of): &(&Self, Vec<usize>)| {
                    fit_seq_len(context_rows(&part.layers[layer][kind], context_of), seq_len)
                };
                concat_rows(parts.iter().map(rows).collect())
            })
        });
        let layers: KeyValues = layers.collect();
        let padding = padding_mask(&lengths, seq_len, 0, &layers.first()?[0].device());
        Some(Self { layers, scale: first.scale, lengths, padding })
    }
}
