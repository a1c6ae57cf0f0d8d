//! Matrix multiplication of tensors in CPU memory, on all threads, with results that are the same to the bit however it is
//! split.
//!
//! The structure and the words are those of GotoBLAS and BLIS (Goto and van de Geijn 2008; Van Zee and van de Geijn 2015):
//! `C = A B` or `C += A B` with `A` `[m, k]`, `B` `[k, n]` and `C` `[m, n]`. Each thread computes its own part of `C` in
//! place, by this loop nest:
//!
//! ```text
//! for a block of kc of the k steps       rows of A that are not contiguous are packed       rows.rs
//!   for a block of nc columns of B       B is packed into panels, `[kc, nr]` each           packing.rs
//!     for a block of mc rows of A
//!       for a panel                                                                         blocking.rs
//!         for mr rows of A               one micro-tile of C, `[mr, nr]`, in registers
//!           for each of kc steps         C[mr, nr] += A[mr, 1] B[1, nr]: the micro-kernel   microkernel.rs
//! ```
//!
//! A panel is `nr` columns wide, the width of a micro-tile: 1 to 3 vectors. A step of the micro-kernel broadcasts one
//! element of each of `mr` rows of `A` to a vector, multiplies it by the `nr` elements of the panel, and adds the result to
//! the micro-tile. So the elements of `B` have to be packed, while contiguous rows of `A` are read in place.

mod blocking;
mod microkernel;
mod packing;
mod rows;

use burn::{
    backend::{Flex, flex::FlexTensor},
    tensor::{Tensor, TensorData},
};
use ndarray::{ArrayView2, ArrayViewMut2, Axis, ShapeBuilder};

use crate::{device::host::is_in_cpu_memory, kernels::gemm::blocking::multiply};

/// A thread is not worth waking for fewer multiplications.
const MIN_FLOPS_PER_THREAD: usize = 1 << 21;

/// The parts of a result begin at multiples of this many rows or columns: whole vectors of AVX-512.
const ALIGNED: usize = 16;

/// The factor of the old elements of the result, in `C = beta C + A B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beta {
    /// The old elements are overwritten, and never read.
    Zero,
    /// The matmul is added to them.
    One,
}

/// The first `len` elements of a scratch buffer, which grows to that length. They hold what the last use left there.
#[inline(always)]
fn scratch(len: usize, buffer: &mut Vec<f32>) -> &mut [f32] {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    &mut buffer[..len]
}

/// The matmul `x w` of two matrices in CPU memory; `None` if one of them is elsewhere, is empty, or has neither contiguous
/// rows nor contiguous columns.
pub(crate) fn matmul(x: &Tensor<2>, w: &Tensor<2>) -> Option<Tensor<2>> {
    let [flex_x, flex_w] = [flex_tensor(x)?, flex_tensor(w)?];
    let (x_view, w_view) = (matrix_view(&flex_x)?, matrix_view(&flex_w)?);
    let shape = [x_view.nrows(), w_view.ncols()];
    let mut result = vec![0.0; shape[0] * shape[1]];
    in_parallel(ArrayViewMut2::from_shape(shape, &mut result).ok()?, Beta::Zero, x_view, w_view);
    Some(Tensor::from_data(TensorData::new(result, shape), &x.device()))
}

/// Adds the matmul `x w` to `sum`, in place if no other handle to `sum` exists.
///
/// Returns `false` and leaves `sum` unchanged if `sum` is `None`, in other memory or a view, or if [`matmul`] would return
/// `None`.
pub(crate) fn add_matmul(sum: &mut Option<Tensor<2>>, x: &Tensor<2>, w: &Tensor<2>) -> bool {
    let (Some(mut flex_sum), Some(flex_x), Some(flex_w)) =
        (sum.as_ref().and_then(flex_tensor), flex_tensor(x), flex_tensor(w))
    else {
        return false;
    };
    let (true, Some(x_view), Some(w_view)) =
        (is_whole_storage(&flex_sum), matrix_view(&flex_x), matrix_view(&flex_w))
    else {
        return false;
    };
    *sum = None;
    let shape = [x_view.nrows(), w_view.ncols()];
    let result = ArrayViewMut2::from_shape(shape, flex_sum.storage_mut());
    in_parallel(result.expect("a sum has the shape of what is added"), Beta::One, x_view, w_view);
    *sum = Some(Tensor::from_primitive::<Flex>(flex_sum));
    true
}

/// Burn's own handle to a tensor in CPU memory; `None` for any other tensor.
fn flex_tensor(tensor: &Tensor<2>) -> Option<FlexTensor> {
    if is_in_cpu_memory(tensor) { tensor.clone().try_into_primitive::<Flex>().ok() } else { None }
}

/// Whether a tensor is its whole storage in row-major order: not a view of a part of it.
fn is_whole_storage(tensor: &FlexTensor) -> bool {
    tensor.as_slice::<f32>().is_some_and(|values| values.len() == tensor.storage::<f32>().len())
}

/// A tensor as a matrix; `None` if it is empty, or if neither its rows nor its columns are contiguous.
fn matrix_view(tensor: &FlexTensor) -> Option<ArrayView2<'_, f32>> {
    let layout = tensor.layout();
    let [rows, columns] = layout.shape().dims();
    let stride = |dimension: usize| usize::try_from(layout.strides()[dimension]).ok();
    let strides = [stride(0)?, stride(1)?];
    if rows == 0 || columns == 0 || !strides.contains(&1) {
        return None;
    }
    let values = &tensor.storage()[layout.start_offset()..];
    ArrayView2::from_shape([rows, columns].strides(strides), values).ok()
}

fn in_parallel(result: ArrayViewMut2<'_, f32>, beta: Beta, x: ArrayView2<'_, f32>, w: ArrayView2<'_, f32>) {
    let work = x.nrows() * x.ncols() * w.ncols();
    let parts = rayon::current_num_threads().min(work / MIN_FLOPS_PER_THREAD).max(1);
    in_parts(result, beta, x, w, parts);
}

/// Splits the longer side of the result into `parts`, one for each thread.
fn in_parts(
    result: ArrayViewMut2<'_, f32>,
    beta: Beta,
    x: ArrayView2<'_, f32>,
    w: ArrayView2<'_, f32>,
    parts: usize,
) {
    let [rows, columns] = [result.nrows(), result.ncols()];
    let first_parts = parts / 2;
    let at = (rows.max(columns) * first_parts / parts).next_multiple_of(ALIGNED);
    if first_parts == 0 || at >= rows.max(columns) {
        return multiply(result, beta, x, w);
    }
    let (results, xs, ws) = if columns >= rows {
        (result.split_at(Axis(1), at), (x, x), w.split_at(Axis(1), at))
    } else {
        (result.split_at(Axis(0), at), x.split_at(Axis(0), at), (w, w))
    };
    rayon::join(
        || in_parts(results.0, beta, xs.0, ws.0, first_parts),
        || in_parts(results.1, beta, xs.1, ws.1, parts - first_parts),
    );
}
