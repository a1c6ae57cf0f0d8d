//! Matrix products of what lies in the host's memory, by all threads.
//!
//! Every thread computes a part of the result where it belongs.

use burn::{
    backend::{Flex, flex::FlexTensor},
    tensor::{Tensor, TensorData},
};
use ndarray::{ArrayView2, ArrayViewMut2, Axis, ShapeBuilder};

use crate::{device::host::holds, kernels::gemm::blocking::multiply};

mod packing;

mod blocking;

mod rows;

mod microkernel;

/// A thread is not worth waking for fewer multiplications.
const MIN_FLOPS_PER_THREAD: usize = 1 << 21;

/// Parts begin at multiples of this many rows or columns: whole vectors of AVX-512.
const ALIGNED: usize = 16;

/// What becomes of what a result holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Old {
    /// It is written over.
    Replaced,
    /// The product is added to it.
    Kept,
}

/// The first numbers of a buffer that grows to what is asked of it. They are what was left there.
#[inline(always)]
fn first(numbers: usize, buffer: &mut Vec<f32>) -> &mut [f32] {
    if buffer.len() < numbers {
        buffer.resize(numbers, 0.0);
    }
    &mut buffer[..numbers]
}

/// The product `x w` of two matrices in the host's memory; none if one of them is not.
pub(crate) fn matmul(x: &Tensor<2>, w: &Tensor<2>) -> Option<Tensor<2>> {
    let [lent_x, lent_w] = [lent(x)?, lent(w)?];
    let (x_view, w_view) = (matrix(&lent_x)?, matrix(&lent_w)?);
    let shape = [x_view.nrows(), w_view.ncols()];
    let mut result = vec![0.0; shape[0] * shape[1]];
    in_parallel(ArrayViewMut2::from_shape(shape, &mut result).ok()?, Old::Replaced, x_view, w_view);
    Some(Tensor::from_data(TensorData::new(result, shape), &x.device()))
}

/// Adds the product `x w` to `sum`, in place if nobody else holds that; whether it could, as all three lie in the host's memory.
pub(crate) fn add_matmul(sum: &mut Option<Tensor<2>>, x: &Tensor<2>, w: &Tensor<2>) -> bool {
    let (Some(mut lent_sum), Some(lent_x), Some(lent_w)) = (sum.as_ref().and_then(lent), lent(x), lent(w))
    else {
        return false;
    };
    let (true, Some(x_view), Some(w_view)) = (is_whole(&lent_sum), matrix(&lent_x), matrix(&lent_w)) else {
        return false;
    };
    *sum = None;
    let shape = [x_view.nrows(), w_view.ncols()];
    let result = ArrayViewMut2::from_shape(shape, lent_sum.storage_mut());
    in_parallel(result.expect("a sum has the shape of what is added"), Old::Kept, x_view, w_view);
    *sum = Some(Tensor::from_primitive::<Flex>(lent_sum));
    true
}

/// What a tensor holds, if that is in the host's memory.
fn lent(tensor: &Tensor<2>) -> Option<FlexTensor> {
    if holds(tensor) { tensor.clone().try_into_primitive::<Flex>().ok() } else { None }
}

/// Whether a tensor's numbers are all that is stored with it, in their order.
fn is_whole(tensor: &FlexTensor) -> bool {
    tensor.as_slice::<f32>().is_some_and(|numbers| numbers.len() == tensor.storage::<f32>().len())
}

/// A tensor as a matrix, unless it is empty, or neither rows nor columns lie together.
fn matrix(tensor: &FlexTensor) -> Option<ArrayView2<'_, f32>> {
    let layout = tensor.layout();
    let [rows, columns] = layout.shape().dims();
    let stride = |dimension: usize| usize::try_from(layout.strides()[dimension]).ok();
    let strides = [stride(0)?, stride(1)?];
    if rows == 0 || columns == 0 || !strides.contains(&1) {
        return None;
    }
    let numbers = &tensor.storage()[layout.start_offset()..];
    ArrayView2::from_shape([rows, columns].strides(strides), numbers).ok()
}

fn in_parallel(result: ArrayViewMut2<'_, f32>, old: Old, x: ArrayView2<'_, f32>, w: ArrayView2<'_, f32>) {
    let work = x.nrows() * x.ncols() * w.ncols();
    let parts = rayon::current_num_threads().min(work / MIN_FLOPS_PER_THREAD).max(1);
    in_parts(result, old, x, w, parts);
}

/// Cuts the longer side of the result into as many parts, each for a thread.
fn in_parts(
    result: ArrayViewMut2<'_, f32>,
    old: Old,
    x: ArrayView2<'_, f32>,
    w: ArrayView2<'_, f32>,
    parts: usize,
) {
    let [rows, columns] = [result.nrows(), result.ncols()];
    let first = parts / 2;
    let at = (rows.max(columns) * first / parts).next_multiple_of(ALIGNED);
    if first == 0 || at >= rows.max(columns) {
        return multiply(result, old, x, w);
    }
    let (results, xs, ws) = if columns >= rows {
        (result.split_at(Axis(1), at), (x, x), w.split_at(Axis(1), at))
    } else {
        (result.split_at(Axis(0), at), x.split_at(Axis(0), at), (w, w))
    };
    rayon::join(
        || in_parts(results.0, old, xs.0, ws.0, first),
        || in_parts(results.1, old, xs.1, ws.1, parts - first),
    );
}
