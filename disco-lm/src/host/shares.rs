//! The softmax of attention.

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::{rows_at_once, values, values_mut, vector::dot, vectorised};

/// With shares `p` and their gradient `h`, that of the scores: `p (h - sum(p h))`, by rows.
pub(crate) fn softmax_gradient(shares: Tensor<4>, of_shares: Tensor<4>) -> Tensor<4> {
    let device = shares.device();
    let width = shares.dims()[3];
    let (shares, mut gradient) = (shares.into_data(), of_shares.into_data());
    let block = rows_at_once(width) * width;
    let blocks = values_mut(&mut gradient).par_chunks_mut(block).zip(values(&shares).par_chunks(block));
    blocks.for_each(|(gradient, shares)| {
        vectorised(
            #[inline(always)]
            || {
                for (gradient, shares) in gradient.chunks_mut(width).zip(shares.chunks(width)) {
                    let mean = dot(gradient, shares);
                    gradient.iter_mut().zip(shares).for_each(|(h, p)| *h = p * (*h - mean));
                }
            },
        );
    });
    Tensor::from_data(gradient, &device)
}
