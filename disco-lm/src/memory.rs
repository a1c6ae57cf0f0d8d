//! Attention in both directions, and attention to what an encoder has read.

use burn::tensor::{Device, Tensor};

use crate::{
    attention::{
        KeyValues, attention, by_head, context_rows, fitted, group, joined, padding_mask, select_rows,
        ungroup,
    },
    layer::Attend,
    relative::RelativeBias,
    spec::Spec,
};

/// Attention of every token to all tokens of its sequence.
pub(crate) struct BothWays {
    lengths: Vec<usize>,
    time: usize,
    scale: f64,
    /// Hides the padding: `[batch, 1, 1, time]`.
    padding: Option<Tensor<4>>,
    /// Padding and bias by distance: broadcast to `[batch, heads, time, time]`.
    mask: Option<Tensor<4>>,
}

impl BothWays {
    /// For sequences of the given lengths, padded on the right to `time` tokens.
    pub(crate) fn new(spec: &Spec, lengths: &[usize], time: usize, device: &Device) -> Self {
        let padding = padding_mask(lengths, time, 0, device);
        let lengths = lengths.to_vec();
        Self { lengths, time, scale: spec.attention_scale, mask: padding.clone(), padding }
    }

    /// What a decoder sees of the sequences: the keys and values that each of its layers makes of them,
    /// `[batch * time, kv_heads, head_width]`.
    pub(crate) fn into_memory(self, keys_values: Vec<[Tensor<3>; 2]>) -> Memory {
        let batch = self.lengths.len();
        let layers = keys_values.into_iter().map(|pair| pair.map(|tensor| by_head(tensor, batch))).collect();
        Memory { layers, scale: self.scale, lengths: self.lengths, padding: self.padding }
    }
}

impl Attend for BothWays {
    fn attend(&mut self, _: usize, queries: Tensor<3>, keys: Tensor<3>, values: Tensor<3>) -> Tensor<2> {
        let kv_heads = keys.dims()[1];
        let batch = self.lengths.len();
        let seen = [by_head(keys, batch), by_head(values, batch)];
        let queries = group(queries, batch, kv_heads);
        ungroup(attention(queries, seen, self.scale, self.mask.as_ref()), self.time)
    }

    fn relate(&mut self, bias: &RelativeBias) {
        let bias = bias.between(0..self.time, 0..self.time);
        self.mask = Some(match &self.padding {
            Some(padding) => bias + padding.clone(),
            None => bias,
        });
    }

    fn memory(&self) -> Option<&Memory> {
        None
    }
}

/// What an encoder has read, as each layer of the decoder sees it.
#[derive(Clone)]
pub(crate) struct Memory {
    /// Padded on the right to the longest context.
    layers: KeyValues,
    scale: f64,
    lengths: Vec<usize>,
    /// Hides the padding: `[contexts, 1, 1, time]`.
    padding: Option<Tensor<4>>,
}

impl Memory {
    /// Queries of a layer meet its keys and values: those of each row its own context, or all of them the
    /// only one there is.
    ///
    /// - queries: `[rows * time, heads, head_width]`
    /// - returns: `[rows * time, heads * head_width]`
    pub(crate) fn attend(&self, layer: usize, queries: Tensor<3>) -> Tensor<2> {
        let [keys, values] = &self.layers[layer];
        // A single context sees the tokens of all rows as those of one sequence: the products are larger so.
        let [rows, kv_heads, _, _] = keys.dims();
        let time = queries.dims()[0] / rows;
        let seen = [keys.clone(), values.clone()];
        let queries = group(queries, rows, kv_heads);
        ungroup(attention(queries, seen, self.scale, self.padding.as_ref()), time)
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
    pub(crate) fn of_parts(parts: &[(&Self, Vec<usize>)]) -> Option<Self> {
        let (first, which) = parts.first()?;
        if parts.len() == 1 {
            return Some(first.rows(which));
        }
        let named = parts.iter().flat_map(|(part, which)| which.iter().map(|context| part.lengths[*context]));
        let lengths: Vec<usize> = named.collect();
        let time = lengths.iter().copied().max().unwrap_or(0);
        let layers = (0..first.layers.len()).map(|layer| {
            [0, 1].map(|kind| {
                let rows = |(part, which): &(&Self, Vec<usize>)| {
                    fitted(context_rows(&part.layers[layer][kind], which), time)
                };
                joined(parts.iter().map(rows).collect())
            })
        });
        let layers: KeyValues = layers.collect();
        let padding = padding_mask(&lengths, time, 0, &layers.first()?[0].device());
        Some(Self { layers, scale: first.scale, lengths, padding })
    }
}
