//! RMSNorm of each row, `y = x / sqrt(mean(x^2) + epsilon) * scale`, and its backward pass.

use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use crate::kernels::{
    by_rows, rows_at_once,
    simd::{dot, vectorised},
    values, values_mut,
};

/// `1 / sqrt(mean(row^2) + epsilon)`: multiplied by it, a row has mean square 1.
#[inline(always)]
fn factor(row: &[f32], epsilon: f64) -> f32 {
    (dot(row, row) / row.len() as f32 + epsilon as f32).sqrt().recip()
}

/// - x, returns: `[rows, row_len]`
/// - scale: `[1, row_len]`
pub(crate) fn rms_norm(x: Tensor<2>, scale: &Tensor<2>, epsilon: f64) -> Tensor<2> {
    let row_len = x.dims()[1];
    let scale = scale.to_data();
    let scale = values(&scale);
    by_rows(
        x,
        row_len,
        #[inline(always)]
        |_, row| {
            let factor = factor(row, epsilon);
            row.iter_mut().zip(scale).for_each(|(x, scale)| *x = *x * factor * scale);
        },
    )
}

/// Backward pass of [`rms_norm`]: from `grad_y`, the gradient of its result, computes `sum + grad_x` and `grad_scale`.
///
/// With `r` the factor of a row and `h = scale * grad_y`, `grad_x` is `r h - x r^3 mean(x h)`; `grad_scale` is the sum over the
/// rows of `r x grad_y`.
///
/// - x, grad_y, sum: `[rows, row_len]`
/// - returns: `[rows, row_len]` and `[1, row_len]`
pub(crate) fn rms_norm_backward(
    x: Tensor<2>,
    scale: &Tensor<2>,
    epsilon: f64,
    grad_y: Tensor<2>,
    sum: Tensor<2>,
) -> (Tensor<2>, Tensor<2>) {
    let device = x.device();
    let row_len = x.dims()[1];
    let [x, grad_y, scale] = [x, grad_y, scale.clone()].map(Tensor::into_data);
    let (x, grad_y, scale) = (values(&x), values(&grad_y), values(&scale));
    let mut sum = sum.into_data();
    let block = rows_at_once(row_len) * row_len;
    let blocks =
        values_mut(&mut sum).par_chunks_mut(block).zip(x.par_chunks(block)).zip(grad_y.par_chunks(block));
    let block_grad_scales: Vec<Vec<f32>> = blocks
        .map(|((sum, x), grad_y)| {
            let mut grad_scale = vec![0.0f32; row_len];
            let mut scaled = vec![0.0f32; row_len];
            vectorised(
                #[inline(always)]
                || {
                    let rows = sum.chunks_mut(row_len).zip(x.chunks(row_len)).zip(grad_y.chunks(row_len));
                    for ((sum, x), grad_y) in rows {
                        let r = factor(x, epsilon);
                        for i in 0..row_len {
                            scaled[i] = scale[i] * grad_y[i];
                            grad_scale[i] += r * x[i] * grad_y[i];
                        }
                        let along = r * r * r * dot(x, &scaled) / row_len as f32;
                        for i in 0..row_len {
                            sum[i] += r * scaled[i] - along * x[i];
                        }
                    }
                },
            );
            grad_scale
        })
        .collect();
    // Added in the order of the blocks, so that the sum does not depend on which thread finished first.
    let mut grad_scale = vec![0.0f32; row_len];
    for part in block_grad_scales {
        grad_scale.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
    }
    let grad_scale = Tensor::from_data(TensorData::new(grad_scale, [1, row_len]), &device);
    (Tensor::from_data(sum, &device), grad_scale)
}
