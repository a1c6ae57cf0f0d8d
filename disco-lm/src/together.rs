//! Attention for the gradient: contexts and what follows them, in one matrix of tokens.
//!
//! All of a batch's tokens go through the products together. Only attention looks at them as sequences: *groups* of
//! sequences, each padded on the right to its longest. The first group are the contexts; the sequences of the others see
//! one of them each, and themselves.

use std::sync::Arc;

use burn::tensor::{Device, IndexingUpdateOp, Tensor};

use crate::{
    attention::{
        Sights, after, attention, attention_backward, by_head, by_token, context_rows, group, ungroup,
    },
    batches::side_by_side,
    decoder::indices,
    layer::Attend,
    memory::Memory,
    relative::RelativeBias,
    spec::Spec,
};

/// Sequences of one length.
struct Group {
    batch: usize,
    time: usize,
    sights: Sights,
    /// The context of each sequence; nothing for the contexts themselves.
    which: Option<Vec<usize>>,
}

impl Group {
    fn tokens(&self) -> usize {
        self.batch * self.time
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
fn add_rows(contexts: Tensor<4>, which: &[usize], of_rows: Tensor<4>) -> Tensor<4> {
    if contexts.dims()[0] == 1 {
        return contexts + of_rows.sum_dim(0);
    }
    let rows = indices(which.iter().copied(), &contexts.device());
    contexts.select_assign(0, rows, of_rows, IndexingUpdateOp::Add)
}

/// The groups of a batch, in the order of their tokens.
pub(crate) struct Together {
    spec: Arc<Spec>,
    groups: Vec<Group>,
}

impl Together {
    /// Contexts of the given lengths.
    pub(crate) fn new(spec: &Arc<Spec>, lengths: &[usize], device: &Device) -> Self {
        let time = lengths.iter().copied().max().unwrap_or(0);
        let sights = Sights::new(spec, &[], 0, time, device);
        let contexts = Group { batch: lengths.len(), time, sights, which: None };
        Self { spec: spec.clone(), groups: vec![contexts] }
    }

    /// One more group: sequences of `time` tokens, each after the context that `which` names; `lengths` are those of
    /// all contexts.
    pub(crate) fn follow(&mut self, which: Vec<usize>, lengths: &[usize], time: usize, device: &Device) {
        let of_contexts: Vec<usize> = which.iter().map(|context| lengths[*context]).collect();
        let sights = Sights::new(&self.spec, &of_contexts, self.groups[0].time, time, device);
        self.groups.push(Group { batch: which.len(), time, sights, which: Some(which) });
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
    /// - queries: `[tokens, heads, head_width]`, keys and values: `[tokens, kv_heads, head_width]`; so are the results
    /// - of_mixed: `[tokens, heads * head_width]`
    pub(crate) fn backward(
        &self,
        layer: usize,
        [queries, keys, values]: [Tensor<3>; 3],
        of_mixed: Tensor<2>,
    ) -> [Tensor<3>; 3] {
        let of_mixed = of_mixed.reshape(queries.dims());
        let read = self.read(&keys, &values);
        let time = self.groups[0].time;
        let mut of_read = read.each_ref().map(Tensor::zeros_like);
        let mut parts: [Vec<Tensor<3>>; 3] = Default::default();
        let groups: Vec<(usize, &Group)> = self.placed().collect();
        let backward = |(start, part): &(usize, &Group)| {
            let [queries, keys, values, of_mixed] = [&queries, &keys, &values, &of_mixed]
                .map(|tensor| tensor.clone().narrow(0, *start, part.tokens()));
            let seen = part.seen(&read, [keys, values]);
            self.group_backward(layer, part, queries, seen, of_mixed)
        };
        let done = side_by_side(&keys.device(), &groups, backward);
        // The contexts last: by then all has been said of their keys and values.
        for ((_, part), (of_queries, of_seen)) in groups.iter().zip(done).rev() {
            parts[0].push(of_queries);
            for (at, of_seen) in of_seen.into_iter().enumerate() {
                let own = match &part.which {
                    Some(which) => {
                        let of_context = of_seen.clone().narrow(2, 0, time);
                        of_read[at] = add_rows(of_read[at].clone(), which, of_context);
                        of_seen.narrow(2, time, part.time)
                    }
                    None => of_seen + of_read[at].clone(),
                };
                parts[1 + at].push(by_token(own));
            }
        }
        parts.map(|parts| Tensor::cat(parts.into_iter().rev().collect(), 0))
    }

    /// That of the queries by token, those of keys and values `[batch, kv_heads, seen, head_width]`.
    fn group_backward(
        &self,
        layer: usize,
        part: &Group,
        queries: Tensor<3>,
        seen: [Tensor<4>; 2],
        of_mixed: Tensor<3>,
    ) -> (Tensor<3>, [Tensor<4>; 2]) {
        let kv_heads = self.spec.kv_heads;
        let shape = queries.dims();
        let [queries, of_mixed] = [queries, of_mixed].map(|tensor| group(tensor, part.batch, kv_heads));
        let mask = part.sights.mask(layer);
        let [of_queries, of_keys, of_values] =
            attention_backward(queries, seen, self.spec.attention_scale, mask, of_mixed);
        (ungroup(of_queries, part.time).reshape(shape), [of_keys, of_values])
    }

    /// The contexts' keys and values.
    fn read(&self, keys: &Tensor<3>, values: &Tensor<3>) -> [Tensor<4>; 2] {
        let contexts = &self.groups[0];
        [keys, values].map(|tensor| by_head(tensor.clone().narrow(0, 0, contexts.tokens()), contexts.batch))
    }
}

impl Attend for Together {
    fn attend(&mut self, layer: usize, queries: Tensor<3>, keys: Tensor<3>, values: Tensor<3>) -> Tensor<2> {
        let read = self.read(&keys, &values);
        let groups: Vec<(usize, &Group)> = self.placed().collect();
        let attend = |(start, part): &(usize, &Group)| {
            let [queries, keys, values] =
                [&queries, &keys, &values].map(|tensor| tensor.clone().narrow(0, *start, part.tokens()));
            let seen = part.seen(&read, [keys, values]);
            let queries = group(queries, part.batch, self.spec.kv_heads);
            let mask = part.sights.mask(layer);
            ungroup(attention(queries, seen, self.spec.attention_scale, Some(mask)), part.time)
        };
        Tensor::cat(side_by_side(&read[0].device(), &groups, attend), 0)
    }

    fn relate(&mut self, _: &RelativeBias) {
        unreachable!(
            "a bias by distance belongs to models with an encoder, whose gradient is that of one graph"
        );
    }

    fn memory(&self) -> Option<&Memory> {
        None
    }
}
