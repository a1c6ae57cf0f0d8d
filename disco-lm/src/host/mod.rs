//! Element-wise work on tensors that lie in the host's memory: one pass, on all threads.
//!
//! Burn's `flex` makes a pass of each operation, on one thread, and calls the system's exponential number by number:
//! drawing 128 sequences of SmolLM2-135M spent 1.9 of 15 seconds on `silu(gate) * up` alone. What is here gives the
//! same numbers to rounding, without copies: `flex` hands a tensor's memory over to whom it is given. Other
//! devices, and graphs of automatic differentiation, take Burn's operations.

mod cache;
mod gate;
#[cfg(feature = "flex")]
mod matrix;
mod norm;
mod optimizer;
mod product;
mod rotation;
mod shares;
mod vector;

use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

pub(crate) use self::{
    cache::HostCache,
    gate::{gated_silu, gated_silu_gradient},
    norm::{rms_norm, rms_norm_gradient},
    optimizer::{adam, square_sum},
    product::{add_product, product},
    rotation::rotate,
    shares::softmax_gradient,
    vector::vectorised,
};

/// Numbers that one thread works on at a time: they stay in the cache.
const BLOCK: usize = 1 << 14;

/// Whether a tensor lies in the host's memory, outside of any graph.
pub(crate) fn holds<const D: usize>(x: &Tensor<D>) -> bool {
    let device = x.device();
    !device.is_autodiff() && is_host(&device)
}

/// Whether a device computes in the host's memory, on the threads of rayon.
pub(crate) fn is_host(device: &Device) -> bool {
    #[cfg(test)]
    if crate::testing::is_elsewhere() {
        return false;
    }
    #[cfg(feature = "flex")]
    {
        *device == Device::flex()
    }
    #[cfg(not(feature = "flex"))]
    {
        let _ = device;
        false
    }
}

/// How many rows of `width` numbers one thread works on at a time.
fn rows_at_once(width: usize) -> usize {
    (BLOCK / width).max(1)
}

/// Changes a tensor row by row, in place if nobody else holds it.
fn by_rows<const D: usize>(
    x: Tensor<D>,
    width: usize,
    change: impl Fn(usize, &mut [f32]) + Sync,
) -> Tensor<D> {
    let device = x.device();
    let mut data = x.into_data();
    let at_once = rows_at_once(width);
    values_mut(&mut data).par_chunks_mut(at_once * width).enumerate().for_each(|(block, rows)| {
        vectorised(
            #[inline(always)]
            || {
                for (row, values) in (block * at_once..).zip(rows.chunks_mut(width)) {
                    change(row, values);
                }
            },
        );
    });
    Tensor::from_data(data, &device)
}

/// The numbers of a tensor of a model.
pub(crate) fn values(data: &TensorData) -> &[f32] {
    data.as_slice().expect("tensors of models hold f32")
}

pub(crate) fn values_mut(data: &mut TensorData) -> &mut [f32] {
    data.as_mut_slice().expect("tensors of models hold f32")
}

#[cfg(test)]
mod tests;
