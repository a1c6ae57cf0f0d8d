//! The operand whose numbers fill the vectors, packed in panels.
//!
//! A panel is as wide as a tile. It holds what the tile needs of each step of the depth, one step after the other.

use std::ops::Range;

use ndarray::{ArrayView2, Axis};
use pulp::Simd;

use crate::kernels::gemm::first;

/// How many vectors a panel is wide, at most.
pub(crate) const PANEL_VECTORS: usize = 3;

/// Steps of the depth that are transposed at once: a cache line of each row.
const BLOCK: usize = 16;

/// Some columns.
#[derive(Clone, Debug)]
pub(crate) struct Panel {
    pub(crate) columns: Range<usize>,
    /// The columns with those that fill up the last vector.
    width: usize,
    /// Its numbers among those that have been packed, which [`pack`] sets.
    place: Range<usize>,
}

impl Panel {
    /// Its numbers, `[depth, width]`.
    #[inline(always)]
    pub(crate) fn of<'a>(&self, packed: &'a [f32]) -> &'a [f32] {
        &packed[self.place.clone()]
    }
}

/// Columns in panels of nearly the same width, in vectors of `lanes` numbers.
pub(crate) fn panels(columns: usize, lanes: usize) -> Vec<Panel> {
    let vectors = columns.div_ceil(lanes);
    let count = vectors.div_ceil(PANEL_VECTORS);
    let start = |panel: usize| vectors * panel / count * lanes;
    let panel = |panel: usize| {
        let (start, end) = (start(panel), start(panel + 1));
        Panel { columns: start..end.min(columns), width: end - start, place: 0..0 }
    };
    (0..count).map(panel).collect()
}

/// Packs panels one after the other. What fills up a vector is anything: nobody reads what becomes of it.
///
/// - lanes: `[depth, columns]`
#[inline(never)]
pub(crate) fn pack<S: Simd>(
    simd: S,
    lanes: ArrayView2<'_, f32>,
    panels: &mut [Panel],
    packed: &mut Vec<f32>,
) {
    let depth = lanes.nrows();
    let mut end = 0;
    for panel in &mut *panels {
        panel.place = end..end + panel.width * depth;
        end = panel.place.end;
    }
    let packed = first(end, packed);
    simd.vectorize(
        #[inline(always)]
        || fill::<S>(lanes, panels, packed),
    );
}

/// Writes panels to their places.
#[inline(always)]
fn fill<S: Simd>(lanes: ArrayView2<'_, f32>, panels: &[Panel], packed: &mut [f32]) {
    if lanes.strides()[1] == 1 {
        // Row by row through all panels: memory is fastest where it is read in order.
        for (step, row) in lanes.rows().into_iter().enumerate() {
            let row = row.to_slice().expect("its rows lie together");
            for panel in panels {
                let from = &row[panel.columns.clone()];
                let to = &mut packed[panel.place.start + step * panel.width..][..panel.width];
                match (S::as_simd_f32s(from).0, S::as_mut_simd_f32s(to).0) {
                    // A few moves instead of a call.
                    ([a, b, c], [to_a, to_b, to_c]) if from.len() == panel.width => {
                        (*to_a, *to_b, *to_c) = (*a, *b, *c);
                    }
                    _ => to[..from.len()].copy_from_slice(from),
                }
            }
        }
    } else {
        for panel in panels {
            let packed = &mut packed[panel.place.clone()];
            transpose(lanes.slice_axis(Axis(1), panel.columns.clone().into()), panel.width, packed);
        }
    }
}

/// Packs columns that lie together into rows of `width` numbers.
#[inline(always)]
fn transpose(columns: ArrayView2<'_, f32>, width: usize, packed: &mut [f32]) {
    for (block, packed) in packed.chunks_mut(BLOCK * width).enumerate() {
        for (at, column) in columns.columns().into_iter().enumerate() {
            let column = column.to_slice().expect("its columns lie together");
            let from = &column[block * BLOCK..][..packed.len() / width];
            packed.chunks_exact_mut(width).zip(from).for_each(|(packed, from)| packed[at] = *from);
        }
    }
}
