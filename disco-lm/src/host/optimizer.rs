//! The optimiser's pass over a parameter.
//!
//! Adam in Burn's operations is twenty passes over the memory of each tensor, one thread each, and four copies of the largest
//! exist at once.

use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use super::{BLOCK, values, values_mut, vector::dot, vectorised};
use crate::adam::AdamStep;

/// One pass over the parameter and its moments, in place where nobody else holds them.
pub(crate) fn adam(step: &AdamStep, parts: [Tensor<2>; 3], gradient: Tensor<2>) -> [Tensor<2>; 3] {
    let device = gradient.device();
    let gradient = gradient.into_data();
    let mut parts = parts.map(Tensor::into_data);
    let [parameter, first, second] = parts.each_mut().map(|data| values_mut(data).par_chunks_mut(BLOCK));
    let blocks = parameter.zip(first).zip(second).zip(values(&gradient).par_chunks(BLOCK));
    blocks.for_each(|(((parameter, first), second), gradient)| {
        vectorised(
            #[inline(always)]
            || block(step, parameter, first, second, gradient),
        );
    });
    parts.map(|data| Tensor::from_data(data, &device))
}

#[inline(always)]
fn block(step: &AdamStep, parameter: &mut [f32], first: &mut [f32], second: &mut [f32], gradient: &[f32]) {
    let [scale, penalty, keep, rate] = [step.scale, step.penalty, step.keep, step.rate].map(|x| x as f32);
    let [beta1, rest1] = [step.beta1, 1.0 - step.beta1].map(|x| x as f32);
    let [beta2, rest2] = [step.beta2, 1.0 - step.beta2].map(|x| x as f32);
    let [correct1, correct2, epsilon] =
        [step.first_correction, step.second_correction, step.epsilon].map(|x| x as f32);
    for (((w, m), v), g) in parameter.iter_mut().zip(first).zip(second).zip(gradient) {
        let g = g * scale + *w * penalty;
        *m = *m * beta1 + g * rest1;
        *v = *v * beta2 + g * g * rest2;
        *w = *w * keep - *m * correct1 / (v.sqrt() * correct2 + epsilon) * rate;
    }
}

/// The sum of the squares of a tensor's numbers, and the tensor again.
pub(crate) fn square_sum(x: Tensor<2>) -> (f64, Tensor<2>) {
    let device = x.device();
    let data: TensorData = x.into_data();
    let square = |block: &[f32]| {
        f64::from(vectorised(
            #[inline(always)]
            || dot(block, block),
        ))
    };
    // Added in order, so that the sum does not depend on the threads.
    let sums: Vec<f64> = values(&data).par_chunks(BLOCK).map(square).collect();
    (sums.iter().sum(), Tensor::from_data(data, &device))
}
