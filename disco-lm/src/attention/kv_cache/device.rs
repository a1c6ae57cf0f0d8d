//! Attention token by token, over keys and values that grow, of sequences that come and go.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};

use crate::{
    architecture::model_config::{ModelConfig, Positions},
    attention::{
        Attention,
        cross::EncoderOutput,
        kv_cache::KvCache,
        mask::MASKED,
        prefix::{Prefix, context_rows, fitted, joined, select_rows},
        relative_bias::RelativeBias,
        sdpa::{attention, by_head, group, ungroup},
    },
};

/// The cache of any device.
///
/// Every row has a column for each token of the longest context, and one for each of `steps` ticks. All rows write a tick's
/// keys and values into the same column, that of tick `t` being `t` modulo `steps`; a row that has come later sees none of the
/// ticks before it. So a row may come at any time, and its tokens stay where they are until it goes.
///
/// Columns are written in place: Burn copies a tensor on writing only while another handle to it lives, so each is taken out,
/// written and put back.
pub(crate) struct DeviceCache {
    config: Arc<ModelConfig>,
    device: Device,
    steps: usize,
    rows: Vec<CacheRow>,
    /// `[rows, kv_heads, before + steps, head_dim]`.
    layers: Vec<Option<[Tensor<4>; 2]>>,
    encoder_output: Option<EncoderOutput>,
    /// The longest context.
    before: usize,
    tick: usize,
    masks: Masks,
}

#[derive(Clone)]
struct CacheRow {
    context: (Arc<Prefix>, usize),
    born: usize,
}

impl CacheRow {
    fn length(&self) -> usize {
        self.context.0.lengths[self.context.1]
    }
}

/// What is added to the scores of a tick, `[rows, 1 or heads, 1, columns]`; nothing where every column is seen.
#[derive(Default)]
struct Masks {
    global: Option<Tensor<4>>,
    /// In layers with a window.
    local: Option<Tensor<4>>,
}

impl DeviceCache {
    fn columns(&self) -> usize {
        self.before + self.steps.min(self.tick + 1)
    }

    /// How far back every row has the token of every column, row by row; none for what it does not see: padding, and tokens
    /// that were there before it.
    fn distances(&self) -> Vec<Option<usize>> {
        let now = self.tick % self.steps;
        let own = self.columns() - self.before;
        let mut distances = Vec::with_capacity(self.rows.len() * self.columns());
        for row in &self.rows {
            let (length, age) = (row.length(), self.tick - row.born);
            let context_distances =
                (0..self.before).map(|place| (place < length).then(|| length + age - place));
            let own_distances = (0..own).map(|column| {
                let distance = (now + self.steps - column) % self.steps;
                (distance <= age).then_some(distance)
            });
            distances.extend(context_distances.chain(own_distances));
        }
        distances
    }

    /// Hides what is not seen, or lies `size` or more tokens back; nothing if that is none.
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

    /// The rows that begin in contexts which were read together, as they stand.
    fn read_together(&self) -> impl Iterator<Item = (&Prefix, Vec<usize>)> {
        let groups = self.rows.chunk_by(|one, other| Arc::ptr_eq(&one.context.0, &other.context.0));
        groups.map(|rows| (&*rows[0].context.0, rows.iter().map(|row| row.context.1).collect()))
    }

    /// The contexts of all rows in a layer: `[rows, kv_heads, before, head_dim]`.
    fn context_columns(&self, layer: usize, kind: usize) -> Tensor<4> {
        let parts = self.read_together().map(|(prefix, which)| {
            let part = context_rows(&prefix.layers[layer][kind], &which);
            fitted(part, self.before)
        });
        joined(parts.collect())
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
                global: self.mask(&distances, usize::MAX),
                local: size.and_then(|size| self.mask(&distances, size)),
            };
        }
        let (at, columns) = (self.before + self.tick % self.steps, self.columns());
        let pair = self.layers[layer].take().expect("put back after every step");
        let mut new = [by_head(keys, batch), by_head(values, batch)].into_iter();
        let pair = pair.map(|buffer| {
            let [_, _, _, width] = buffer.dims();
            let new = new.next().expect("keys and values");
            buffer.slice_assign([0..batch, 0..kv_heads, at..at + 1, 0..width], new)
        });
        let seen = pair.each_ref().map(|tensor| tensor.clone().narrow(2, 0, columns));
        let mask = match self.config.is_windowed(layer) {
            true => self.masks.local.as_ref(),
            false => self.masks.global.as_ref(),
        };
        let output = attention(group(queries, batch, kv_heads), seen, self.config.attention_scale, mask);
        self.layers[layer] = Some(pair);
        if layer + 1 == self.layers.len() {
            self.tick += 1;
        }
        ungroup(output, 1)
    }

    fn set_position_bias(&mut self, bias: &RelativeBias) {
        let distances = self.distances();
        // What is not seen has the bias of no distance, and is hidden.
        let known: Vec<usize> = distances.iter().map(|distance| distance.unwrap_or(0)).collect();
        let bias = bias.at(&known, self.rows.len());
        let hidden = self.mask(&distances, usize::MAX);
        self.masks.global = Some(match hidden {
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

    /// The cache is copied at each change.
    const COMPACTION_THRESHOLD: f64 = 0.25;

    fn new(config: &Arc<ModelConfig>, steps: usize, device: &Device) -> Self {
        Self {
            config: config.clone(),
            device: device.clone(),
            steps,
            rows: Vec::new(),
            layers: Vec::new(),
            encoder_output: None,
            before: 0,
            tick: 0,
            masks: Masks::default(),
        }
    }

    fn contexts(prefix: Prefix) -> Vec<Self::Context> {
        let contexts = prefix.lengths.len();
        let prefix = Arc::new(prefix);
        (0..contexts).map(|which| (prefix.clone(), which)).collect()
    }

    fn reorder(&mut self, kept: &[usize], new: Vec<Self::Context>) {
        if new.is_empty() && kept.iter().copied().eq(0..self.rows.len()) {
            return;
        }
        let old_before = self.before;
        let [count, new_count] = [kept.len(), new.len()];
        let new = new.into_iter().map(|context| CacheRow { context, born: self.tick });
        self.rows = kept.iter().map(|row| self.rows[*row].clone()).chain(new).collect();
        self.before = self.rows.iter().map(CacheRow::length).max().unwrap_or(0);
        if self.rows.is_empty() {
            self.layers.clear();
            self.encoder_output = None;
            return;
        }
        if new_count == 0 && self.before == old_before {
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
                let own = old.map(|buffer| select_rows(buffer.narrow(2, old_before, self.steps), kept));
                let empty = (new_count > 0).then(|| Tensor::zeros(shape(new_count), &self.device));
                let own = joined(own.into_iter().chain(empty).collect());
                Tensor::cat(vec![self.context_columns(layer, kind), own], 2)
            }))
        });
        self.layers = layers.collect();
        let parts =
            self.read_together().filter_map(|(prefix, which)| Some((prefix.encoder_output.as_ref()?, which)));
        self.encoder_output = EncoderOutput::concatenated(&parts.collect::<Vec<_>>());
    }
}
