//! Kernels for tensors in CPU memory: element-wise operations, operations on rows, and matrix multiplication, on all threads.
//!
//! Burn's `flex` makes one pass over memory for each operation, on one thread, and calls the C library's exponential for
//! each element; for `silu(gate) * up` alone, that took a considerable part of the time of sampling. A kernel makes one pass
//! for several operations, and its results equal Burn's up to rounding. It copies nothing: `flex` hands over the memory of a
//! tensor that has no other handle. Other devices, and tensors on an autodiff graph, use Burn's operations.

pub(crate) mod adam;
pub(crate) mod exp;
#[cfg(feature = "flex")]
pub(crate) mod gemm;
pub(crate) mod matmul;
pub(crate) mod rms_norm;
pub(crate) mod rotary;
pub(crate) mod simd;
pub(crate) mod softmax;
pub(crate) mod square_sum;
pub(crate) mod swiglu;
#[cfg(test)]
mod tests;

use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

pub(crate) use self::{
    matmul::{add, add_matmul, matmul},
    rms_norm::{rms_norm, rms_norm_backward},
    rotary::rotate,
    simd::{dot, vectorised},
    softmax::softmax_backward,
    square_sum::square_sum,
    swiglu::{gated_silu, gated_silu_backward},
};

/// The number of elements that one thread works on at a time: they stay in the cache.
const BLOCK: usize = 1 << 14;

/// The number of rows of `row_len` elements that one thread works on at a time.
fn rows_at_once(row_len: usize) -> usize {
    (BLOCK / row_len).max(1)
}

/// Calls `change` with the index and the elements of each row of `row_len` elements; in place if no other handle to `x` exists.
fn by_rows<const D: usize>(
    x: Tensor<D>,
    row_len: usize,
    change: impl Fn(usize, &mut [f32]) + Sync,
) -> Tensor<D> {
    let device = x.device();
    let mut data = x.into_data();
    let block_rows = rows_at_once(row_len);
    values_mut(&mut data).par_chunks_mut(block_rows * row_len).enumerate().for_each(|(block, rows)| {
        vectorised(
            #[inline(always)]
            || {
                for (row, values) in (block * block_rows..).zip(rows.chunks_mut(row_len)) {
                    change(row, values);
                }
            },
        );
    });
    Tensor::from_data(data, &device)
}

/// The elements of a tensor of a model, in row-major order.
pub(crate) fn values(data: &TensorData) -> &[f32] {
    data.as_slice().expect("tensors of models hold f32")
}

pub(crate) fn values_mut(data: &mut TensorData) -> &mut [f32] {
    data.as_mut_slice().expect("tensors of models hold f32")
}
