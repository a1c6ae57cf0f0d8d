//! Rotary position embedding.

use burn::tensor::Tensor;

use crate::kernels::{by_rows, values};

/// Rotates the heads of each token: see [`crate::layers::rotary`], which gives the shapes.
pub(crate) fn rotate(x: Tensor<3>, cos: &Tensor<3>, sin: &Tensor<3>) -> Tensor<3> {
    let [_, heads, width] = x.dims();
    let [cos, sin] = [cos, sin].map(Tensor::to_data);
    let [cos, sin] = [values(&cos), values(&sin)];
    by_rows(
        x,
        heads * width,
        #[inline(always)]
        |token, row| {
            let angles = token * width..(token + 1) * width;
            let (cos, sin) = (cos[angles.clone()].split_at(width / 2), sin[angles].split_at(width / 2));
            for head in row.chunks_mut(width) {
                let (first, second) = head.split_at_mut(width / 2);
                for at in 0..width / 2 {
                    let (one, other) = (first[at], second[at]);
                    first[at] = one * cos.0[at] + other * sin.0[at];
                    second[at] = other * cos.1[at] + one * sin.1[at];
                }
            }
        },
    )
}
