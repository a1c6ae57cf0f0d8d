//! The backward pass of attention's softmax.

use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::kernels::{
    rows_at_once,
    simd::{dot, vectorised},
    values, values_mut,
};

/// The gradient of the scores, `p (h - sum(p h))` for each row, from the attention probabilities `p` and their gradient `h`.
///
/// - probabilities, grad_probabilities, returns: `[batch, kv_heads, group * seq_len, kv_len]`
pub(crate) fn softmax_backward(probabilities: Tensor<4>, grad_probabilities: Tensor<4>) -> Tensor<4> {
    let device = probabilities.device();
    let row_len = probabilities.dims()[3];
    let (probabilities, mut gradient) = (probabilities.into_data(), grad_probabilities.into_data());
    let block = rows_at_once(row_len) * row_len;
    let blocks =
        values_mut(&mut gradient).par_chunks_mut(block).zip(values(&probabilities).par_chunks(block));
    blocks.for_each(|(gradient, probabilities)| {
        vectorised(
            #[inline(always)]
            || {
                for (gradient, probabilities) in
                    gradient.chunks_mut(row_len).zip(probabilities.chunks(row_len))
                {
                    let mean = dot(gradient, probabilities);
                    gradient.iter_mut().zip(probabilities).for_each(|(h, p)| *h = p * (*h - mean));
                }
            },
        );
    });
    Tensor::from_data(gradient, &device)
}
