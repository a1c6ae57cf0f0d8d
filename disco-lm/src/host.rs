//! Element-wise work on tensors that lie in the host's memory: one pass, on all threads.
//!
//! Burn's `flex` makes a pass of each operation, on one thread, and calls the system's exponential number by number:
//! drawing 128 sequences of SmolLM2-135M spent 1.9 of 15 seconds on `silu(gate) * up` alone. What is here gives the
//! same numbers to rounding, without copies: `flex` hands a tensor's memory over to whom it is given. Other
//! devices, and graphs of automatic differentiation, take Burn's operations.

use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use crate::exp::{LOWEST, exp};

/// Numbers that one thread works on at a time: they stay in the cache.
const BLOCK: usize = 1 << 14;

/// Whether a tensor lies in the host's memory, outside of any graph.
pub(crate) fn holds<const D: usize>(x: &Tensor<D>) -> bool {
    #[cfg(feature = "flex")]
    {
        let device = x.device();
        !device.is_autodiff() && device == burn::tensor::Device::flex()
    }
    #[cfg(not(feature = "flex"))]
    {
        let _ = x;
        false
    }
}

/// `x / (1 + exp(-x))`, by the exponential of a number that is not positive.
#[inline(always)]
fn silu(x: f32) -> f32 {
    let small = exp((-x.abs()).max(LOWEST));
    let numerator = if x < 0.0 { x * small } else { x };
    numerator / (1.0 + small)
}

/// `silu(gate) * up`, for rows that hold `gate` and `up` side by side.
///
/// - both: `[rows, 2 * width]`
/// - returns: `[rows, width]`
pub(crate) fn gated_silu(both: Tensor<2>) -> Tensor<2> {
    let device = both.device();
    let [rows, columns] = both.dims();
    let width = columns / 2;
    let both = both.into_data();
    let mut inner = vec![0.0f32; rows * width];
    let at_once = (BLOCK / width).max(1);
    inner.par_chunks_mut(at_once * width).zip(values(&both).par_chunks(at_once * columns)).for_each(
        |(inner, both)| {
            for (inner, both) in inner.chunks_mut(width).zip(both.chunks(columns)) {
                let (gate, up) = both.split_at(width);
                for ((inner, gate), up) in inner.iter_mut().zip(gate).zip(up) {
                    *inner = silu(*gate) * up;
                }
            }
        },
    );
    Tensor::from_data(TensorData::new(inner, [rows, width]), &device)
}

/// `x / sqrt(mean(x^2) + epsilon) * scale`, by rows.
///
/// - x, returns: `[rows, width]`
/// - scale: `[1, width]`
pub(crate) fn rms_norm(x: Tensor<2>, scale: &Tensor<2>, epsilon: f64) -> Tensor<2> {
    let width = x.dims()[1];
    let scale = scale.to_data();
    let scale = values(&scale);
    by_rows(x, width, |_, row| {
        let squares: f32 = row.chunks(64).map(|part| part.iter().map(|x| x * x).sum::<f32>()).sum();
        let factor = (squares / width as f32 + epsilon as f32).sqrt().recip();
        row.iter_mut().zip(scale).for_each(|(x, scale)| *x = *x * factor * scale);
    })
}

/// Rotates the heads of each token: see [`crate::rope::rotate`], which gives the shapes.
pub(crate) fn rotate(x: Tensor<3>, cos: &Tensor<3>, sin: &Tensor<3>) -> Tensor<3> {
    let [_, heads, width] = x.dims();
    let [cos, sin] = [cos, sin].map(Tensor::to_data);
    let [cos, sin] = [values(&cos), values(&sin)];
    by_rows(x, heads * width, |token, row| {
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
    })
}

/// Changes a tensor row by row, in place if nobody else holds it.
fn by_rows<const D: usize>(
    x: Tensor<D>,
    width: usize,
    change: impl Fn(usize, &mut [f32]) + Sync,
) -> Tensor<D> {
    let device = x.device();
    let mut data = x.into_data();
    let numbers = data.as_mut_slice::<f32>().expect("tensors of models hold f32");
    let at_once = (BLOCK / width).max(1);
    numbers.par_chunks_mut(at_once * width).enumerate().for_each(|(block, rows)| {
        for (row, values) in (block * at_once..).zip(rows.chunks_mut(width)) {
            change(row, values);
        }
    });
    Tensor::from_data(data, &device)
}

fn values(data: &TensorData) -> &[f32] {
    data.as_slice().expect("tensors of models hold f32")
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, activation};

    use super::*;

    /// Some numbers, large and small, positive and negative.
    fn some<const D: usize>(shape: [usize; D]) -> Tensor<D> {
        let count: usize = shape.iter().product();
        let numbers: Vec<f32> = (0..count).map(|i| ((i * 7919) % 1009) as f32 / 40.0 - 12.0).collect();
        Tensor::from_data(TensorData::new(numbers, shape), &Device::flex())
    }

    fn assert_close<const D: usize>(one: Tensor<D>, other: Tensor<D>) {
        let [one, other] = [one, other].map(Tensor::into_data);
        for (one, other) in values(&one).iter().zip(values(&other)) {
            assert!((one - other).abs() <= 1e-6 * other.abs().max(1e-3), "{one} is not {other}");
        }
    }

    #[test]
    fn tensors_of_a_graph_are_left_to_burn() {
        assert!(holds(&some([1, 1])));
        assert!(!holds(&some([1, 1]).autodiff()));
    }

    #[test]
    fn the_gate_is_burns() {
        let both = some([5, 2 * 96]);
        let expected = activation::silu(both.clone().narrow(1, 0, 96)) * both.clone().narrow(1, 96, 96);
        assert_close(gated_silu(both), expected);
    }

    #[test]
    fn far_gates_are_finite() {
        let both = TensorData::new(vec![-1e30f32, 1e30, f32::NEG_INFINITY, 1.0, 1.0, 1.0], [1, 6]);
        let inner = gated_silu(Tensor::from_data(both, &Device::flex())).into_data();
        let [far, near, lost] = values(&inner) else { panic!("three numbers") };
        assert!(far.abs() < 1e-7 && *near == 1e30 && lost.is_infinite(), "{far} {near} {lost}");
    }

    #[test]
    fn the_norm_is_its_formula() {
        let (x, scale) = (some([7, 100]), some([1, 100]));
        let mean_square = (x.clone() * x.clone()).mean_dim(1);
        let expected = x.clone() * (mean_square + 1e-5).sqrt().recip() * scale.clone();
        assert_close(rms_norm(x, &scale, 1e-5), expected);
    }

    #[test]
    fn the_rotation_is_its_formula_even_of_a_part() {
        let (x, cos, sin) = (some([6, 5, 8]).narrow(1, 1, 3), some([6, 1, 8]), some([6, 1, 8]));
        let swapped = Tensor::cat(vec![x.clone().narrow(2, 4, 4), x.clone().narrow(2, 0, 4)], 2);
        let expected = x.clone() * cos.clone() + swapped * sin.clone();
        assert_close(rotate(x, &cos, &sin), expected);
    }
}
