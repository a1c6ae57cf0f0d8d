//! Products of matrices, and products that are added to what there is.
//!
//! Burn's `flex` fills the result of a product with zeros, copies it for the sake of its alignment and packs a transposed operand,
//! all on one thread, and cannot add a product to a sum. What lies in the host's memory is multiplied by [`matrix`](super::matrix)
//! instead.

use burn::tensor::Tensor;

#[cfg(feature = "flex")]
use super::matrix;
use crate::optimizer::add;

/// The product `x w`, either of which may be a transposed or narrowed view.
pub(crate) fn product(x: Tensor<2>, w: Tensor<2>) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if let Some(product) = matrix::product(&x, &w) {
        return product;
    }
    x.matmul(w)
}

/// Adds the product `x w` to `sum`, in the host's memory in place if nobody else holds that. No sum is zero.
pub(crate) fn add_product(sum: &mut Option<Tensor<2>>, x: Tensor<2>, w: Tensor<2>) {
    #[cfg(feature = "flex")]
    if matrix::add_product(sum, &x, &w) {
        return;
    }
    add(sum, Some(product(x, w)));
}
