//! Attention for the gradient: contexts and what follows them, in one matrix of tokens.
//!
//! All of a batch's tokens go through the products together. Only attention looks at them as sequences: *groups* of
//! sequences, each padded on the right to its longest. The first group are the contexts; the sequences of the others see
//! one of them each, and themselves.

use std::sync::Arc;

use burn::tensor::{Device, IndexingUpdateOp, Tensor};

use crate::{
    architecture::model_config::ModelConfig,
    attention::{
        Attention,
        cross::EncoderOutput,
        mask::AttentionMasks,
        prefix::{after, context_rows},
        relative_bias::RelativeBias,
        sdpa::{attention, attention_backward, by_head, by_token, group, ungroup},
    },
    device::{transfer::indices, workers::map_items},
};

/// Sequences of one length.
struct Group {
    batch: usize,
    seq_len: usize,
    sights: AttentionMasks,
    /// The context of each sequence; nothing for the contexts themselves.
    which: Option<Vec<usize>>,
}

impl Group {
    fn tokens(&self) -> usize {
        self.batch * self.seq_len
    }

    /// Keys and values of what its tokens see: of their contexts, which are `read`, and their own.
    fn seen(&self, read: &[Tensor<4>; 2], own: [Tensor<3>; 2]) -> [Tensor<4>; 2] {
        let own = own.map(|tensor| by_head(tensor, self.batch));
        match &self.which {
            Some(which) => after(read.each_ref().map(|tensor| context_rows(tensor, which)), own),
            None => own,
        }
    }
}

/// Adds what each sequence says of its context: the inverse of [`context_rows`].
fn add_rows(contexts: Tensor<4>, which: &[usize], grad_rows: Tensor<4>) -> Tensor<4> {
    if contexts.dims()[0] == 1 {
        return contexts + grad_rows.sum_dim(0);
    }
    let rows = indices(which.iter().copied(), &contexts.device());
    contexts.select_assign(0, rows, grad_rows, IndexingUpdateOp::Add)
}

/// The groups of a batch, in the order of their tokens.
pub(crate) struct PackedAttention {
    config: Arc<ModelConfig>,
    groups: Vec<Group>,
}

impl PackedAttention {
    /// Contexts of the given lengths.
    pub(crate) fn new(config: &Arc<ModelConfig>, lengths: &[usize], device: &Device) -> Self {
        let seq_len = lengths.iter().copied().max().unwrap_or(0);
        let sights = AttentionMasks::new(config, &[], 0, seq_len, device);
        let contexts = Group { batch: lengths.len(), seq_len, sights, which: None };
        Self { config: config.clone(), groups: vec![contexts] }
    }

    /// One more group: sequences of `time` tokens, each after the context that `which` names; `lengths` are those of
    /// all contexts.
    pub(crate) fn follow(&mut self, which: Vec<usize>, lengths: &[usize], seq_len: usize, device: &Device) {
        let context_lengths: Vec<usize> = which.iter().map(|context| lengths[*context]).collect();
        let sights =
            AttentionMasks::new(&self.config, &context_lengths, self.groups[0].seq_len, seq_len, device);
        self.groups.push(Group { batch: which.len(), seq_len, sights, which: Some(which) });
    }

    /// Each group with the place of its first token.
    fn placed(&self) -> impl Iterator<Item = (usize, &Group)> {
        let starts = self.groups.iter().scan(0, |next, group| {
            let start = *next;
            *next += group.tokens();
            Some(start)
        });
        starts.zip(&self.groups)
    }

    /// The gradients of queries, keys and values, from that of what attention made of them.
    ///
    /// - queries: `[tokens, heads, head_dim]`, keys and values: `[tokens, kv_heads, head_dim]`; so are the results
    /// - grad_output: `[tokens, heads * head_dim]`
    pub(crate) fn backward(
        &self,
        layer: usize,
        [queries, keys, values]: [Tensor<3>; 3],
        grad_output: Tensor<2>,
    ) -> [Tensor<3>; 3] {
        let grad_output = grad_output.reshape(queries.dims());
        let read = self.read(&keys, &values);
        let seq_len = self.groups[0].seq_len;
        let mut grad_read = read.each_ref().map(Tensor::zeros_like);
        let mut parts: [Vec<Tensor<3>>; 3] = Default::default();
        let groups: Vec<(usize, &Group)> = self.placed().collect();
        let backward = |(start, part): &(usize, &Group)| {
            let [queries, keys, values, grad_output] = [&queries, &keys, &values, &grad_output]
                .map(|tensor| tensor.clone().narrow(0, *start, part.tokens()));
            let seen = part.seen(&read, [keys, values]);
            self.group_backward(layer, part, queries, seen, grad_output)
        };
        let done = map_items(&keys.device(), &groups, backward);
        // The contexts last: by then all has been said of their keys and values.
        for ((_, part), (grad_queries, grad_seen)) in groups.iter().zip(done).rev() {
            parts[0].push(grad_queries);
            for (at, grad_seen) in grad_seen.into_iter().enumerate() {
                let own = match &part.which {
                    Some(which) => {
                        let grad_context = grad_seen.clone().narrow(2, 0, seq_len);
                        grad_read[at] = add_rows(grad_read[at].clone(), which, grad_context);
                        grad_seen.narrow(2, seq_len, part.seq_len)
                    }
                    None => grad_seen + grad_read[at].clone(),
                };
                parts[1 + at].push(by_token(own));
            }
        }
        parts.map(|parts| Tensor::cat(parts.into_iter().rev().collect(), 0))
    }

    /// That of the queries by token, those of keys and values `[batch, kv_heads, seen, head_dim]`.
    fn group_backward(
        &self,
        layer: usize,
        part: &Group,
        queries: Tensor<3>,
        seen: [Tensor<4>; 2],
        grad_output: Tensor<3>,
    ) -> (Tensor<3>, [Tensor<4>; 2]) {
        let kv_heads = self.config.kv_heads;
        let shape = queries.dims();
        let [queries, grad_output] = [queries, grad_output].map(|tensor| group(tensor, part.batch, kv_heads));
        let mask = part.sights.mask(layer);
        let [grad_queries, grad_keys, grad_values] =
            attention_backward(queries, seen, self.config.attention_scale, mask, grad_output);
        (ungroup(grad_queries, part.seq_len).reshape(shape), [grad_keys, grad_values])
    }

    /// The contexts' keys and values.
    fn read(&self, keys: &Tensor<3>, values: &Tensor<3>) -> [Tensor<4>; 2] {
        let contexts = &self.groups[0];
        [keys, values].map(|tensor| by_head(tensor.clone().narrow(0, 0, contexts.tokens()), contexts.batch))
    }
}

impl Attention for PackedAttention {
    fn attend(&mut self, layer: usize, queries: Tensor<3>, keys: Tensor<3>, values: Tensor<3>) -> Tensor<2> {
        let read = self.read(&keys, &values);
        let groups: Vec<(usize, &Group)> = self.placed().collect();
        let attend = |(start, part): &(usize, &Group)| {
            let [queries, keys, values] =
                [&queries, &keys, &values].map(|tensor| tensor.clone().narrow(0, *start, part.tokens()));
            let seen = part.seen(&read, [keys, values]);
            let queries = group(queries, part.batch, self.config.kv_heads);
            let mask = part.sights.mask(layer);
            ungroup(attention(queries, seen, self.config.attention_scale, Some(mask)), part.seq_len)
        };
        Tensor::cat(map_items(&read[0].device(), &groups, attend), 0)
    }

    fn set_position_bias(&mut self, _: &RelativeBias) {
        unreachable!(
            "a bias by distance belongs to models with an encoder, whose gradient is that of one graph"
        );
    }

    fn encoder_output(&self) -> Option<&EncoderOutput> {
        None
    }
}
