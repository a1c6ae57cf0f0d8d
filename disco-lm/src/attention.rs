//! Grouped-query attention over whole sequences, over a shared context, and over a growing cache.
//!
//! The queries of a group meet the keys of their one key head in one product: queries are laid out as
//! `[batch, kv_heads, group * time, head_width]`, so keys and values are never repeated. Masks are added, with
//! a large negative number for what must not be seen; a row that sees nothing does not occur.

use burn::tensor::{Device, Tensor, TensorData, activation::softmax};

use crate::{
    decoder::{Attend, indices},
    spec::Spec,
};

/// Added to the score of what must not be seen: far below any score, far above overflow.
const MASKED: f32 = -1e30;

/// The keys and values of every layer, `[batch, kv_heads, time, head_width]` each.
pub(crate) type KeyValues = Vec<[Tensor<4>; 2]>;

/// Scaled dot-product attention.
///
/// - queries: `[batch, kv_heads, group * time, head_width]`
/// - keys, values: `[batch, kv_heads, seen, head_width]`
/// - mask: broadcast to `[batch, kv_heads, group * time, seen]`
fn attention(queries: Tensor<4>, [keys, values]: [Tensor<4>; 2], mask: Option<&Tensor<4>>) -> Tensor<4> {
    let scale = (queries.dims()[3] as f64).sqrt().recip();
    let scores = queries.mul_scalar(scale).matmul(keys.swap_dims(2, 3));
    let scores = match mask {
        Some(mask) => scores + mask.clone(),
        None => scores,
    };
    softmax(scores, 3).matmul(values)
}

/// `[batch * time, heads, width]` to `[batch, kv_heads, group * time, width]`.
fn group(queries: Tensor<3>, batch: usize, kv_heads: usize) -> Tensor<4> {
    let [tokens, heads, width] = queries.dims();
    let [time, group] = [tokens / batch, heads / kv_heads];
    let queries = queries.reshape([batch, time, kv_heads, group, width]);
    queries.permute([0, 2, 3, 1, 4]).reshape([batch, kv_heads, group * time, width])
}

/// The inverse of [`group`], with the heads side by side.
fn ungroup(mixed: Tensor<4>, time: usize) -> Tensor<2> {
    let [batch, kv_heads, rows, width] = mixed.dims();
    let group = rows / time;
    let mixed = mixed.reshape([batch, kv_heads, group, time, width]);
    mixed.permute([0, 3, 1, 2, 4]).reshape([batch * time, kv_heads * group * width])
}

/// `[batch * time, kv_heads, width]` to `[batch, kv_heads, time, width]`.
fn by_head(x: Tensor<3>, batch: usize) -> Tensor<4> {
    let [tokens, kv_heads, width] = x.dims();
    x.reshape([batch, tokens / batch, kv_heads, width]).swap_dims(1, 2)
}

/// Contexts that have been read: their keys and values, padded on the right to the longest.
pub(crate) struct Prefix {
    pub(crate) layers: KeyValues,
    /// The number of tokens of each context.
    pub(crate) lengths: Vec<usize>,
}

impl Prefix {
    /// The longest context.
    pub(crate) fn time(&self) -> usize {
        self.lengths.iter().copied().max().unwrap_or(0)
    }

    /// One row per sequence: the context that `which` names for it. A single context is shared, not copied.
    pub(crate) fn rows(&self, which: &[usize]) -> Self {
        let lengths: Vec<usize> = which.iter().map(|index| self.lengths[*index]).collect();
        let layers = self.layers.iter().map(|pair| {
            pair.each_ref().map(|tensor| {
                let [contexts, kv_heads, time, width] = tensor.dims();
                if contexts == 1 {
                    tensor.clone().expand([which.len(), kv_heads, time, width])
                } else {
                    tensor.clone().select(0, indices(which.iter().copied(), &tensor.device()))
                }
            })
        });
        Self { layers: layers.collect(), lengths }
    }

    /// What hides the padding of shorter contexts, for `own` further places that all may be seen:
    /// `[batch, 1, 1, time + own]`, or nothing if all contexts have the same length.
    pub(crate) fn padding_mask(&self, own: usize, device: &Device) -> Option<Tensor<4>> {
        let time = self.time();
        if self.lengths.iter().all(|length| *length == time) {
            return None;
        }
        let rows = self.lengths.iter();
        let mask: Vec<f32> = rows
            .flat_map(|length| {
                (0..time + own).map(move |s| if s >= *length && s < time { MASKED } else { 0.0 })
            })
            .collect();
        Some(Tensor::from_data(TensorData::new(mask, [self.lengths.len(), 1, 1, time + own]), device))
    }
}

/// Causal attention over sequences of one length, after a context or after nothing.
pub(crate) struct Causal<'a> {
    batch: usize,
    kv_heads: usize,
    prefix: Option<&'a Prefix>,
    mask: Tensor<4>,
    padding: Option<Tensor<4>>,
    /// The sequences' own keys and values, kept if asked for.
    kept: Option<KeyValues>,
}

impl<'a> Causal<'a> {
    /// For `batch` sequences of `time` tokens. `prefix` has a row per sequence.
    pub(crate) fn new(
        spec: &Spec,
        batch: usize,
        time: usize,
        prefix: Option<&'a Prefix>,
        keep: bool,
        device: &Device,
    ) -> Self {
        let before = prefix.map_or(0, Prefix::time);
        let seen = before + time;
        let mut mask = vec![0.0f32; time * seen];
        for t in 0..time {
            mask[t * seen + before + t + 1..(t + 1) * seen].fill(MASKED);
        }
        let mask = mask.repeat(spec.heads / spec.kv_heads);
        let rows = mask.len() / seen;
        Self {
            batch,
            kv_heads: spec.kv_heads,
            prefix,
            mask: Tensor::from_data(TensorData::new(mask, [1, 1, rows, seen]), device),
            padding: prefix.and_then(|prefix| prefix.padding_mask(time, device)),
            kept: keep.then(Vec::new),
        }
    }

    /// The keys and values of the sequences.
    pub(crate) fn into_kept(self) -> KeyValues {
        self.kept.unwrap_or_default()
    }
}

impl Attend for Causal<'_> {
    fn attend(&mut self, layer: usize, queries: Tensor<3>, keys: Tensor<3>, values: Tensor<3>) -> Tensor<2> {
        let time = queries.dims()[0] / self.batch;
        let own = [by_head(keys, self.batch), by_head(values, self.batch)];
        if let Some(kept) = &mut self.kept {
            kept.push(own.clone());
        }
        let seen = match self.prefix {
            Some(prefix) => {
                let [keys, values] = own;
                let [before_keys, before_values] = prefix.layers[layer].clone();
                [Tensor::cat(vec![before_keys, keys], 2), Tensor::cat(vec![before_values, values], 2)]
            }
            None => own,
        };
        let mask = match &self.padding {
            Some(padding) => self.mask.clone() + padding.clone(),
            None => self.mask.clone(),
        };
        ungroup(attention(group(queries, self.batch, self.kv_heads), seen, Some(&mask)), time)
    }
}

/// A cache that grows by one token per sequence and step.
///
/// Room for every step is taken at once, and written in place: Burn copies a tensor on writing only while
/// another handle to it lives, so each is taken out, written and put back.
pub(crate) struct Cache {
    layers: Vec<Option<[Tensor<4>; 2]>>,
    padding: Option<Tensor<4>>,
    kv_heads: usize,
    filled: usize,
}

impl Cache {
    /// A cache that begins with `prefix`, a row per sequence, and has room for `steps` more tokens.
    pub(crate) fn new(prefix: &Prefix, steps: usize, kv_heads: usize, device: &Device) -> Self {
        let layers = prefix.layers.iter().map(|pair| {
            Some(pair.each_ref().map(|tensor| {
                let [batch, kv_heads, time, width] = tensor.dims();
                let room = Tensor::zeros([batch, kv_heads, time + steps, width], device);
                room.slice_assign([0..batch, 0..kv_heads, 0..time, 0..width], tensor.clone())
            }))
        });
        Self {
            layers: layers.collect(),
            padding: prefix.padding_mask(steps, device),
            kv_heads,
            filled: prefix.time(),
        }
    }

    /// To be called once all layers have seen a step.
    pub(crate) fn advance(&mut self) {
        self.filled += 1;
    }

    /// Keeps only the sequences at `rows`.
    pub(crate) fn keep(&mut self, rows: &[usize]) {
        for layer in &mut self.layers {
            *layer = layer.take().map(|pair| pair.map(|tensor| select_rows(tensor, rows)));
        }
        self.padding = self.padding.take().map(|padding| select_rows(padding, rows));
    }
}

fn select_rows(tensor: Tensor<4>, rows: &[usize]) -> Tensor<4> {
    let device = tensor.device();
    tensor.select(0, indices(rows.iter().copied(), &device))
}

impl Attend for Cache {
    fn attend(&mut self, layer: usize, queries: Tensor<3>, keys: Tensor<3>, values: Tensor<3>) -> Tensor<2> {
        let batch = queries.dims()[0];
        let [at, kv_heads] = [self.filled, self.kv_heads];
        let pair = self.layers[layer].take().expect("put back after every step");
        let mut new = [by_head(keys, batch), by_head(values, batch)].into_iter();
        let pair = pair.map(|room| {
            let [_, _, _, width] = room.dims();
            let new = new.next().expect("keys and values");
            room.slice_assign([0..batch, 0..kv_heads, at..at + 1, 0..width], new)
        });
        let seen = pair.each_ref().map(|tensor| tensor.clone().narrow(2, 0, at + 1));
        let mask = self.padding.as_ref().map(|padding| padding.clone().narrow(3, 0, at + 1));
        let mixed = attention(group(queries, batch, kv_heads), seen, mask.as_ref());
        self.layers[layer] = Some(pair);
        ungroup(mixed, 1)
    }
}
