//! Grouped-query attention over whole sequences, over a shared context, and over a growing cache.
//!
//! The queries of a group meet the keys of their one key head in one product: queries are laid out as
//! `[batch, kv_heads, group * time, head_width]`, so keys and values are never repeated. Masks are added, with
//! a large negative number for what must not be seen; a row that sees nothing does not occur.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData, activation::softmax};

use crate::{
    decoder::indices,
    layer::Attend,
    memory::Memory,
    relative::RelativeBias,
    spec::Spec,
    window::{Local, Sight},
};

/// Added to the score of what must not be seen: far below any score, far above overflow.
pub(crate) const MASKED: f32 = -1e30;

/// The keys and values of every layer, `[batch, kv_heads, time, head_width]` each.
pub(crate) type KeyValues = Vec<[Tensor<4>; 2]>;

/// Scaled dot-product attention.
///
/// - queries: `[batch, kv_heads, group * time, head_width]`
/// - keys, values: `[batch, kv_heads, seen, head_width]`
/// - mask: broadcast to `[batch, kv_heads, group * time, seen]`
pub(crate) fn attention(
    queries: Tensor<4>,
    [keys, values]: [Tensor<4>; 2],
    scale: f64,
    mask: Option<&Tensor<4>>,
) -> Tensor<4> {
    let scores = queries.mul_scalar(scale).matmul(keys.swap_dims(2, 3));
    let scores = match mask {
        Some(mask) => scores + mask.clone(),
        None => scores,
    };
    softmax(scores, 3).matmul(values)
}

/// `[batch * time, heads, width]` to `[batch, kv_heads, group * time, width]`.
pub(crate) fn group(queries: Tensor<3>, batch: usize, kv_heads: usize) -> Tensor<4> {
    let [tokens, heads, width] = queries.dims();
    let [time, group] = [tokens / batch, heads / kv_heads];
    let queries = queries.reshape([batch, time, kv_heads, group, width]);
    queries.permute([0, 2, 3, 1, 4]).reshape([batch, kv_heads, group * time, width])
}

/// The inverse of [`group`], with the heads side by side.
pub(crate) fn ungroup(mixed: Tensor<4>, time: usize) -> Tensor<2> {
    let [batch, kv_heads, rows, width] = mixed.dims();
    let group = rows / time;
    let mixed = mixed.reshape([batch, kv_heads, group, time, width]);
    mixed.permute([0, 3, 1, 2, 4]).reshape([batch * time, kv_heads * group * width])
}

/// `[batch * time, kv_heads, width]` to `[batch, kv_heads, time, width]`.
pub(crate) fn by_head(x: Tensor<3>, batch: usize) -> Tensor<4> {
    let [tokens, kv_heads, width] = x.dims();
    x.reshape([batch, tokens / batch, kv_heads, width]).swap_dims(1, 2)
}

/// Contexts that have been read: their keys and values, padded on the right to the longest.
pub(crate) struct Prefix {
    /// The layer of the first keys and values.
    pub(crate) first_layer: usize,
    pub(crate) layers: KeyValues,
    /// The number of tokens of each context.
    pub(crate) lengths: Vec<usize>,
    /// What an encoder has read; `layers` are then those of the decoder's start token.
    pub(crate) memory: Option<Memory>,
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
        let memory = self.memory.as_ref().map(|memory| memory.rows(which));
        Self { first_layer: self.first_layer, layers: layers.collect(), lengths, memory }
    }

    /// The keys and values of a layer; none if nothing has been read yet.
    fn layer(&self, layer: usize) -> Option<[Tensor<4>; 2]> {
        self.layers.get(layer - self.first_layer).cloned()
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
    scale: f64,
    prefix: Option<&'a Prefix>,
    mask: Tensor<4>,
    padding: Option<Tensor<4>>,
    /// For layers with a window, instead of both.
    local: Option<Local>,
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
        let lengths = prefix.map_or(&[][..], |prefix| &prefix.lengths);
        let mut mask = vec![0.0f32; time * seen];
        for t in 0..time {
            mask[t * seen + before + t + 1..(t + 1) * seen].fill(MASKED);
        }
        let mask = mask.repeat(spec.heads / spec.kv_heads);
        let rows = mask.len() / seen;
        Self {
            batch,
            kv_heads: spec.kv_heads,
            scale: spec.attention_scale,
            prefix,
            mask: Tensor::from_data(TensorData::new(mask, [1, 1, rows, seen]), device),
            padding: prefix.and_then(|prefix| prefix.padding_mask(time, device)),
            local: Local::new(spec, &Sight { lengths, before, queries: 0..time }, device),
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
        let seen = match self.prefix.and_then(|prefix| prefix.layer(layer)) {
            Some([before_keys, before_values]) => {
                let [keys, values] = own;
                [Tensor::cat(vec![before_keys, keys], 2), Tensor::cat(vec![before_values, values], 2)]
            }
            None => own,
        };
        let mask = match (self.local.as_ref().and_then(|local| local.mask(layer)), &self.padding) {
            (Some(local), _) => local.clone(),
            (None, Some(padding)) => self.mask.clone() + padding.clone(),
            (None, None) => self.mask.clone(),
        };
        let queries = group(queries, self.batch, self.kv_heads);
        ungroup(attention(queries, seen, self.scale, Some(&mask)), time)
    }

    fn relate(&mut self, bias: &RelativeBias) {
        // The bias goes by places: all contexts are start tokens then, and so of one length.
        let before = self.prefix.map_or(0, Prefix::time);
        let seen = self.mask.dims()[3];
        self.mask = self.mask.clone() + bias.between(before..seen, 0..seen);
    }

    fn memory(&self) -> Option<&Memory> {
        self.prefix.and_then(|prefix| prefix.memory.as_ref())
    }
}

/// A cache that grows by one token per sequence and step.
///
/// Room for every step is taken at once, and written in place: Burn copies a tensor on writing only while
/// another handle to it lives, so each is taken out, written and put back.
pub(crate) struct Cache {
    spec: Arc<Spec>,
    layers: Vec<Option<[Tensor<4>; 2]>>,
    padding: Option<Tensor<4>>,
    /// The number of tokens of each row's context.
    lengths: Vec<usize>,
    /// Of this step, for layers with a window.
    local: Option<Local>,
    /// Of this step, by distance.
    bias: Option<Tensor<4>>,
    memory: Option<Memory>,
    before: usize,
    filled: usize,
}

impl Cache {
    /// A cache that begins with `prefix`, a row per sequence, and has room for `steps` more tokens.
    pub(crate) fn new(prefix: &Prefix, steps: usize, spec: &Arc<Spec>, device: &Device) -> Self {
        let layers = prefix.layers.iter().map(|pair| {
            Some(pair.each_ref().map(|tensor| {
                let [batch, kv_heads, time, width] = tensor.dims();
                let room = Tensor::zeros([batch, kv_heads, time + steps, width], device);
                room.slice_assign([0..batch, 0..kv_heads, 0..time, 0..width], tensor.clone())
            }))
        });
        Self {
            spec: spec.clone(),
            layers: layers.collect(),
            padding: prefix.padding_mask(steps, device),
            lengths: prefix.lengths.clone(),
            local: None,
            bias: None,
            memory: prefix.memory.clone(),
            before: prefix.time(),
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
        self.memory = self.memory.take().map(|memory| memory.rows(rows));
        self.lengths = rows.iter().map(|row| self.lengths[*row]).collect();
    }
}

pub(crate) fn select_rows(tensor: Tensor<4>, rows: &[usize]) -> Tensor<4> {
    let device = tensor.device();
    tensor.select(0, indices(rows.iter().copied(), &device))
}

impl Attend for Cache {
    fn attend(&mut self, layer: usize, queries: Tensor<3>, keys: Tensor<3>, values: Tensor<3>) -> Tensor<2> {
        let batch = queries.dims()[0];
        let [at, kv_heads] = [self.filled, self.spec.kv_heads];
        if layer == 0 {
            let step = at - self.before;
            let sight = Sight { lengths: &self.lengths, before: self.before, queries: step..step + 1 };
            self.local = Local::new(&self.spec, &sight, &queries.device());
        }
        let pair = self.layers[layer].take().expect("put back after every step");
        let mut new = [by_head(keys, batch), by_head(values, batch)].into_iter();
        let pair = pair.map(|room| {
            let [_, _, _, width] = room.dims();
            let new = new.next().expect("keys and values");
            room.slice_assign([0..batch, 0..kv_heads, at..at + 1, 0..width], new)
        });
        let seen = pair.each_ref().map(|tensor| tensor.clone().narrow(2, 0, at + 1));
        let padding = self.padding.as_ref().map(|padding| padding.clone().narrow(3, 0, at + 1));
        let mask = match self.local.as_ref().and_then(|local| local.mask(layer)) {
            Some(local) => Some(local.clone()),
            // A stack with a bias has start tokens for contexts, and so no padding.
            None => self.bias.clone().or(padding),
        };
        let queries = group(queries, batch, kv_heads);
        let mixed = attention(queries, seen, self.spec.attention_scale, mask.as_ref());
        self.layers[layer] = Some(pair);
        ungroup(mixed, 1)
    }

    fn relate(&mut self, bias: &RelativeBias) {
        let at = self.filled;
        self.bias = Some(bias.between(at..at + 1, 0..at + 1));
    }

    fn memory(&self) -> Option<&Memory> {
        self.memory.as_ref()
    }
}
