//! Matrix multiplication, and matrix multiplication that adds to an existing matrix.
//!
//! Burn's `flex` fills the result of a matmul with zeros, copies it for alignment and packs a transposed operand, all on
//! one thread, and it cannot add a matmul to an existing matrix. Matrices in CPU memory are multiplied by
//! [`gemm`](super::gemm) instead.

use burn::tensor::Tensor;

#[cfg(feature = "flex")]
use crate::kernels::gemm;

/// The matmul `x w`. Either operand may be a transposed or narrowed view.
///
/// - x: `[rows, depth]`, w: `[depth, columns]`
/// - returns: `[rows, columns]`
pub(crate) fn matmul(x: Tensor<2>, w: Tensor<2>) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if let Some(result) = gemm::matmul(&x, &w) {
        return result;
    }
    x.matmul(w)
}

/// Adds the matmul `x w` to `sum`; `None` counts as zero. In CPU memory it is added in place if no other handle to `sum`
/// exists.
pub(crate) fn add_matmul(sum: &mut Option<Tensor<2>>, x: Tensor<2>, w: Tensor<2>) {
    #[cfg(feature = "flex")]
    if gemm::add_matmul(sum, &x, &w) {
        return;
    }
    add(sum, Some(matmul(x, w)));
}

/// Adds `part` to the gradient of one parameter; `None` counts as zero.
pub(crate) fn add(sum: &mut Option<Tensor<2>>, part: Option<Tensor<2>>) {
    *sum = match (sum.take(), part) {
        (Some(sum), Some(part)) => Some(sum + part),
        (sum, part) => sum.or(part),
    };
}
