//! The KV cache of any device, in tensors of that device.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};

use crate::{
    architecture::model_config::{ModelConfig, Positions},
    attention::{
        Attention,
        cross::EncoderOutput,
        kv_cache::KvCache,
        mask::MASKED,
        prefix::{Prefix, concat_rows, context_rows, fit_seq_len, select_rows},
        relative_bias::RelativeBias,
        sdpa::{attention, by_head, group, ungroup},
    },
};

/// The KV cache of any device.
///
/// Every row has a column for each token of the longest context, then a ring buffer of `steps` columns. At step `t`, all
/// rows write their keys and values into the same column of the ring buffer, column `t` modulo `steps`; the mask hides from
/// a row the columns of the steps before it was added. So a row can be added at any time, and its tokens are not moved
/// until it is removed.
///
/// Columns are written in place. Burn copies a tensor on writing only while another handle to it exists, so each tensor is
/// taken out of its field, written and put back.
pub(crate) struct DeviceCache {
    config: Arc<ModelConfig>,
    device: Device,
    steps: usize,
    rows: Vec<CacheRow>,
    /// `[rows, kv_heads, context_len + steps, head_dim]` each. `None` only while a layer is computed.
    layers: Vec<Option<[Tensor<4>; 2]>>,
    encoder_output: Option<EncoderOutput>,
    /// The length of the longest context.
    context_len: usize,
    /// The number of steps since the cache was made.
    step: usize,
    masks: Masks,
}

#[derive(Clone)]
struct CacheRow {
    /// A prefix, and the index of the row's context in it.
    context: (Arc<Prefix>, usize),
    /// The first step in which the row takes part.
    first_step: usize,
}

impl CacheRow {
    fn context_len(&self) -> usize {
        self.context.0.lengths[self.context.1]
    }
}

/// The attention masks of a step, `[rows, 1 or heads, 1, columns]`; `None` if every row sees every column.
#[derive(Default)]
struct Masks {
    /// For layers without a window.
    full: Option<Tensor<4>>,
    /// For layers with a window.
    windowed: Option<Tensor<4>>,
}

impl DeviceCache {
    /// The number of columns that have been written, with the column of this step.
    fn columns(&self) -> usize {
        self.context_len + self.steps.min(self.step + 1)
    }

    /// For each row and column, how many positions the column's token is before the row's newest token, `[rows, columns]` in
    /// row-major order. `None` if the row must not see the column: padding of its context, and steps before it was added.
    fn distances(&self) -> Vec<Option<usize>> {
        let now = self.step % self.steps;
        let generated = self.columns() - self.context_len;
        let mut distances = Vec::with_capacity(self.rows.len() * self.columns());
        for row in &self.rows {
            let (length, age) = (row.context_len(), self.step - row.first_step);
            let context_distances =
                (0..self.context_len).map(|position| (position < length).then(|| length + age - position));
            let generated_distances = (0..generated).map(|column| {
                let distance = (now + self.steps - column) % self.steps;
                (distance <= age).then_some(distance)
            });
            distances.extend(context_distances.chain(generated_distances));
        }
        distances
    }

    /// The mask that hides tokens without a distance, or at a distance of `size` or more; `None` if nothing is hidden.
    fn mask(&self, distances: &[Option<usize>], size: usize) -> Option<Tensor<4>> {
        let is_seen = |distance: &Option<usize>| distance.is_some_and(|distance| distance < size);
        if distances.iter().all(is_seen) {
            return None;
        }
        let mask: Vec<f32> =
            distances.iter().map(|distance| if is_seen(distance) { 0.0 } else { MASKED }).collect();
        let shape = [self.rows.len(), 1, 1, self.columns()];
        Some(Tensor::from_data(TensorData::new(mask, shape), &self.device))
    }

    /// The runs of consecutive rows whose contexts are in one prefix: the prefix, and the index of each row's context in it.
    fn by_prefix(&self) -> impl Iterator<Item = (&Prefix, Vec<usize>)> {
        let groups = self.rows.chunk_by(|one, other| Arc::ptr_eq(&one.context.0, &other.context.0));
        groups.map(|rows| (&*rows[0].context.0, rows.iter().map(|row| row.context.1).collect()))
    }

    /// The keys (`kind` 0) or values (`kind` 1) of the contexts of all rows in a layer:
    /// `[rows, kv_heads, context_len, head_dim]`.
    fn context_columns(&self, layer: usize, kind: usize) -> Tensor<4> {
        let parts = self.by_prefix().map(|(prefix, context_of)| {
            let part = context_rows(&prefix.layers[layer][kind], &context_of);
            fit_seq_len(part, self.context_len)
        });
        concat_rows(parts.collect())
    }
}

impl Attention for DeviceCache {
    fn attend(&mut self, layer: usize, queries: Tensor<3>, keys: Tensor<3>, values: Tensor<3>) -> Tensor<2> {
        let [batch, kv_heads] = [queries.dims()[0], self.config.kv_heads];
        let has_relative_bias = matches!(self.config.positions, Positions::Relative(_));
        if layer == 0 && !has_relative_bias {
            let distances = self.distances();
            let size = self.config.window.as_ref().map(|window| window.size);
            self.masks = Masks {
                full: self.mask(&distances, usize::MAX),
                windowed: size.and_then(|size| self.mask(&distances, size)),
            };
        }
        let (at, columns) = (self.context_len + self.step % self.steps, self.columns());
        let pair = self.layers[layer].take().expect("put back after every layer");
        let mut new = [by_head(keys, batch), by_head(values, batch)].into_iter();
        let pair = pair.map(|buffer| {
            let [_, _, _, head_dim] = buffer.dims();
            let new = new.next().expect("keys and values");
            buffer.slice_assign([0..batch, 0..kv_heads, at..at + 1, 0..head_dim], new)
        });
        let seen = pair.each_ref().map(|tensor| tensor.clone().narrow(2, 0, columns));
        let mask = match self.config.is_windowed(layer) {
            true => self.masks.windowed.as_ref(),
            false => self.masks.full.as_ref(),
        };
        let output = attention(group(queries, batch, kv_heads), seen, self.config.attention_scale, mask);
        self.layers[layer] = Some(pair);
        if layer + 1 == self.layers.len() {
            self.step += 1;
        }
        ungroup(output, 1)
    }

    fn set_position_bias(&mut self, bias: &RelativeBias) {
        let distances = self.distances();
        // A hidden token gets the bias of distance 0; the mask hides it all the same.
        let known: Vec<usize> = distances.iter().map(|distance| distance.unwrap_or(0)).collect();
        let bias = bias.at(&known, self.rows.len());
        let hidden = self.mask(&distances, usize::MAX);
        self.masks.full = Some(match hidden {
            Some(hidden) => bias + hidden,
            None => bias,
        });
    }

    fn encoder_output(&self) -> Option<&EncoderOutput> {
        self.encoder_output.as_ref()
    }
}

impl KvCache for DeviceCache {
    type Context = (Arc<Prefix>, usize);

    /// Each change of rows copies the cache.
    const COMPACTION_THRESHOLD: f64 = 0.25;

    fn new(config: &Arc<ModelConfig>, steps: usize, device: &Device) -> Self {
        Self {
            config: config.clone(),
            device: device.clone(),
            steps,
            rows: Vec::new(),
            layers: Vec::new(),
            encoder_output: None,
            context_len: 0,
            step: 0,
            masks: Masks::default(),
        }
    }

    fn contexts(prefix: Prefix) -> Vec<Self::Context> {
        let contexts = prefix.lengths.len();
        let prefix = Arc::new(prefix);
        (0..contexts).map(|index| (prefix.clone(), index)).collect()
    }

    fn reorder(&mut self, kept: &[usize], new: Vec<Self::Context>) {
        if new.is_empty() && kept.iter().copied().eq(0..self.rows.len()) {
            return;
        }
        let old_context_len = self.context_len;
        let [count, new_count] = [kept.len(), new.len()];
        let new = new.into_iter().map(|context| CacheRow { context, first_step: self.step });
        self.rows = kept.iter().map(|row| self.rows[*row].clone()).chain(new).collect();
        self.context_len = self.rows.iter().map(CacheRow::context_len).max().unwrap_or(0);
        if self.rows.is_empty() {
            self.layers.clear();
            self.encoder_output = None;
            return;
        }
        if new_count == 0 && self.context_len == old_context_len {
            for layer in &mut self.layers {
                *layer = layer.take().map(|pair| pair.map(|buffer| select_rows(buffer, kept)));
            }
            self.encoder_output = self.encoder_output.take().map(|encoder_output| encoder_output.rows(kept));
            return;
        }
        let shape = |rows| [rows, self.config.kv_heads, self.steps, self.config.head_dim];
        let mut old = std::mem::take(&mut self.layers).into_iter();
        let layers = (0..self.config.layers).map(|layer| {
            let mut old = old.next().flatten().map(|pair| pair.into_iter());
            Some([0, 1].map(|kind| {
                let old = old.as_mut().and_then(Iterator::next).filter(|_| count > 0);
                let generated =
                    old.map(|buffer| select_rows(buffer.narrow(2, old_context_len, self.steps), kept));
                let empty = (new_count > 0).then(|| Tensor::zeros(shape(new_count), &self.device));
                let generated = concat_rows(generated.into_iter().chain(empty).collect());
                Tensor::cat(vec![self.context_columns(layer, kind), generated], 2)
            }))
        });
        self.layers = layers.collect();
        let parts = self
            .by_prefix()
            .filter_map(|(prefix, context_of)| Some((prefix.encoder_output.as_ref()?, context_of)));
        self.encoder_output = EncoderOutput::concatenated(&parts.collect::<Vec<_>>());
    }
}
