//! Rotary position embedding (RoPE) of the heads of each token.

use burn::tensor::Tensor;

use crate::kernels::{by_rows, values};

/// `x * cos + swap_halves(x) * sin` for every head of each token; `sin` has the sign of the rotation.
///
/// - x, returns: `[tokens, heads, head_dim]`
/// - cos, sin: `[tokens, 1, head_dim]`
pub(crate) fn rotate(x: Tensor<3>, cos: &Tensor<3>, sin: &Tensor<3>) -> Tensor<3> {
    let [_, heads, head_dim] = x.dims();
    let [cos, sin] = [cos, sin].map(Tensor::to_data);
    let [cos, sin] = [values(&cos), values(&sin)];
    by_rows(
        x,
        heads * head_dim,
        #[inline(always)]
        |token, row| {
            let angles = token * head_dim..(token + 1) * head_dim;
            let (cos, sin) = (cos[angles.clone()].split_at(head_dim / 2), sin[angles].split_at(head_dim / 2));
            for head in row.chunks_mut(head_dim) {
                let (first, second) = head.split_at_mut(head_dim / 2);
                for i in 0..head_dim / 2 {
                    let (x1, x2) = (first[i], second[i]);
                    first[i] = x1 * cos.0[i] + x2 * sin.0[i];
                    second[i] = x2 * cos.1[i] + x1 * sin.1[i];
                }
            }
        },
    )
}
