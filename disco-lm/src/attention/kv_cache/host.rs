//! Attention token by token, over keys and values in the host's memory.
//!
//! The products of one query with the keys that it sees are too small for a library's matrix product: 128 sequences of
//! SmolLM2-135M have 384 of them in each layer, of 3 rows by 64. Here they are loops over what lies there, and contexts are
//! read where they are, not copied to each sequence. Each row has memory of its own, for the tokens that it has: nothing is
//! copied when a row comes or goes.

use std::{ops::Range, sync::Arc};

use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

use crate::{
    architecture::model_config::ModelConfig,
    attention::{
        Attention, cross::EncoderOutput, kv_cache::KvCache, prefix::Prefix, relative_bias::RelativeBias,
        sdpa::by_token,
    },
    kernels::{
        dot,
        exp::{LOWEST, exp},
        values, vectorised,
    },
};

/// Keys and values that grow by one token per row and step, of a decoder without an encoder.
pub(crate) struct HostCache {
    config: Arc<ModelConfig>,
    rows: Vec<CacheRow>,
}

/// The keys and values of each layer, `[tokens, kv_heads, head_dim]`.
type LayerKeyValues = Vec<[Vec<f32>; 2]>;

/// A context that has been read.
pub(crate) struct Context {
    length: usize,
    layers: LayerKeyValues,
}

#[derive(Clone)]
struct CacheRow {
    context: Arc<Context>,
    own: LayerKeyValues,
}

/// What a query sees of a context, or of what follows it: keys, and values.
type Seen<'a> = [&'a [f32]; 2];

/// The tokens at `positions` in a layer. A token has `size` numbers.
fn tokens(layers: &LayerKeyValues, layer: usize, positions: Range<usize>, size: usize) -> Seen<'_> {
    layers[layer].each_ref().map(|numbers| &numbers[positions.start * size..positions.end * size])
}

impl CacheRow {
    /// What its newest token sees in a layer.
    fn seen(&self, config: &ModelConfig, layer: usize) -> [Seen<'_>; 2] {
        let size = config.kv_heads * config.head_dim;
        let length = self.context.length;
        let own = self.own[layer][0].len() / size;
        let window = config.window.as_ref().filter(|window| window.layers[layer]);
        let first = window.map_or(0, |window| (length + own).saturating_sub(window.size));
        let context_tokens = tokens(&self.context.layers, layer, first.min(length)..length, size);
        [context_tokens, tokens(&self.own, layer, first.saturating_sub(length)..own, size)]
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

impl Attention for HostCache {
    fn attend(&mut self, layer: usize, queries: Tensor<3>, keys: Tensor<3>, new: Tensor<3>) -> Tensor<2> {
        let device = queries.device();
        let [rows, heads, width] = queries.dims();
        let config = &self.config;
        let (group, token) = (heads / config.kv_heads * width, config.kv_heads * width);
        let scale = config.attention_scale as f32;
        let [queries, keys, new] = [queries, keys, new].map(Tensor::into_data);
        let mut output = vec![0.0f32; rows * heads * width];
        let tokens = values(&keys).par_chunks(token).zip(values(&new).par_chunks(token));
        let row_outputs =
            output.par_chunks_mut(heads * width).zip(values(&queries).par_chunks(heads * width));
        let work = self.rows.par_iter_mut().zip(tokens).zip(row_outputs);
        work.for_each_init(Vec::new, |scores, ((row, (key, value)), (output, queries))| {
            for (own, new) in row.own[layer].iter_mut().zip([key, value]) {
                own.extend_from_slice(new);
            }
            let seen = row.seen(config, layer);
            vectorised(
                #[inline(always)]
                || {
                    let by_heads = output.chunks_mut(group).zip(queries.chunks(group));
                    for (head, (output, queries)) in by_heads.enumerate() {
                        for (output, query) in output.chunks_mut(width).zip(queries.chunks(width)) {
                            mix(query, seen, [head * width, token], scale, scores, output);
                        }
                    }
                },
            );
        });
        Tensor::from_data(TensorData::new(output, [rows, heads * width]), &device)
    }

    fn set_position_bias(&mut self, _: &RelativeBias) {
        unreachable!("a bias by distance belongs to models with an encoder");
    }

    fn encoder_output(&self) -> Option<&EncoderOutput> {
        None
    }
}

impl KvCache for HostCache {
    type Context = Arc<Context>;

    const COMPACTION_THRESHOLD: f64 = 0.0;

    fn new(config: &Arc<ModelConfig>, _: usize, _: &Device) -> Self {
        Self { config: config.clone(), rows: Vec::new() }
    }

    fn contexts(prefix: Prefix) -> Vec<Self::Context> {
        let seq_len = prefix.seq_len();
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
                    let token = numbers.len() / (prefix.lengths.len() * seq_len);
                    numbers[which * seq_len * token..][..context.length * token].to_vec()
                }));
            }
        }
        contexts.into_iter().map(Arc::new).collect()
    }

    fn reorder(&mut self, kept: &[usize], new: Vec<Self::Context>) {
        let mut uses = vec![0; self.rows.len()];
        for row in kept {
            uses[*row] += 1;
        }
        let mut old: Vec<Option<CacheRow>> = std::mem::take(&mut self.rows).into_iter().map(Some).collect();
        // The last that keeps a row has the row itself.
        let mut keep = |row: &usize| {
            uses[*row] -= 1;
            if uses[*row] == 0 { old[*row].take() } else { old[*row].clone() }
        };
        let kept = kept.iter().map(|row| keep(row).expect("a row until its last use"));
        let begin = |context| CacheRow { context, own: vec![[Vec::new(), Vec::new()]; self.config.layers] };
        self.rows = kept.chain(new.into_iter().map(begin)).collect();
    }
}
