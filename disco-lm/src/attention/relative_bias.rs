//! Relative position bias (Shaw et al. 2018, as T5 simplified it: Raffel et al. 2020, section 2.1).

use std::ops::Range;

use burn::tensor::Tensor;

use crate::{architecture::relative_buckets::Buckets, device::transfer::indices};

/// A learned bias for each head and each bucket of distances, added to the attention scores of every layer of a stack.
pub(crate) struct RelativeBias {
    /// `[buckets, heads]`.
    pub(crate) table: Tensor<2>,
    pub(crate) buckets: Buckets,
    /// Whether keys after a query have buckets of their own, as in an encoder.
    pub(crate) bidirectional: bool,
}

impl RelativeBias {
    /// The bias between positions of queries and positions of keys, `[1, heads, queries, keys]`.
    pub(crate) fn between(&self, queries: Range<usize>, keys: Range<usize>) -> Tensor<4> {
        let [_, heads] = self.table.dims();
        let [rows, columns] = [queries.len(), keys.len()];
        let buckets = queries
            .flat_map(|query| keys.clone().map(move |key| self.buckets.of(query, key, self.bidirectional)));
        let buckets = indices(buckets, &self.table.device());
        let bias = self.table.clone().select(0, buckets).reshape([1, rows, columns, heads]);
        bias.permute([0, 3, 1, 2])
    }

    /// The bias for one query in each row, `[rows, heads, 1, keys]`. `distances` says how many positions each key is before
    /// the query: `[rows, keys]`, in row-major order.
    pub(crate) fn at(&self, distances: &[usize], rows: usize) -> Tensor<4> {
        let [_, heads] = self.table.dims();
        let buckets = distances.iter().map(|distance| self.buckets.of(*distance, 0, self.bidirectional));
        let bias = self.table.clone().select(0, indices(buckets, &self.table.device()));
        bias.reshape([rows, 1, distances.len() / rows, heads]).permute([0, 3, 1, 2])
    }
}
