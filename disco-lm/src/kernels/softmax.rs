//! The softmax of attention.

use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::kernels::{
    rows_at_once,
    simd::{dot, vectorised},
    values, values_mut,
};

/// With probabilities `p` and their gradient `h`, that of the scores: `p (h - sum(p h))`, by rows.
pub(crate) fn softmax_backward(probabilities: Tensor<4>, grad_probabilities: Tensor<4>) -> Tensor<4> {
    let device = probabilities.device();
    let width = probabilities.dims()[3];
    let (probabilities, mut gradient) = (probabilities.into_data(), grad_probabilities.into_data());
    let block = rows_at_once(width) * width;
    let blocks =
        values_mut(&mut gradient).par_chunks_mut(block).zip(values(&probabilities).par_chunks(block));
    blocks.for_each(|(gradient, probabilities)| {
        vectorised(
            #[inline(always)]
            || {
                for (gradient, probabilities) in gradient.chunks_mut(width).zip(probabilities.chunks(width)) {
                    let mean = dot(gradient, probabilities);
                    gradient.iter_mut().zip(probabilities).for_each(|(h, p)| *h = p * (*h - mean));
                }
            },
        );
    });
    Tensor::from_data(gradient, &device)
}
