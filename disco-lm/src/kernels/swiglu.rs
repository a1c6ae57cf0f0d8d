//! SwiGLU, `silu(gate) * up`, of rows that hold `gate` and `up` next to each other, and its backward pass.

use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use crate::kernels::{
    exp::{LOWEST, exp},
    rows_at_once,
    simd::vectorised,
    values, values_mut,
};

/// `1 / (1 + exp(-x))`, computed from `exp(-|x|)`, which does not overflow.
#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    let small = exp((-x.abs()).max(LOWEST));
    let numerator = if x < 0.0 { small } else { 1.0 };
    numerator / (1.0 + small)
}

/// `silu(gate) * up` of each row, and `gate_up` itself, which is read without a copy if no other handle to it exists.
///
/// - gate_up: `[rows, 2 * intermediate_size]`
/// - returns: `[rows, intermediate_size]`, and `gate_up`
pub(crate) fn gated_silu(gate_up: Tensor<2>) -> [Tensor<2>; 2] {
    let device = gate_up.device();
    let [rows, columns] = gate_up.dims();
    let intermediate_size = columns / 2;
    let gate_up = gate_up.into_data();
    let mut inner = vec![0.0f32; rows * intermediate_size];
    let block_rows = rows_at_once(intermediate_size);
    let blocks = inner
        .par_chunks_mut(block_rows * intermediate_size)
        .zip(values(&gate_up).par_chunks(block_rows * columns));
    blocks.for_each(|(inner, gate_up)| {
        vectorised(
            #[inline(always)]
            || {
                for (inner, gate_up) in inner.chunks_mut(intermediate_size).zip(gate_up.chunks(columns)) {
                    let (gate, up) = gate_up.split_at(intermediate_size);
                    for ((inner, gate), up) in inner.iter_mut().zip(gate).zip(up) {
                        *inner = gate * sigmoid(*gate) * up;
                    }
                }
            },
        );
    });
    [TensorData::new(inner, [rows, intermediate_size]), gate_up].map(|data| Tensor::from_data(data, &device))
}

/// Backward pass of [`gated_silu`]: its result, computed again, and the gradient of `gate_up`, from `grad_inner`, the
/// gradient of the result.
///
/// With `s` the sigmoid of the gate, the derivative of silu is `s (1 + gate (1 - s))`.
///
/// - gate_up: `[rows, 2 * intermediate_size]`, grad_inner: `[rows, intermediate_size]`
/// - returns: `[rows, intermediate_size]` and `[rows, 2 * intermediate_size]`
pub(crate) fn gated_silu_backward(gate_up: Tensor<2>, grad_inner: Tensor<2>) -> [Tensor<2>; 2] {
    let device = gate_up.device();
    let columns = gate_up.dims()[1];
    let intermediate_size = columns / 2;
    let (mut gate_up, mut inner) = (gate_up.into_data(), grad_inner.into_data());
    let block_rows = rows_at_once(columns);
    let blocks = values_mut(&mut inner)
        .par_chunks_mut(block_rows * intermediate_size)
        .zip(values_mut(&mut gate_up).par_chunks_mut(block_rows * columns));
    blocks.for_each(|(inner, gate_up)| {
        vectorised(
            #[inline(always)]
            || {
                for (inner, gate_up) in inner.chunks_mut(intermediate_size).zip(gate_up.chunks_mut(columns)) {
                    let (gate, up) = gate_up.split_at_mut(intermediate_size);
                    for ((inner, gate), up) in inner.iter_mut().zip(gate).zip(up) {
                        let (grad_inner, s) = (*inner, sigmoid(*gate));
                        let silu = *gate * s;
                        *inner = silu * *up;
                        *gate = grad_inner * *up * (s + silu * (1.0 - s));
                        *up = grad_inner * silu;
                    }
                }
            },
        );
    });
    [inner, gate_up].map(|data| Tensor::from_data(data, &device))
}
