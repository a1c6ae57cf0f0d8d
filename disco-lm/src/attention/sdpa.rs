//! Grouped-query attention over whole sequences, and over a shared context.
//!
//! The queries of a group meet the keys of their one key head in one product: queries are laid out as
//! `[batch, kv_heads, group * seq_len, head_dim]`, so keys and values are never repeated. Masks are added, with
//! a large negative number for what must not be seen; a row that sees nothing does not occur.

use burn::tensor::{Tensor, activation::softmax};

use crate::{device::host::holds, kernels};

/// Scaled dot-product attention.
///
/// - queries: `[batch, kv_heads, group * seq_len, head_dim]`
/// - keys, values: `[batch, kv_heads, seen, head_dim]`
/// - mask: broadcast to `[batch, kv_heads, group * seq_len, seen]`
pub(crate) fn attention(
    queries: Tensor<4>,
    [keys, values]: [Tensor<4>; 2],
    scale: f64,
    mask: Option<&Tensor<4>>,
) -> Tensor<4> {
    probabilities(queries.mul_scalar(scale), keys, mask).matmul(values)
}

/// Which share each key has of each query: `[batch, kv_heads, group * seq_len, seen]`.
fn probabilities(scaled_queries: Tensor<4>, keys: Tensor<4>, mask: Option<&Tensor<4>>) -> Tensor<4> {
    let scores = scaled_queries.matmul(keys.swap_dims(2, 3));
    let scores = match mask {
        Some(mask) => scores + mask.clone(),
        None => scores,
    };
    softmax(scores, 3)
}

/// The gradients of queries, keys and values, from that of what [`attention`] makes of them. The probabilities are computed
/// again.
pub(crate) fn attention_backward(
    queries: Tensor<4>,
    [keys, values]: [Tensor<4>; 2],
    scale: f64,
    mask: &Tensor<4>,
    grad_output: Tensor<4>,
) -> [Tensor<4>; 3] {
    let queries = queries.mul_scalar(scale);
    let probabilities = probabilities(queries.clone(), keys.clone(), Some(mask));
    let grad_values = probabilities.clone().swap_dims(2, 3).matmul(grad_output.clone());
    let grad_probabilities = grad_output.matmul(values.swap_dims(2, 3));
    let grad_scores = softmax_backward(probabilities, grad_probabilities);
    let grad_keys = grad_scores.clone().swap_dims(2, 3).matmul(queries);
    [grad_scores.matmul(keys).mul_scalar(scale), grad_keys, grad_values]
}

/// With probabilities `p` and their gradient `h`, that of the scores is `p (h - sum(p h))`.
fn softmax_backward(probabilities: Tensor<4>, grad_probabilities: Tensor<4>) -> Tensor<4> {
    if holds(&probabilities) {
        return kernels::softmax_backward(probabilities, grad_probabilities);
    }
    let product = probabilities.clone() * grad_probabilities;
    product.clone() - probabilities * product.sum_dim(3)
}

/// The inverse of [`by_head`].
pub(crate) fn by_token(x: Tensor<4>) -> Tensor<3> {
    let [batch, kv_heads, seq_len, width] = x.dims();
    x.swap_dims(1, 2).reshape([batch * seq_len, kv_heads, width])
}

/// `[batch * seq_len, heads, width]` to `[batch, kv_heads, group * seq_len, width]`.
pub(crate) fn group(queries: Tensor<3>, batch: usize, kv_heads: usize) -> Tensor<4> {
    let [tokens, heads, width] = queries.dims();
    let [seq_len, group] = [tokens / batch, heads / kv_heads];
    let queries = queries.reshape([batch, seq_len, kv_heads, group, width]);
    queries.permute([0, 2, 3, 1, 4]).reshape([batch, kv_heads, group * seq_len, width])
}

/// The inverse of [`group`], with the heads side by side.
pub(crate) fn ungroup(output: Tensor<4>, seq_len: usize) -> Tensor<2> {
    let [batch, kv_heads, rows, width] = output.dims();
    let group = rows / seq_len;
    let output = output.reshape([batch, kv_heads, group, seq_len, width]);
    output.permute([0, 3, 1, 2, 4]).reshape([batch * seq_len, kv_heads * group * width])
}

/// `[batch * seq_len, kv_heads, width]` to `[batch, kv_heads, seq_len, width]`.
pub(crate) fn by_head(x: Tensor<3>, batch: usize) -> Tensor<4> {
    let [tokens, kv_heads, width] = x.dims();
    x.reshape([batch, tokens / batch, kv_heads, width]).swap_dims(1, 2)
}
