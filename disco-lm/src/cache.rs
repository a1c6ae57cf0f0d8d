//! Attention token by token, over keys and values that grow, of sequences that come and go.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};

use crate::{
    attention::{
        MASKED, Prefix, attention, by_head, context_rows, fitted, group, joined, select_rows, ungroup,
    },
    host,
    layer::Attend,
    memory::Memory,
    relative::RelativeBias,
    spec::{Positions, Spec},
};

/// Keys and values that grow by one token per row and step. A row is a sequence.
pub(crate) trait Growing: Attend {
    /// What a row begins with: a context that has been read. A handle, not a copy.
    type Context: Clone + Send + Sync;

    /// The share of the rows that may have ended before they are worth changing.
    const PATIENCE: f64;

    /// Without rows. A row may have `steps` tokens behind its context.
    fn new(spec: &Arc<Spec>, steps: usize, device: &Device) -> Self;

    /// Contexts that have been read together, each by itself.
    fn contexts(prefix: Prefix) -> Vec<Self::Context>;

    /// From here on the rows are those at `kept`, in this order, and then one for each of `new`. A row may be kept more than
    /// once.
    fn change(&mut self, kept: &[usize], new: Vec<Self::Context>);
}

/// Whether rows are a [`HostCache`](host::HostCache), whose every row is computed by itself. Those of a [`Cache`] are computed
/// together, and what stands in one may show in the last bit of another.
pub(crate) fn is_by_row(spec: &Spec, device: &Device) -> bool {
    host::is_host(device) && spec.encoder.is_none()
}

/// The cache of any device.
///
/// Every row has a column for each token of the longest context, and one for each of `steps` ticks. All rows write a tick's
/// keys and values into the same column, that of tick `t` being `t` modulo `steps`; a row that has come later sees none of the
/// ticks before it. So a row may come at any time, and its tokens stay where they are until it goes.
///
/// Columns are written in place: Burn copies a tensor on writing only while another handle to it lives, so each is taken out,
/// written and put back.
pub(crate) struct Cache {
    spec: Arc<Spec>,
    device: Device,
    steps: usize,
    rows: Vec<Row>,
    /// `[rows, kv_heads, before + steps, head_width]`.
    layers: Vec<Option<[Tensor<4>; 2]>>,
    memory: Option<Memory>,
    /// The longest context.
    before: usize,
    tick: usize,
    masks: Masks,
}

#[derive(Clone)]
struct Row {
    context: (Arc<Prefix>, usize),
    born: usize,
}

impl Row {
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

impl Cache {
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
            let of_context = (0..self.before).map(|place| (place < length).then(|| length + age - place));
            let of_own = (0..own).map(|column| {
                let distance = (now + self.steps - column) % self.steps;
                (distance <= age).then_some(distance)
            });
            distances.extend(of_context.chain(of_own));
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

    /// The contexts of all rows in a layer: `[rows, kv_heads, before, head_width]`.
    fn of_contexts(&self, layer: usize, kind: usize) -> Tensor<4> {
        let parts = self.read_together().map(|(prefix, which)| {
            let part = context_rows(&prefix.layers[layer][kind], &which);
            fitted(part, self.before)
        });
        joined(parts.collect())
    }
}

impl Attend for Cache {
    fn attend(&mut self, layer: usize, queries: Tensor<3>, keys: Tensor<3>, values: Tensor<3>) -> Tensor<2> {
        let [batch, kv_heads] = [queries.dims()[0], self.spec.kv_heads];
        let is_related = matches!(self.spec.positions, Positions::Relative(_));
        if layer == 0 && !is_related {
            let distances = self.distances();
            let size = self.spec.window.as_ref().map(|window| window.size);
            self.masks = Masks {
                global: self.mask(&distances, usize::MAX),
                local: size.and_then(|size| self.mask(&distances, size)),
            };
        }
        let (at, columns) = (self.before + self.tick % self.steps, self.columns());
        let pair = self.layers[layer].take().expect("put back after every step");
        let mut new = [by_head(keys, batch), by_head(values, batch)].into_iter();
        let pair = pair.map(|room| {
            let [_, _, _, width] = room.dims();
            let new = new.next().expect("keys and values");
            room.slice_assign([0..batch, 0..kv_heads, at..at + 1, 0..width], new)
        });
        let seen = pair.each_ref().map(|tensor| tensor.clone().narrow(2, 0, columns));
        let mask = match self.spec.is_windowed(layer) {
            true => self.masks.local.as_ref(),
            false => self.masks.global.as_ref(),
        };
        let mixed = attention(group(queries, batch, kv_heads), seen, self.spec.attention_scale, mask);
        self.layers[layer] = Some(pair);
        if layer + 1 == self.layers.len() {
            self.tick += 1;
        }
        ungroup(mixed, 1)
    }

    fn relate(&mut self, bias: &RelativeBias) {
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

    fn memory(&self) -> Option<&Memory> {
        self.memory.as_ref()
    }
}

impl Growing for Cache {
    type Context = (Arc<Prefix>, usize);

    /// The cache is copied at each change.
    const PATIENCE: f64 = 0.25;

    fn new(spec: &Arc<Spec>, steps: usize, device: &Device) -> Self {
        Self {
            spec: spec.clone(),
            device: device.clone(),
            steps,
            rows: Vec::new(),
            layers: Vec::new(),
            memory: None,
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

    fn change(&mut self, kept: &[usize], new: Vec<Self::Context>) {
        if new.is_empty() && kept.iter().copied().eq(0..self.rows.len()) {
            return;
        }
        let old_before = self.before;
        let [count, new_count] = [kept.len(), new.len()];
        let new = new.into_iter().map(|context| Row { context, born: self.tick });
        self.rows = kept.iter().map(|row| self.rows[*row].clone()).chain(new).collect();
        self.before = self.rows.iter().map(Row::length).max().unwrap_or(0);
        if self.rows.is_empty() {
            self.layers.clear();
            self.memory = None;
            return;
        }
        if new_count == 0 && self.before == old_before {
            for layer in &mut self.layers {
                *layer = layer.take().map(|pair| pair.map(|room| select_rows(room, kept)));
            }
            self.memory = self.memory.take().map(|memory| memory.rows(kept));
            return;
        }
        let shape = |rows| [rows, self.spec.kv_heads, self.steps, self.spec.head_width];
        let mut old = std::mem::take(&mut self.layers).into_iter();
        let layers = (0..self.spec.layers).map(|layer| {
            let mut old = old.next().flatten().map(|pair| pair.into_iter());
            Some([0, 1].map(|kind| {
                let old = old.as_mut().and_then(Iterator::next).filter(|_| count > 0);
                let own = old.map(|room| select_rows(room.narrow(2, old_before, self.steps), kept));
                let empty = (new_count > 0).then(|| Tensor::zeros(shape(new_count), &self.device));
                let own = joined(own.into_iter().chain(empty).collect());
                Tensor::cat(vec![self.of_contexts(layer, kind), own], 2)
            }))
        });
        self.layers = layers.collect();
        let parts = self.read_together().filter_map(|(prefix, which)| Some((prefix.memory.as_ref()?, which)));
        self.memory = Memory::of_parts(&parts.collect::<Vec<_>>());
    }
}

#[cfg(test)]
mod tests;
