//! Products of matrices, and products that are added to what there is.
//!
//! Burn's `flex` fills the result of a product with zeros, copies it for the sake of its alignment and packs a transposed operand,
//! all on one thread, and cannot add a product to a sum. What lies in the host's memory is multiplied by [`gemm`](super::gemm)
//! instead.

use burn::tensor::Tensor;

#[cfg(feature = "flex")]
use crate::kernels::gemm;

/// The product `x w`, either of which may be a transposed or narrowed view.
pub(crate) fn matmul(x: Tensor<2>, w: Tensor<2>) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if let Some(product) = gemm::matmul(&x, &w) {
        return product;
    }
    x.matmul(w)
}

/// Adds the product `x w` to `sum`, in the host's memory in place if nobody else holds that. No sum is zero.
pub(crate) fn add_matmul(sum: &mut Option<Tensor<2>>, x: Tensor<2>, w: Tensor<2>) {
    #[cfg(feature = "flex")]
    if gemm::add_matmul(sum, &x, &w) {
        return;
    }
    add(sum, Some(matmul(x, w)));
}

/// Adds to one entry of a gradient.
pub(crate) fn add(sum: &mut Option<Tensor<2>>, part: Option<Tensor<2>>) {
    *sum = match (sum.take(), part) {
        (Some(sum), Some(part)) => Some(sum + part),
        (sum, part) => sum.or(part),
    };
}
