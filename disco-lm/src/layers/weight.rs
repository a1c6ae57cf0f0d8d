//! A weight in device memory, and everything that is computed with one: the only code that knows the number format of weights.
//!
//! Linear layers, embeddings and the output matrix multiply by a weight through this type alone; norms and biases ask for their
//! elements in f32. A format that takes less memory (bf16, blocks of 8 or 4 bits) is one more variant here and its matmul in
//! [`crate::kernels`]: the frozen matrix beside an adapter is only ever multiplied, in both directions.

use burn::tensor::{Device, Int, Tensor};

use crate::{
    Result,
    device::transfer::{download, upload},
    kernels::matmul,
    layers::low_rank::LowRank,
};

/// A parameter `[rows, columns]` in the format in which it is stored in memory.
#[derive(Clone, Debug)]
pub(crate) enum Weight {
    /// Its elements in f32.
    F32(Tensor<2>),
}

impl Weight {
    /// A weight from its elements, row by row, as a file has them.
    pub(crate) fn from_values(values: Vec<f32>, shape: [usize; 2], device: &Device) -> Self {
        Self::F32(upload(values, shape, device))
    }

    /// `[rows, columns]`.
    pub(crate) fn shape(&self) -> [usize; 2] {
        match self {
            Self::F32(elements) => elements.dims(),
        }
    }

    /// The device that it is on.
    pub(crate) fn device(&self) -> Device {
        match self {
            Self::F32(elements) => elements.device(),
        }
    }

    /// `x W^T`: `[n, columns]` to `[n, rows]`. The forward pass of a linear layer, whose weight is `[out, in]`.
    pub(crate) fn matmul_transposed(&self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::F32(elements) => matmul(x, elements.clone().transpose()),
        }
    }

    /// `x W`: `[n, rows]` to `[n, columns]`. The backward pass of a linear layer, from the gradient of its output.
    pub(crate) fn matmul(&self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::F32(elements) => matmul(x, elements.clone()),
        }
    }

    /// The rows at `indices`, in f32: `[indices, columns]`. An embedding.
    pub(crate) fn rows(&self, indices: Tensor<1, Int>) -> Tensor<2> {
        match self {
            Self::F32(elements) => elements.clone().select(0, indices),
        }
    }

    /// All elements in f32. They share the memory of a weight that is stored in f32.
    pub(crate) fn to_f32(&self) -> Tensor<2> {
        match self {
            Self::F32(elements) => elements.clone(),
        }
    }

    /// The elements in CPU memory, row by row.
    ///
    /// # Errors
    /// If the device cannot be read.
    pub(crate) fn download(&self) -> Result<Vec<f32>> {
        download(self.to_f32())
    }

    /// This weight with a low-rank update added to it: `W + up down`.
    pub(crate) fn merged(&self, update: LowRank) -> Self {
        Self::F32(self.to_f32() + update.up.matmul(update.down))
    }

    /// The elements, for a training step that changes all parameters.
    pub(crate) fn trained_mut(&mut self) -> &mut Tensor<2> {
        match self {
            Self::F32(elements) => elements,
        }
    }
}
