//! The KV cache in CPU memory, and attention of one query per row over it.
//!
//! The matmuls of one query with its keys are too small for a library: 128 sequences of SmolLM2-135M have 384 of them in
//! each layer, of 3 rows by 64. Here they are loops over the cache. The keys and values of a context are used where they
//! are, not copied for each sequence. Each row has memory of its own, as large as its tokens need, so that nothing is
//! copied when a row is added or removed.

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

/// The KV cache in CPU memory, of a decoder without an encoder.
pub(crate) struct HostCache {
    config: Arc<ModelConfig>,
    rows: Vec<CacheRow>,
}

/// The keys and values of each layer, `[tokens, kv_heads, head_dim]`.
type LayerKeyValues = Vec<[Vec<f32>; 2]>;

/// The keys and values of a prefilled context.
pub(crate) struct Context {
    length: usize,
    layers: LayerKeyValues,
}

#[derive(Clone)]
struct CacheRow {
    context: Arc<Context>,
    /// The keys and values of the tokens after the context.
    generated: LayerKeyValues,
}

/// The keys and values of some tokens that a query sees: of its context, or of the tokens after the context.
type KeysValues<'a> = [&'a [f32]; 2];

/// The keys and values at `positions` in a layer, of `size` elements each per token.
fn tokens(layers: &LayerKeyValues, layer: usize, positions: Range<usize>, size: usize) -> KeysValues<'_> {
    layers[layer].each_ref().map(|elements| &elements[positions.start * size..positions.end * size])
}

impl CacheRow {
    /// The keys and values that its newest token sees in a layer: of the context, and of the tokens after it.
    fn keys_values(&self, config: &ModelConfig, layer: usize) -> [KeysValues<'_>; 2] {
        let size = config.kv_heads * config.head_dim;
        let length = self.context.length;
        let generated = self.generated[layer][0].len() / size;
        let window = config.window.as_ref().filter(|window| window.layers[layer]);
        let first = window.map_or(0, |window| (length + generated).saturating_sub(window.size));
        let context_tokens = tokens(&self.context.layers, layer, first.min(length)..length, size);
        [context_tokens, tokens(&self.generated, layer, first.saturating_sub(length)..generated, size)]
    }
}

/// Attention of one query of one head: `out = softmax(scale * keys query) values`.
///
/// - query, out: `[head_dim]`
/// - keys_values: keys and values of all heads, `[tokens, stride]` each; the elements of this head begin at `start` in each token
#[inline(always)]
fn attend_one(
    query: &[f32],
    keys_values: [KeysValues<'_>; 2],
    [start, stride]: [usize; 2],
    scale: f32,
    scores: &mut Vec<f32>,
    out: &mut [f32],
) {
    let head_dim = query.len();
    scores.clear();
    scores.resize(keys_values.iter().map(|[keys, _]| keys.len() / stride).sum(), 0.0);
    // Plain loops: the closure of an iterator is compiled separately, for the oldest machine.
    let mut at = 0;
    let mut largest = f32::NEG_INFINITY;
    for [keys, _] in keys_values {
        for token in keys.chunks_exact(stride) {
            let score = scale * dot(query, &token[start..start + head_dim]);
            largest = if score > largest { score } else { largest };
            scores[at] = score;
            at += 1;
        }
    }
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        let x = *score - largest;
        *score = exp(if x > LOWEST { x } else { LOWEST });
        sum += *score;
    }
    out.fill(0.0);
    let mut at = 0;
    for [_, values] in keys_values {
        for token in values.chunks_exact(stride) {
            let weight = scores[at] / sum;
            at += 1;
            for (out, value) in out.iter_mut().zip(&token[start..start + head_dim]) {
                *out += weight * value;
            }
        }
    }
}

impl Attention for HostCache {
    fn attend(&mut self, layer: usize, queries: Tensor<3>, keys: Tensor<3>, new: Tensor<3>) -> Tensor<2> {
        let device = queries.device();
        let [rows, heads, head_dim] = queries.dims();
        let config = &self.config;
        let (group, token) = (heads / config.kv_heads * head_dim, config.kv_heads * head_dim);
        let scale = config.attention_scale as f32;
        let [queries, keys, new] = [queries, keys, new].map(Tensor::into_data);
        let mut output = vec![0.0f32; rows * heads * head_dim];
        let tokens = values(&keys).par_chunks(token).zip(values(&new).par_chunks(token));
        let row_outputs =
            output.par_chunks_mut(heads * head_dim).zip(values(&queries).par_chunks(heads * head_dim));
        let work = self.rows.par_iter_mut().zip(tokens).zip(row_outputs);
        work.for_each_init(Vec::new, |scores, ((row, (key, value)), (output, queries))| {
            for (generated, new) in row.generated[layer].iter_mut().zip([key, value]) {
                generated.extend_from_slice(new);
            }
            let keys_values = row.keys_values(config, layer);
            vectorised(
                #[inline(always)]
                || {
                    let by_heads = output.chunks_mut(group).zip(queries.chunks(group));
                    for (head, (output, queries)) in by_heads.enumerate() {
                        for (output, query) in output.chunks_mut(head_dim).zip(queries.chunks(head_dim)) {
                            attend_one(query, keys_values, [head * head_dim, token], scale, scores, output);
                        }
                    }
                },
            );
        });
        Tensor::from_data(TensorData::new(output, [rows, heads * head_dim]), &device)
    }

    fn set_position_bias(&mut self, _: &RelativeBias) {
        unreachable!("only models with an encoder have a relative position bias");
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
            for (index, context) in contexts.iter_mut().enumerate() {
                context.layers.push(pair.each_ref().map(|data| {
                    let elements = values(data);
                    let token = elements.len() / (prefix.lengths.len() * seq_len);
                    elements[index * seq_len * token..][..context.length * token].to_vec()
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
        // The last use of a row takes the row itself; the others copy it.
        let mut keep = |row: &usize| {
            uses[*row] -= 1;
            if uses[*row] == 0 { old[*row].take() } else { old[*row].clone() }
        };
        let kept = kept.iter().map(|row| keep(row).expect("a row until its last use"));
        let begin =
            |context| CacheRow { context, generated: vec![[Vec::new(), Vec::new()]; self.config.layers] };
        self.rows = kept.chain(new.into_iter().map(begin)).collect();
    }
}
