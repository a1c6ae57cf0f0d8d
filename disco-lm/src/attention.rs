//! Grouped-query attention over whole sequences, and over a shared context.
//!
//! The queries of a group meet the keys of their one key head in one product: queries are laid out as
//! `[batch, kv_heads, group * time, head_width]`, so keys and values are never repeated. Masks are added, with
//! a large negative number for what must not be seen; a row that sees nothing does not occur.

use burn::tensor::{Device, Tensor, TensorData, activation::softmax};

use crate::{
    decoder::indices,
    host,
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
    shares(queries.mul_scalar(scale), keys, mask).matmul(values)
}

/// Which share each key has of each query: `[batch, kv_heads, group * time, seen]`.
fn shares(scaled_queries: Tensor<4>, keys: Tensor<4>, mask: Option<&Tensor<4>>) -> Tensor<4> {
    let scores = scaled_queries.matmul(keys.swap_dims(2, 3));
    let scores = match mask {
        Some(mask) => scores + mask.clone(),
        None => scores,
    };
    softmax(scores, 3)
}

/// The gradients of queries, keys and values, from that of what [`attention`] makes of them. The shares are computed
/// again.
pub(crate) fn attention_backward(
    queries: Tensor<4>,
    [keys, values]: [Tensor<4>; 2],
    scale: f64,
    mask: &Tensor<4>,
    of_mixed: Tensor<4>,
) -> [Tensor<4>; 3] {
    let queries = queries.mul_scalar(scale);
    let shares = shares(queries.clone(), keys.clone(), Some(mask));
    let of_values = shares.clone().swap_dims(2, 3).matmul(of_mixed.clone());
    let of_shares = of_mixed.matmul(values.swap_dims(2, 3));
    let of_scores = softmax_backward(shares, of_shares);
    let of_keys = of_scores.clone().swap_dims(2, 3).matmul(queries);
    [of_scores.matmul(keys).mul_scalar(scale), of_keys, of_values]
}

/// With shares `p` and their gradient `h`, that of the scores is `p (h - sum(p h))`.
fn softmax_backward(shares: Tensor<4>, of_shares: Tensor<4>) -> Tensor<4> {
    if host::holds(&shares) {
        return host::softmax_gradient(shares, of_shares);
    }
    let product = shares.clone() * of_shares;
    product.clone() - shares * product.sum_dim(3)
}

/// The inverse of [`by_head`].
pub(crate) fn by_token(x: Tensor<4>) -> Tensor<3> {
    let [batch, kv_heads, time, width] = x.dims();
    x.swap_dims(1, 2).reshape([batch * time, kv_heads, width])
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
        let layers = self.layers.iter();
        let layers = layers.map(|pair| pair.each_ref().map(|tensor| context_rows(tensor, which)));
        let memory = self.memory.as_ref().map(|memory| memory.rows(which));
        Self { first_layer: self.first_layer, layers: layers.collect(), lengths, memory }
    }

    /// The keys and values of a layer; none if nothing has been read yet.
    fn layer(&self, layer: usize) -> Option<[Tensor<4>; 2]> {
        self.layers.get(layer - self.first_layer).cloned()
    }
}

/// The context of each sequence. A single context is shared, not copied.
pub(crate) fn context_rows(contexts: &Tensor<4>, which: &[usize]) -> Tensor<4> {
    let [count, kv_heads, time, width] = contexts.dims();
    if count == 1 {
        contexts.clone().expand([which.len(), kv_heads, time, width])
    } else {
        select_rows(contexts.clone(), which)
    }
}

/// With so many columns: some that are empty are added, or the last are left out.
pub(crate) fn fitted(part: Tensor<4>, columns: usize) -> Tensor<4> {
    let [rows, kv_heads, time, width] = part.dims();
    if time >= columns {
        return part.narrow(2, 0, columns);
    }
    let empty = Tensor::zeros([rows, kv_heads, columns - time, width], &part.device());
    Tensor::cat(vec![part, empty], 2)
}

/// Rows below each other.
pub(crate) fn joined(mut parts: Vec<Tensor<4>>) -> Tensor<4> {
    if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(parts, 0) }
}

/// What hides the padding of contexts that are shorter than `time`, for `own` further places that all may be seen:
/// `[batch, 1, 1, time + own]`, or nothing if none is shorter.
pub(crate) fn padding_mask(lengths: &[usize], time: usize, own: usize, device: &Device) -> Option<Tensor<4>> {
    if lengths.iter().all(|length| *length == time) {
        return None;
    }
    let row = |length: &usize| {
        let length = *length;
        (0..time + own).map(move |s| if s >= length && s < time { MASKED } else { 0.0 })
    };
    let mask: Vec<f32> = lengths.iter().flat_map(row).collect();
    Some(Tensor::from_data(TensorData::new(mask, [lengths.len(), 1, 1, time + own]), device))
}

/// Keys and values one after the other in time.
pub(crate) fn after(before: [Tensor<4>; 2], own: [Tensor<4>; 2]) -> [Tensor<4>; 2] {
    let [before_keys, before_values] = before;
    let [keys, values] = own;
    [Tensor::cat(vec![before_keys, keys], 2), Tensor::cat(vec![before_values, values], 2)]
}

/// What the tokens of sequences see of their contexts and of themselves, in every layer.
pub(crate) struct Sights {
    /// Broadcast to `[batch, 1, group * time, seen]`.
    mask: Tensor<4>,
    /// For layers with a window, in the place of `mask`.
    local: Option<Local>,
}

impl Sights {
    /// Of sequences of `time` tokens that follow contexts of the given lengths, padded to `before`; none without contexts.
    pub(crate) fn new(spec: &Spec, lengths: &[usize], before: usize, time: usize, device: &Device) -> Self {
        let seen = before + time;
        let mut mask = vec![0.0f32; time * seen];
        for t in 0..time {
            mask[t * seen + before + t + 1..(t + 1) * seen].fill(MASKED);
        }
        let mask = mask.repeat(spec.heads / spec.kv_heads);
        let rows = mask.len() / seen;
        let mask = Tensor::from_data(TensorData::new(mask, [1, 1, rows, seen]), device);
        let mask = match padding_mask(lengths, before, time, device) {
            Some(padding) => mask + padding,
            None => mask,
        };
        Self { mask, local: Local::new(spec, &Sight { lengths, before, queries: time }, device) }
    }

    pub(crate) fn mask(&self, layer: usize) -> &Tensor<4> {
        self.local.as_ref().and_then(|local| local.mask(layer)).unwrap_or(&self.mask)
    }
}

/// Causal attention over sequences of one length, after a context or after nothing.
pub(crate) struct Causal<'a> {
    batch: usize,
    kv_heads: usize,
    scale: f64,
    prefix: Option<&'a Prefix>,
    sights: Sights,
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
        let lengths = prefix.map_or(&[][..], |prefix| &prefix.lengths);
        Self {
            batch,
            kv_heads: spec.kv_heads,
            scale: spec.attention_scale,
            prefix,
            sights: Sights::new(spec, lengths, before, time, device),
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
            Some(before) => after(before, own),
            None => own,
        };
        let queries = group(queries, self.batch, self.kv_heads);
        ungroup(attention(queries, seen, self.scale, Some(self.sights.mask(layer))), time)
    }

    fn relate(&mut self, bias: &RelativeBias) {
        // The bias goes by places: all contexts are start tokens then, and so of one length.
        let before = self.prefix.map_or(0, Prefix::time);
        let seen = self.sights.mask.dims()[3];
        self.sights.mask = self.sights.mask.clone() + bias.between(before..seen, 0..seen);
    }

    fn memory(&self) -> Option<&Memory> {
        self.prefix.and_then(|prefix| prefix.memory.as_ref())
    }
}
