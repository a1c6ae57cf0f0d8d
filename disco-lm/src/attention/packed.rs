//! Packed attention for the gradient: contexts and the sequences that follow them, in one matrix `[tokens, hidden_size]`.
//!
//! All tokens of a batch go through each matmul together. Only attention treats them as sequences, in *groups*; the
//! sequences of a group are padded on the right to the longest of them. The first group holds the contexts. Each sequence
//! of the other groups attends to one context and to itself.

use std::sync::Arc;

use burn::tensor::{Device, IndexingUpdateOp, Tensor};

use crate::{
    architecture::model_config::ModelConfig,
    attention::{
        Attention,
        cross::EncoderOutput,
        mask::AttentionMasks,
        prefix::{append, context_rows},
        relative_bias::RelativeBias,
        sdpa::{attention, attention_backward, by_head, by_token, group, ungroup},
    },
    device::{transfer::indices, workers::map_items},
};

/// Sequences that are padded to one length.
struct Group {
    batch: usize,
    seq_len: usize,
    masks: AttentionMasks,
    /// The index of each sequence's context; `None` for the group of the contexts.
    context_of: Option<Vec<usize>>,
}

impl Group {
    fn tokens(&self) -> usize {
        self.batch * self.seq_len
    }

    /// The keys and values that its queries attend to: those of their contexts, then those of its own sequences.
    fn keys_values(&self, contexts: &[Tensor<4>; 2], own: [Tensor<3>; 2]) -> [Tensor<4>; 2] {
        let own = own.map(|tensor| by_head(tensor, self.batch));
        match &self.context_of {
            Some(context_of) => {
                append(contexts.each_ref().map(|tensor| context_rows(tensor, context_of)), own)
            }
            None => own,
        }
    }
}

/// Backward pass of [`context_rows`]: adds the gradient that each sequence has for its context, `grad_rows`, to `contexts`,
/// the gradients of the contexts.
fn add_context_gradients(contexts: Tensor<4>, context_of: &[usize], grad_rows: Tensor<4>) -> Tensor<4> {
    if contexts.dims()[0] == 1 {
        return contexts + grad_rows.sum_dim(0);
    }
    let rows = indices(context_of.iter().copied(), &contexts.device());
    contexts.select_assign(0, rows, grad_rows, IndexingUpdateOp::Add)
}

/// The attention backend of a packed batch: its groups, in the order of their tokens.
pub(crate) struct PackedAttention {
    config: Arc<ModelConfig>,
    groups: Vec<Group>,
}

impl PackedAttention {
    /// A batch of contexts of the given lengths, without sequences.
    pub(crate) fn new(config: &Arc<ModelConfig>, lengths: &[usize], device: &Device) -> Self {
        let seq_len = lengths.iter().copied().max().unwrap_or(0);
        let masks = AttentionMasks::new(config, &[], 0, seq_len, device);
        let contexts = Group { batch: lengths.len(), seq_len, masks, context_of: None };
        Self { config: config.clone(), groups: vec![contexts] }
    }

    /// Adds a group of sequences of `seq_len` tokens. Sequence `i` follows the context `context_of[i]`; `lengths` are the
    /// lengths of all contexts.
    pub(crate) fn add_group(
        &mut self,
        context_of: Vec<usize>,
        lengths: &[usize],
        seq_len: usize,
        device: &Device,
    ) {
        let context_lengths: Vec<usize> = context_of.iter().map(|context| lengths[*context]).collect();
        let masks =
            AttentionMasks::new(&self.config, &context_lengths, self.groups[0].seq_len, seq_len, device);
        self.groups.push(Group { batch: context_of.len(), seq_len, masks, context_of: Some(context_of) });
    }

    /// Each group with the index of its first token in the batch.
    fn with_starts(&self) -> impl Iterator<Item = (usize, &Group)> {
        let starts = self.groups.iter().scan(0, |next, group| {
            let start = *next;
            *next += group.tokens();
            Some(start)
        });
        starts.zip(&self.groups)
    }

    /// Backward pass: the gradients of queries, keys and values, from `grad_output`, the gradient of the output of attention.
    ///
    /// - queries: `[tokens, heads, head_dim]`, keys and values: `[tokens, kv_heads, head_dim]`; the results likewise
    /// - grad_output: `[tokens, heads * head_dim]`
    pub(crate) fn backward(
        &self,
        layer: usize,
        [queries, keys, values]: [Tensor<3>; 3],
        grad_output: Tensor<2>,
    ) -> [Tensor<3>; 3] {
        let grad_output = grad_output.reshape(queries.dims());
        let contexts = self.context_keys_values(&keys, &values);
        let seq_len = self.groups[0].seq_len;
        let mut grad_contexts = contexts.each_ref().map(Tensor::zeros_like);
        let mut parts: [Vec<Tensor<3>>; 3] = Default::default();
        let groups: Vec<(usize, &Group)> = self.with_starts().collect();
        let backward = |(start, part): &(usize, &Group)| {
            let [queries, keys, values, grad_output] = [&queries, &keys, &values, &grad_output]
                .map(|tensor| tensor.clone().narrow(0, *start, part.tokens()));
            let keys_values = part.keys_values(&contexts, [keys, values]);
            self.group_backward(layer, part, queries, keys_values, grad_output)
        };
        let done = map_items(&keys.device(), &groups, backward);
        // In reverse order, so that the contexts come last: by then the gradients of all sequences have been added to theirs.
        for ((_, part), (grad_queries, grad_keys_values)) in groups.iter().zip(done).rev() {
            parts[0].push(grad_queries);
            for (at, grad_keys_values) in grad_keys_values.into_iter().enumerate() {
                let own = match &part.context_of {
                    Some(context_of) => {
                        let grad_context = grad_keys_values.clone().narrow(2, 0, seq_len);
                        grad_contexts[at] =
                            add_context_gradients(grad_contexts[at].clone(), context_of, grad_context);
                        grad_keys_values.narrow(2, seq_len, part.seq_len)
                    }
                    None => grad_keys_values + grad_contexts[at].clone(),
                };
                parts[1 + at].push(by_token(own));
            }
        }
        parts.map(|parts| Tensor::cat(parts.into_iter().rev().collect(), 0))
    }

    /// Backward pass of one group: the gradient of its queries, `[tokens, heads, head_dim]`, and the gradients of the keys
    /// and values that they attend to, `[batch, kv_heads, kv_len, head_dim]` each.
    fn group_backward(
        &self,
        layer: usize,
        part: &Group,
        queries: Tensor<3>,
        keys_values: [Tensor<4>; 2],
        grad_output: Tensor<3>,
    ) -> (Tensor<3>, [Tensor<4>; 2]) {
        let kv_heads = self.config.kv_heads;
        let shape = queries.dims();
        let [queries, grad_output] = [queries, grad_output].map(|tensor| group(tensor, part.batch, kv_heads));
        let mask = part.masks.mask(layer);
        let [grad_queries, grad_keys, grad_values] =
            attention_backward(queries, keys_values, self.config.attention_scale, mask, grad_output);
        (ungroup(grad_queries, part.seq_len).reshape(shape), [grad_keys, grad_values])
    }

    /// The keys and values of the contexts, `[contexts, kv_heads, seq_len, head_dim]` each.
    fn context_keys_values(&self, keys: &Tensor<3>, values: &Tensor<3>) -> [Tensor<4>; 2] {
        let contexts = &self.groups[0];
        [keys, values].map(|tensor| by_head(tensor.clone().narrow(0, 0, contexts.tokens()), contexts.batch))
    }
}

impl Attention for PackedAttention {
    fn attend(&mut self, layer: usize, queries: Tensor<3>, keys: Tensor<3>, values: Tensor<3>) -> Tensor<2> {
        let contexts = self.context_keys_values(&keys, &values);
        let groups: Vec<(usize, &Group)> = self.with_starts().collect();
        let attend = |(start, part): &(usize, &Group)| {
            let [queries, keys, values] =
                [&queries, &keys, &values].map(|tensor| tensor.clone().narrow(0, *start, part.tokens()));
            let keys_values = part.keys_values(&contexts, [keys, values]);
            let queries = group(queries, part.batch, self.config.kv_heads);
            let mask = part.masks.mask(layer);
            ungroup(attention(queries, keys_values, self.config.attention_scale, Some(mask)), part.seq_len)
        };
        Tensor::cat(map_items(&contexts[0].device(), &groups, attend), 0)
    }

    fn set_position_bias(&mut self, _: &RelativeBias) {
        unreachable!(
            "only models with an encoder have a relative position bias, and their gradient is computed by autodiff"
        );
    }

    fn encoder_output(&self) -> Option<&EncoderOutput> {
        None
    }
}
