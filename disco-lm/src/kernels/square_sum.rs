//! The sum of squares of a tensor, for the norm of a gradient.

use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use crate::kernels::{
    BLOCK,
    simd::{dot, vectorised},
    values,
};

/// The sum of the squares of a tensor's elements, and the tensor itself, whose memory was taken over to be read without a copy.
pub(crate) fn square_sum(x: Tensor<2>) -> (f64, Tensor<2>) {
    let device = x.device();
    let data: TensorData = x.into_data();
    let square = |block: &[f32]| {
        f64::from(vectorised(
            #[inline(always)]
            || dot(block, block),
        ))
    };
    // Added in the order of the blocks, so that the sum does not depend on the threads.
    let sums: Vec<f64> = values(&data).par_chunks(BLOCK).map(square).collect();
    (sums.iter().sum(), Tensor::from_data(data, &device))
}
