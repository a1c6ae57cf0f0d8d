//! Scaled dot-product attention with grouped queries, its backward pass, and the layouts of heads.
//!
//! All queries of a group share one key head, and one matmul computes all of their scores: queries are laid out as
//! `[batch, kv_heads, group * seq_len, head_dim]`, so that keys and values are never repeated. Masks are added to the
//! scores, with a large negative number for hidden keys. Every query sees at least one key.

use burn::tensor::{Tensor, activation::softmax};

use crate::{device::host::is_in_cpu_memory, kernels};

/// Scaled dot-product attention: `softmax(scale * queries keys^T + mask) values`.
///
/// - queries, returns: `[batch, kv_heads, group * seq_len, head_dim]`
/// - keys, values: `[batch, kv_heads, kv_len, head_dim]`
/// - mask: broadcast to `[batch, kv_heads, group * seq_len, kv_len]`
pub(crate) fn attention(
    queries: Tensor<4>,
    [keys, values]: [Tensor<4>; 2],
    scale: f64,
    mask: Option<&Tensor<4>>,
) -> Tensor<4> {
    probabilities(queries.mul_scalar(scale), keys, mask).matmul(values)
}

/// The attention probabilities, `[batch, kv_heads, group * seq_len, kv_len]`.
fn probabilities(scaled_queries: Tensor<4>, keys: Tensor<4>, mask: Option<&Tensor<4>>) -> Tensor<4> {
    let scores = scaled_queries.matmul(keys.swap_dims(2, 3));
    let scores = match mask {
        Some(mask) => scores + mask.clone(),
        None => scores,
    };
    softmax(scores, 3)
}

/// Backward pass of [`attention`]: the gradients of queries, keys and values, each of the shape of its tensor. The attention
/// probabilities are computed again instead of saved.
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

/// The gradient of the scores, `p (h - sum(p h))`, from the attention probabilities `p` and their gradient `h`.
fn softmax_backward(probabilities: Tensor<4>, grad_probabilities: Tensor<4>) -> Tensor<4> {
    if is_in_cpu_memory(&probabilities) {
        return kernels::softmax_backward(probabilities, grad_probabilities);
    }
    let weighted = probabilities.clone() * grad_probabilities;
    weighted.clone() - probabilities * weighted.sum_dim(3)
}

/// The inverse of [`by_head`]: `[batch, kv_heads, seq_len, head_dim]` to `[batch * seq_len, kv_heads, head_dim]`.
pub(crate) fn by_token(x: Tensor<4>) -> Tensor<3> {
    let [batch, kv_heads, seq_len, head_dim] = x.dims();
    x.swap_dims(1, 2).reshape([batch * seq_len, kv_heads, head_dim])
}

/// Groups queries by key head: `[batch * seq_len, heads, head_dim]` to `[batch, kv_heads, group * seq_len, head_dim]`.
pub(crate) fn group(queries: Tensor<3>, batch: usize, kv_heads: usize) -> Tensor<4> {
    let [tokens, heads, head_dim] = queries.dims();
    let [seq_len, group] = [tokens / batch, heads / kv_heads];
    let queries = queries.reshape([batch, seq_len, kv_heads, group, head_dim]);
    queries.permute([0, 2, 3, 1, 4]).reshape([batch, kv_heads, group * seq_len, head_dim])
}

/// The inverse of [`group`], with the heads of a token next to each other: `[batch * seq_len, heads * head_dim]`.
pub(crate) fn ungroup(output: Tensor<4>, seq_len: usize) -> Tensor<2> {
    let [batch, kv_heads, rows, head_dim] = output.dims();
    let group = rows / seq_len;
    let output = output.reshape([batch, kv_heads, group, seq_len, head_dim]);
    output.permute([0, 3, 1, 2, 4]).reshape([batch * seq_len, kv_heads * group * head_dim])
}

/// Keys or values by head: `[batch * seq_len, kv_heads, head_dim]` to `[batch, kv_heads, seq_len, head_dim]`.
pub(crate) fn by_head(x: Tensor<3>, batch: usize) -> Tensor<4> {
    let [tokens, kv_heads, head_dim] = x.dims();
    x.reshape([batch, tokens / batch, kv_heads, head_dim]).swap_dims(1, 2)
}
