//! Transfers between CPU memory and the device.

use std::fmt;

use burn::tensor::{Device, Int, Tensor, TensorData};
use disco_core::Error as CoreError;

use crate::{Error, Result};

/// Uploads indices, `[count]`.
pub(crate) fn indices(values: impl IntoIterator<Item = usize>, device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = values.into_iter().map(|value| value as i32).collect();
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}

/// Uploads the elements of a matrix, in row-major order.
pub(crate) fn upload(values: Vec<f32>, shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Downloads the elements of a tensor, in row-major order.
pub(crate) fn download<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    tensor.try_into_vec_as::<f32>().map_err(unreadable)
}

/// Gives access to the elements of a tensor, in row-major order; without a copy if they are in CPU memory.
pub(crate) fn fetch<const D: usize>(tensor: Tensor<D>) -> Result<TensorData> {
    tensor.try_into_data().map_err(unreadable)
}

fn unreadable(source: impl fmt::Debug) -> Error {
    CoreError::failed("reading from the device", format!("{source:?}")).into()
}

/// Takes a tensor out of `tensor` and leaves a placeholder, so that an operation on it can write in place: no other handle
/// to it exists.
pub(crate) fn take(tensor: &mut Tensor<2>) -> Tensor<2> {
    let placeholder = Tensor::zeros([1, 1], &tensor.device());
    std::mem::replace(tensor, placeholder)
}
