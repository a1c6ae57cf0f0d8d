//! Attention token by token, over keys and values in the host's memory.
//!
//! The products of one query with the keys that it sees are too small for a library's matrix product: 128 sequences of
//! SmolLM2-135M have 384 of them in each layer, of 3 rows by 64. Here they are loops over what lies there, and contexts are
//! read where they are, not copied to each sequence. Each row has memory of its own, for the tokens that it has: nothing is
//! copied when a row comes or goes.

use std::{ops::Range, sync::Arc};

use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

use super::{values, vector::dot, vectorised};
use crate::{
    attention::{Prefix, by_token},
    cache::Growing,
    exp::{LOWEST, exp},
    layer::Attend,
    memory::Memory,
    relative::RelativeBias,
    spec::Spec,
};

/// Keys and values that grow by one token per row and step, of a decoder without an encoder.
pub(crate) struct HostCache {
    spec: Arc<Spec>,
    rows: Vec<Row>,
}

/// The keys and values of each layer, `[tokens, kv_heads, head_width]`.
type Layers = Vec<[Vec<f32>; 2]>;

/// A context that has been read.
pub(crate) struct Context {
    length: usize,
    layers: Layers,
}

#[derive(Clone)]
struct Row {
    context: Arc<Context>,
    own: Layers,
}

/// What a query sees of a context, or of what follows it: keys, and values.
type Seen<'a> = [&'a [f32]; 2];

/// The tokens at `places` in a layer. A token has `size` numbers.
fn tokens(layers: &Layers, layer: usize, places: Range<usize>, size: usize) -> Seen<'_> {
    layers[layer].each_ref().map(|numbers| &numbers[places.start * size..places.end * size])
}

impl Row {
    /// What its newest token sees in a layer.
    fn seen(&self, spec: &Spec, layer: usize) -> [Seen<'_>; 2] {
        let size = spec.kv_heads * spec.head_width;
        let length = self.context.length;
        let own = self.own[layer][0].len() / size;
        let window = spec.window.as_ref().filter(|window| window.layers[layer]);
        let first = window.map_or(0, |window| (length + own).saturating_sub(window.size));
        let of_context = tokens(&self.context.layers, layer, first.min(length)..length, size);
        [of_context, tokens(&self.own, layer, first.saturating_sub(length)..own, size)]
    }
}

/// The mean of values, with weights that are a softmax of the scaled products of a query with keys.
///
/// - query, out: `[width]`
/// - seen: keys and values of all heads, `[tokens, stride]` each, of which this head's begin at `start`
#[inline(always)]
fn mix(
    query: &[f32],
    seen: [Seen<'_>; 2],
    [start, stride]: [usize; 2],
    scale: f32,
    scores: &mut Vec<f32>,
    out: &mut [f32],
) {
    let width = query.len();
    scores.clear();
    scores.resize(seen.iter().map(|[keys, _]| keys.len() / stride).sum(), 0.0);
    // Plain loops: what an iterator's closure does is compiled apart, for the oldest machine.
    let mut at = 0;
    let mut most = f32::NEG_INFINITY;
    for [keys, _] in seen {
        for token in keys.chunks_exact(stride) {
            let score = scale * dot(query, &token[start..start + width]);
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
    for [_, values] in seen {
        for token in values.chunks_exact(stride) {
            let weight = scores[at] / sum;
            at += 1;
            for (out, value) in out.iter_mut().zip(&token[start..start + width]) {
                *out += weight * value;
            }
        }
    }
}

impl Attend for HostCache {
    fn attend(&mut self, layer: usize, queries: Tensor<3>, keys: Tensor<3>, new: Tensor<3>) -> Tensor<2> {
        let device = queries.device();
        let [rows, heads, width] = queries.dims();
        let spec = &self.spec;
        let (group, token) = (heads / spec.kv_heads * width, spec.kv_heads * width);
        let scale = spec.attention_scale as f32;
        let [queries, keys, new] = [queries, keys, new].map(Tensor::into_data);
        let mut mixed = vec![0.0f32; rows * heads * width];
        let tokens = values(&keys).par_chunks(token).zip(values(&new).par_chunks(token));
        let of_rows = mixed.par_chunks_mut(heads * width).zip(values(&queries).par_chunks(heads * width));
        let work = self.rows.par_iter_mut().zip(tokens).zip(of_rows);
        work.for_each_init(Vec::new, |scores, ((row, (key, value)), (mixed, queries))| {
            for (own, new) in row.own[layer].iter_mut().zip([key, value]) {
                own.extend_from_slice(new);
            }
            let seen = row.seen(spec, layer);
            vectorised(
                #[inline(always)]
                || {
                    let of_heads = mixed.chunks_mut(group).zip(queries.chunks(group));
                    for (head, (mixed, queries)) in of_heads.enumerate() {
                        for (mixed, query) in mixed.chunks_mut(width).zip(queries.chunks(width)) {
                            mix(query, seen, [head * width, token], scale, scores, mixed);
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
    type Context = Arc<Context>;

    const PATIENCE: f64 = 0.0;

    fn new(spec: &Arc<Spec>, _: usize, _: &Device) -> Self {
        Self { spec: spec.clone(), rows: Vec::new() }
    }

    fn contexts(prefix: Prefix) -> Vec<Self::Context> {
        let time = prefix.time();
        let mut contexts: Vec<Context> = prefix
            .lengths
            .iter()
            .map(|length| Context { length: *length, layers: Vec::with_capacity(prefix.layers.len()) })
            .collect();
        for pair in prefix.layers {
            let pair = pair.map(|tensor| by_token(tensor).into_data());
            for (which, context) in contexts.iter_mut().enumerate() {
                context.layers.push(pair.each_ref().map(|data| {
                    let numbers = values(data);
                    let token = numbers.len() / (prefix.lengths.len() * time);
                    numbers[which * time * token..][..context.length * token].to_vec()
                }));
            }
        }
        contexts.into_iter().map(Arc::new).collect()
    }

    fn change(&mut self, kept: &[usize], new: Vec<Self::Context>) {
        let mut uses = vec![0; self.rows.len()];
        for row in kept {
            uses[*row] += 1;
        }
        let mut old: Vec<Option<Row>> = std::mem::take(&mut self.rows).into_iter().map(Some).collect();
        // The last that keeps a row has the row itself.
        let mut keep = |row: &usize| {
            uses[*row] -= 1;
            if uses[*row] == 0 { old[*row].take() } else { old[*row].clone() }
        };
        let kept = kept.iter().map(|row| keep(row).expect("a row until its last use"));
        let begin = |context| Row { context, own: vec![[Vec::new(), Vec::new()]; self.spec.layers] };
        self.rows = kept.chain(new.into_iter().map(begin)).collect();
    }
}
