//! The operand `B`, packed into panels.
//!
//! A panel is as wide as a micro-tile, `nr` columns. It holds the `nr` elements of each step of `k`, one step after the
//! other, so that the micro-kernel reads it from the first element to the last.

use std::ops::Range;

use ndarray::{ArrayView2, Axis};
use pulp::Simd;

use crate::kernels::gemm::scratch;

/// The most vectors in the width of a panel.
pub(crate) const PANEL_VECTORS: usize = 3;

/// Steps of `k` that are transposed at a time: a cache line of each column.
const BLOCK: usize = 16;

/// A range of columns of `B`, and the range of the packed elements that hold it.
#[derive(Clone, Debug)]
pub(crate) struct Panel {
    pub(crate) columns: Range<usize>,
    /// `nr`: the number of columns, with the columns that fill up the last vector.
    width: usize,
    /// Range of its elements in the buffer of packed panels; [`pack`] sets it.
    packed: Range<usize>,
}

impl Panel {
    /// Its elements in the buffer of packed panels, `[kc, nr]`.
    #[inline(always)]
    pub(crate) fn elements<'a>(&self, packed: &'a [f32]) -> &'a [f32] {
        &packed[self.packed.clone()]
    }
}

/// Divides columns into panels of nearly the same width, in vectors of `lanes` elements.
pub(crate) fn panels(columns: usize, lanes: usize) -> Vec<Panel> {
    let vectors = columns.div_ceil(lanes);
    let count = vectors.div_ceil(PANEL_VECTORS);
    let start = |panel: usize| vectors * panel / count * lanes;
    let panel = |panel: usize| {
        let (start, end) = (start(panel), start(panel + 1));
        Panel { columns: start..end.min(columns), width: end - start, packed: 0..0 }
    };
    (0..count).map(panel).collect()
}

/// Packs panels one after the other. The elements that fill up a vector are arbitrary: the results computed from them are
/// never read.
///
/// - b: `[kc, n]`
#[inline(never)]
pub(crate) fn pack<S: Simd>(simd: S, b: ArrayView2<'_, f32>, panels: &mut [Panel], buffer: &mut Vec<f32>) {
    let kc = b.nrows();
    let mut end = 0;
    for panel in &mut *panels {
        panel.packed = end..end + panel.width * kc;
        end = panel.packed.end;
    }
    let packed = scratch(end, buffer);
    simd.vectorize(
        #[inline(always)]
        || fill::<S>(b, panels, packed),
    );
}

/// Writes every panel to its range of `packed`.
#[inline(always)]
fn fill<S: Simd>(b: ArrayView2<'_, f32>, panels: &[Panel], packed: &mut [f32]) {
    if b.strides()[1] == 1 {
        // Row by row through all panels: memory is fastest where it is read in order.
        for (step, row) in b.rows().into_iter().enumerate() {
            let row = row.to_slice().expect("its rows are contiguous");
            for panel in panels {
                let from = &row[panel.columns.clone()];
                let to = &mut packed[panel.packed.start + step * panel.width..][..panel.width];
                match (S::as_simd_f32s(from).0, S::as_mut_simd_f32s(to).0) {
                    // Three moves instead of a call.
                    ([x, y, z], [to_x, to_y, to_z]) if from.len() == panel.width => {
                        (*to_x, *to_y, *to_z) = (*x, *y, *z);
                    }
                    _ => to[..from.len()].copy_from_slice(from),
                }
            }
        }
    } else {
        for panel in panels {
            let packed = &mut packed[panel.packed.clone()];
            transpose(b.slice_axis(Axis(1), panel.columns.clone().into()), panel.width, packed);
        }
    }
}

/// Packs contiguous columns into rows of `width` elements.
#[inline(always)]
fn transpose(columns: ArrayView2<'_, f32>, width: usize, packed: &mut [f32]) {
    for (block, packed) in packed.chunks_mut(BLOCK * width).enumerate() {
        for (at, column) in columns.columns().into_iter().enumerate() {
            let column = column.to_slice().expect("its columns are contiguous");
            let from = &column[block * BLOCK..][..packed.len() / width];
            packed.chunks_exact_mut(width).zip(from).for_each(|(packed, from)| packed[at] = *from);
        }
    }
}
