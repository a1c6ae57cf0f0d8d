//! `silu(gate) * up`, for rows that hold `gate` and `up` side by side.

use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use crate::kernels::{
    exp::{LOWEST, exp},
    rows_at_once,
    simd::vectorised,
    values, values_mut,
};

/// `1 / (1 + exp(-x))`, by the exponential of a number that is not positive.
#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    let small = exp((-x.abs()).max(LOWEST));
    let numerator = if x < 0.0 { small } else { 1.0 };
    numerator / (1.0 + small)
}

/// - both: `[rows, 2 * width]`
/// - returns: `[rows, width]`, and `both` again: where nobody else holds it, it is read without a copy
pub(crate) fn gated_silu(both: Tensor<2>) -> [Tensor<2>; 2] {
    let device = both.device();
    let [rows, columns] = both.dims();
    let width = columns / 2;
    let both = both.into_data();
    let mut inner = vec![0.0f32; rows * width];
    let at_once = rows_at_once(width);
    let blocks = inner.par_chunks_mut(at_once * width).zip(values(&both).par_chunks(at_once * columns));
    blocks.for_each(|(inner, both)| {
        vectorised(
            #[inline(always)]
            || {
                for (inner, both) in inner.chunks_mut(width).zip(both.chunks(columns)) {
                    let (gate, up) = both.split_at(width);
                    for ((inner, gate), up) in inner.iter_mut().zip(gate).zip(up) {
                        *inner = gate * sigmoid(*gate) * up;
                    }
                }
            },
        );
    });
    [TensorData::new(inner, [rows, width]), both].map(|data| Tensor::from_data(data, &device))
}

/// The same again, and the gradient of `both` from that of the result, `grad_inner`.
///
/// With `s` the sigmoid of the gate, the derivative of silu is `s (1 + gate (1 - s))`.
pub(crate) fn gated_silu_backward(both: Tensor<2>, grad_inner: Tensor<2>) -> [Tensor<2>; 2] {
    let device = both.device();
    let columns = both.dims()[1];
    let width = columns / 2;
    let (mut both, mut inner) = (both.into_data(), grad_inner.into_data());
    let at_once = rows_at_once(columns);
    let blocks = values_mut(&mut inner)
        .par_chunks_mut(at_once * width)
        .zip(values_mut(&mut both).par_chunks_mut(at_once * columns));
    blocks.for_each(|(inner, both)| {
        vectorised(
            #[inline(always)]
            || {
                for (inner, both) in inner.chunks_mut(width).zip(both.chunks_mut(columns)) {
                    let (gate, up) = both.split_at_mut(width);
                    for ((inner, gate), up) in inner.iter_mut().zip(gate).zip(up) {
                        let (grad_inner, share) = (*inner, sigmoid(*gate));
                        let active = *gate * share;
                        *inner = active * *up;
                        *gate = grad_inner * *up * (share + active * (1.0 - share));
                        *up = grad_inner * active;
                    }
                }
            },
        );
    });
    [inner, both].map(|data| Tensor::from_data(data, &device))
}
