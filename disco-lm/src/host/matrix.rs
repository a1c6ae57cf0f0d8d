//! Matrix products of what lies in the host's memory, by all threads.
//!
//! Every thread computes a part of the result where it belongs; the product itself is faer's, on one thread each.

use burn::{
    backend::{Flex, flex::FlexTensor},
    tensor::{Tensor, TensorData},
};
use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};

use super::holds;

/// A thread is not worth waking for fewer multiplications.
const WORTH_A_THREAD: usize = 1 << 21;

/// Parts begin at multiples of this many rows or columns: whole vectors of AVX-512. Of 576 columns, two parts are even; in multiples
/// of 64 one would be a quarter larger.
const ALIGNED: usize = 16;

/// The product `x w` of two matrices in the host's memory; none if one of them is not.
pub(super) fn product(x: &Tensor<2>, w: &Tensor<2>) -> Option<Tensor<2>> {
    let [lent_x, lent_w] = [lent(x)?, lent(w)?];
    let (of_x, of_w) = (matrix(&lent_x)?, matrix(&lent_w)?);
    let shape = [of_x.nrows(), of_w.ncols()];
    let mut result = vec![0.0; shape[0] * shape[1]];
    multiply(&mut result, Accum::Replace, of_x, of_w);
    Some(Tensor::from_data(TensorData::new(result, shape), &x.device()))
}

/// Adds the product `x w` to `sum`, in place if nobody else holds that; whether it could, as all three lie in the host's memory.
pub(super) fn add_product(sum: &mut Option<Tensor<2>>, x: &Tensor<2>, w: &Tensor<2>) -> bool {
    let (Some(mut lent_sum), Some(lent_x), Some(lent_w)) = (sum.as_ref().and_then(lent), lent(x), lent(w))
    else {
        return false;
    };
    let (true, Some(of_x), Some(of_w)) = (is_whole(&lent_sum), matrix(&lent_x), matrix(&lent_w)) else {
        return false;
    };
    *sum = None;
    multiply(lent_sum.storage_mut(), Accum::Add, of_x, of_w);
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
fn matrix(tensor: &FlexTensor) -> Option<MatRef<'_, f32>> {
    let layout = tensor.layout();
    let [rows, columns] = layout.shape().dims();
    if rows == 0 || columns == 0 {
        return None;
    }
    let stride = |dimension: usize| usize::try_from(layout.strides()[dimension]).ok();
    let numbers = &tensor.storage()[layout.start_offset()..];
    match (stride(0)?, stride(1)?) {
        (stride, 1) => Some(MatRef::from_row_major_slice_with_stride(numbers, rows, columns, stride)),
        (1, stride) => Some(MatRef::from_column_major_slice_with_stride(numbers, rows, columns, stride)),
        _ => None,
    }
}

fn multiply(result: &mut [f32], add: Accum, x: MatRef<'_, f32>, w: MatRef<'_, f32>) {
    let [rows, columns] = [x.nrows(), w.ncols()];
    let work = rows * columns * x.ncols();
    let parts = rayon::current_num_threads().min(work / WORTH_A_THREAD).max(1);
    in_parts(MatMut::from_row_major_slice_mut(result, rows, columns), add, x, w, parts);
}

/// Cuts the longer side of the result into as many parts, each for a thread.
fn in_parts(result: MatMut<'_, f32>, add: Accum, x: MatRef<'_, f32>, w: MatRef<'_, f32>, parts: usize) {
    let [rows, columns] = [result.nrows(), result.ncols()];
    let first = parts / 2;
    let at = (rows.max(columns) * first / parts).next_multiple_of(ALIGNED);
    if first == 0 || at >= rows.max(columns) {
        return matmul(result, add, x, w, 1.0, Par::Seq);
    }
    let (results, xs, ws) = if columns >= rows {
        (result.split_at_col_mut(at), (x, x), w.split_at_col(at))
    } else {
        (result.split_at_row_mut(at), x.split_at_row(at), (w, w))
    };
    rayon::join(
        || in_parts(results.0, add, xs.0, ws.0, first),
        || in_parts(results.1, add, xs.1, ws.1, parts - first),
    );
}
