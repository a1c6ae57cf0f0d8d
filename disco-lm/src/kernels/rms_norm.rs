//! `x / sqrt(mean(x^2) + epsilon) * scale`, by rows.

use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use crate::kernels::{
    by_rows, rows_at_once,
    simd::{dot, vectorised},
    values, values_mut,
};

/// What a row is multiplied by so that its mean square is one.
#[inline(always)]
fn factor(row: &[f32], epsilon: f64) -> f32 {
    (dot(row, row) / row.len() as f32 + epsilon as f32).sqrt().recip()
}

/// - x, returns: `[rows, width]`
/// - scale: `[1, width]`
pub(crate) fn rms_norm(x: Tensor<2>, scale: &Tensor<2>, epsilon: f64) -> Tensor<2> {
    let width = x.dims()[1];
    let scale = scale.to_data();
    let scale = values(&scale);
    by_rows(
        x,
        width,
        #[inline(always)]
        |_, row| {
            let factor = factor(row, epsilon);
            row.iter_mut().zip(scale).for_each(|(x, scale)| *x = *x * factor * scale);
        },
    )
}

/// The gradient of `x` added to `sum`, and that of the scale, from that of the result.
///
/// With `r` what a row was multiplied by and `h = scale * grad_y`, the gradient of `x` is `r h - x r^3 mean(x h)`; that of
/// the scale is the sum over the rows of `r x grad_y`.
pub(crate) fn rms_norm_backward(
    x: Tensor<2>,
    scale: &Tensor<2>,
    epsilon: f64,
    grad_y: Tensor<2>,
    sum: Tensor<2>,
) -> (Tensor<2>, Tensor<2>) {
    let device = x.device();
    let width = x.dims()[1];
    let [x, grad_y, scale] = [x, grad_y, scale.clone()].map(Tensor::into_data);
    let (x, grad_y, scale) = (values(&x), values(&grad_y), values(&scale));
    let mut sum = sum.into_data();
    let block = rows_at_once(width) * width;
    let blocks =
        values_mut(&mut sum).par_chunks_mut(block).zip(x.par_chunks(block)).zip(grad_y.par_chunks(block));
    let grad_scales: Vec<Vec<f32>> = blocks
        .map(|((sum, x), grad_y)| {
            let mut grad_scale = vec![0.0f32; width];
            let mut scaled = vec![0.0f32; width];
            vectorised(
                #[inline(always)]
                || {
                    let rows = sum.chunks_mut(width).zip(x.chunks(width)).zip(grad_y.chunks(width));
                    for ((sum, x), grad_y) in rows {
                        let r = factor(x, epsilon);
                        for at in 0..width {
                            scaled[at] = scale[at] * grad_y[at];
                            grad_scale[at] += r * x[at] * grad_y[at];
                        }
                        let along = r * r * r * dot(x, &scaled) / width as f32;
                        for at in 0..width {
                            sum[at] += r * scaled[at] - along * x[at];
                        }
                    }
                },
            );
            grad_scale
        })
        .collect();
    // In order, so that the sum does not depend on who was first.
    let mut grad_scale = vec![0.0f32; width];
    for part in grad_scales {
        grad_scale.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
    }
    let grad_scale = Tensor::from_data(TensorData::new(grad_scale, [1, width]), &device);
    (Tensor::from_data(sum, &device), grad_scale)
}
