//! Attention token by token, over keys and values in the host's memory.
//!
//! The products of one query with the keys that it sees are too small for a library's matrix product: 128 sequences of
//! SmolLM2-135M have 384 of them in each layer, of 3 rows by 64. Here they are loops over what lies there, and contexts are
//! read where they are, not copied to each sequence.

use std::{ops::Range, sync::Arc};

use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use super::{values, vector::dot, vectorised};
use crate::{
    attention::Prefix,
    cache::Growing,
    exp::{LOWEST, exp},
    layer::Attend,
    memory::Memory,
    relative::RelativeBias,
    spec::Spec,
};

/// Keys and values that grow by one token per sequence and step, of a decoder without an encoder.
pub(crate) struct HostCache {
    spec: Arc<Spec>,
    layers: Vec<Room>,
    /// The context of each row, and the number of tokens of each context.
    which: Vec<usize>,
    lengths: Vec<usize>,
    /// The longest context.
    before: usize,
    /// For how many tokens each row has room, and how many it has.
    steps: usize,
    filled: usize,
}

/// The keys and values of a layer.
struct Room {
    /// `[contexts, kv_heads, before, head_width]` each.
    contexts: [TensorData; 2],
    /// `[rows, kv_heads, steps, head_width]` each.
    own: [Vec<f32>; 2],
}

impl HostCache {
    /// A cache that begins with the contexts that `which` names, a row each, and has room for `steps` more tokens.
    pub(crate) fn new(prefix: &Prefix, which: Vec<usize>, steps: usize, spec: &Arc<Spec>) -> Self {
        let numbers = which.len() * spec.kv_heads * steps * spec.head_width;
        let layers = prefix.layers.iter().map(|pair| Room {
            contexts: pair.each_ref().map(Tensor::to_data),
            own: [(); 2].map(|()| vec![0.0; numbers]),
        });
        Self {
            spec: spec.clone(),
            layers: layers.collect(),
            which,
            lengths: prefix.lengths.clone(),
            before: prefix.time(),
            steps,
            filled: 0,
        }
    }

    /// What a row sees of its context, and of its own tokens, in a layer.
    fn sight(&self, layer: usize, row: usize) -> [Range<usize>; 2] {
        let length = self.lengths[self.which[row]];
        let now = length + self.filled;
        let window = self.spec.window.as_ref().filter(|window| window.layers[layer]);
        let first = window.map_or(0, |window| (now + 1).saturating_sub(window.size));
        [first.min(length)..length, first.saturating_sub(length)..self.filled + 1]
    }
}

/// The rows `range` of a matrix `[.., width]` that begins at row `start`.
fn part<'a>(numbers: &'a [f32], start: usize, range: &Range<usize>, width: usize) -> &'a [f32] {
    &numbers[(start + range.start) * width..(start + range.end) * width]
}

/// The mean of values, with weights that are a softmax of the scaled products of a query with keys.
///
/// - query, out: `[width]`
/// - keys, values: parts of `[keys, width]`
#[inline(always)]
fn mix(query: &[f32], [keys, values]: [[&[f32]; 2]; 2], scale: f32, scores: &mut Vec<f32>, out: &mut [f32]) {
    let width = query.len();
    scores.clear();
    scores.resize(keys.iter().map(|keys| keys.len() / width).sum(), 0.0);
    // Plain loops: what an iterator's closure does is compiled apart, for the oldest machine.
    let mut at = 0;
    let mut most = f32::NEG_INFINITY;
    for keys in keys {
        for key in keys.chunks_exact(width) {
            let score = scale * dot(query, key);
            most = if score > most { score } else { most };
            scores[at] = score;
            at += 1;
        }
    }
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        let x = *score - most;
        *score = exp(if x > LOWEST { x } else { LOWEST });
        sum += *score;
    }
    out.fill(0.0);
    let mut at = 0;
    for values in values {
        for row in values.chunks_exact(width) {
            let weight = scores[at] / sum;
            at += 1;
            for (out, value) in out.iter_mut().zip(row) {
                *out += weight * value;
            }
        }
    }
}

impl Attend for HostCache {
    fn attend(&mut self, layer: usize, queries: Tensor<3>, keys: Tensor<3>, new: Tensor<3>) -> Tensor<2> {
        let device = queries.device();
        let [rows, heads, width] = queries.dims();
        let kv_heads = self.spec.kv_heads;
        let [queries, keys, new] = [queries, keys, new].map(Tensor::into_data);
        for (own, new) in self.layers[layer].own.iter_mut().zip([&keys, &new]) {
            for (at, new) in values(new).chunks(width).enumerate() {
                let start = (at * self.steps + self.filled) * width;
                own[start..start + width].copy_from_slice(new);
            }
        }
        let room = &self.layers[layer];
        let scale = self.spec.attention_scale as f32;
        let mut mixed = vec![0.0f32; rows * heads * width];
        let of_rows = mixed.par_chunks_mut(heads * width).zip(values(&queries).par_chunks(heads * width));
        of_rows.enumerate().for_each_init(Vec::new, |scores, (row, (mixed, queries))| {
            let [of_context, of_own] = self.sight(layer, row);
            vectorised(
                #[inline(always)]
                || {
                    let of_heads = mixed.chunks_mut(heads / kv_heads * width);
                    let queries = queries.chunks(heads / kv_heads * width);
                    for (head, (mixed, queries)) in of_heads.zip(queries).enumerate() {
                        let context = (self.which[row] * kv_heads + head) * self.before;
                        let own = (row * kv_heads + head) * self.steps;
                        let seen = [0, 1].map(|kind| {
                            [
                                part(values(&room.contexts[kind]), context, &of_context, width),
                                part(&room.own[kind], own, &of_own, width),
                            ]
                        });
                        for (mixed, query) in mixed.chunks_mut(width).zip(queries.chunks(width)) {
                            mix(query, seen, scale, scores, mixed);
                        }
                    }
                },
            );
        });
        Tensor::from_data(TensorData::new(mixed, [rows, heads * width]), &device)
    }

    fn relate(&mut self, _: &RelativeBias) {
        unreachable!("a bias by distance belongs to models with an encoder");
    }

    fn memory(&self) -> Option<&Memory> {
        None
    }
}

impl Growing for HostCache {
    fn advance(&mut self) {
        self.filled += 1;
    }

    fn keep(&mut self, rows: &[usize]) {
        let size = self.spec.kv_heads * self.steps * self.spec.head_width;
        for own in self.layers.iter_mut().flat_map(|room| &mut room.own) {
            *own = rows.iter().flat_map(|row| &own[row * size..(row + 1) * size]).copied().collect();
        }
        self.which = rows.iter().map(|row| self.which[*row]).collect();
    }
}
