//! A matrix product on one thread.
//!
//! A result is made tile by tile. Of the two operands one is the *lanes*: its numbers fill the vectors, and it is packed so that the
//! vectors of a tile follow each other (`lanes`). The other is the *streams*: each number of a row of it is spread over a vector and
//! multiplied by the lanes (`streams`); where its rows lie together they are read as they are. So a product with a
//! matrix `[out, in]`, the weights of a model, packs only what it is multiplied by, which is small: of few rows by 576 x 3072, a
//! third of the time went into packing such a matrix.
//!
//! Every number of the result is one chain of fused multiplications and additions, in the order of the depth: it is the same to the
//! bit whatever stands beside it, whichever operand is the lanes, and however the result was cut.

use std::{cell::RefCell, ops::Range};

use ndarray::{ArrayView2, ArrayViewMut2, Axis};
use pulp::{Arch, Simd, WithSimd};

use crate::kernels::gemm::{
    Old, first,
    microkernel::tile,
    packing::{PANEL_VECTORS, pack, panels},
    rows::RowOperand,
};

/// How many packed numbers are worked with at once: 512 KB, which stay in a core's second cache.
const PACKED: usize = 1 << 17;

/// How many panels are, at most.
const PANELS: usize = 4;

/// The least depth that they have then.
const DEPTH: usize = 192;

/// How many streams meet a panel before the next one's turn: a multiple of every tile's.
const GROUP: usize = 64;

thread_local! {
    /// Room for packed lanes, packed streams, and tiles.
    static ROOM: RefCell<[Vec<f32>; 3]> = const { RefCell::new([Vec::new(), Vec::new(), Vec::new()]) };
}

/// `result = x w`, or `result += x w`. Of each matrix, rows or columns lie together; of the result, rows.
///
/// - x: `[rows, depth]`, w: `[depth, columns]`, result: `[rows, columns]`
pub(crate) fn multiply(
    result: ArrayViewMut2<'_, f32>,
    old: Old,
    x: ArrayView2<'_, f32>,
    w: ArrayView2<'_, f32>,
) {
    let [x_along, w_along] = [x.strides()[1] == 1, w.strides()[0] == 1];
    // The other way round, `w^T x^T`, if that packs less.
    let (result, rows_a, lanes) = if w_along && (!x_along || x.nrows() <= w.ncols()) {
        (result.reversed_axes(), w.reversed_axes(), x.reversed_axes())
    } else {
        (result, x, w)
    };
    ROOM.with_borrow_mut(|buffer| Arch::new().dispatch(Product { result, old, rows_a, lanes, buffer }));
}

struct Product<'a> {
    /// `[streams, lanes]`.
    result: ArrayViewMut2<'a, f32>,
    old: Old,
    /// `[streams, depth]`.
    rows_a: ArrayView2<'a, f32>,
    /// `[depth, lanes]`.
    lanes: ArrayView2<'a, f32>,
    buffer: &'a mut [Vec<f32>; 3],
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // As many sums as there are registers for, beside the operands.
        if S::REGISTER_COUNT >= 32 { self.by_rows::<S, 8>(simd) } else { self.by_rows::<S, 4>(simd) }
    }
}

impl Product<'_> {
    #[inline(always)]
    fn by_rows<S: Simd, const ROWS: usize>(self, simd: S) {
        let Self { mut result, old, rows_a, lanes, buffer: [packed, packed_streams, tiles] } = self;
        let (depth, width) = lanes.dim();
        let mut panels = panels(width, S::F32_LANES);
        let at_once = width.next_multiple_of(S::F32_LANES).min(PANELS * PANEL_VECTORS * S::F32_LANES);
        let steps = depth.div_ceil((PACKED / at_once).max(DEPTH)).max(1);
        for step in 0..steps {
            let part = depth * step / steps..depth * (step + 1) / steps;
            let old = if step == 0 { old } else { Old::Kept };
            let rows_a =
                RowOperand::<ROWS>::new(rows_a.slice_axis(Axis(1), part.clone().into()), packed_streams);
            let lanes = lanes.slice_axis(Axis(0), part.into());
            for panels in panels.chunks_mut(PANELS) {
                pack(simd, lanes, panels, packed);
                for first in (0..rows_a.count()).step_by(GROUP) {
                    let group = first..(first + GROUP).min(rows_a.count());
                    for panel in &*panels {
                        let mut result = result.slice_axis_mut(Axis(0), group.clone().into());
                        let result = result.slice_axis_mut(Axis(1), panel.columns.clone().into());
                        let packed = panel.of(packed);
                        match packed.len() / (lanes.nrows() * S::F32_LANES) {
                            1 => {
                                block::<S, ROWS, 1>(simd, result, old, &rows_a, group.clone(), packed, tiles)
                            }
                            2 => {
                                block::<S, ROWS, 2>(simd, result, old, &rows_a, group.clone(), packed, tiles)
                            }
                            _ => {
                                block::<S, ROWS, 3>(simd, result, old, &rows_a, group.clone(), packed, tiles)
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A group of streams and a panel: tiles below each other, and their way into the result.
#[inline(always)]
fn block<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    mut result: ArrayViewMut2<'_, f32>,
    old: Old,
    rows_a: &RowOperand<'_, ROWS>,
    group: Range<usize>,
    panel: &[f32],
    tiles: &mut Vec<f32>,
) {
    let width = VECTORS * S::F32_LANES;
    let tiles = first(group.len().next_multiple_of(ROWS) * width, tiles);
    match old {
        Old::Kept => exchange(&mut result, tiles, width, |sum, tile| *tile = *sum),
        Old::Replaced => tiles.fill(0.0),
    }
    for (rows, tile_rows) in group.step_by(ROWS).zip(tiles.chunks_exact_mut(ROWS * width)) {
        tile::<S, ROWS, VECTORS>(simd, rows_a.rows(rows), panel, tile_rows);
    }
    exchange(&mut result, tiles, width, |sum, tile| *sum = *tile);
}

/// Meets each number of a part of the result with its number in the tiles.
#[inline(always)]
fn exchange(
    result: &mut ArrayViewMut2<'_, f32>,
    tiles: &mut [f32],
    width: usize,
    each: impl Fn(&mut f32, &mut f32),
) {
    if result.strides()[1] == 1 {
        for (mut row, tiles) in result.rows_mut().into_iter().zip(tiles.chunks_exact_mut(width)) {
            let row = row.as_slice_mut().expect("its rows lie together");
            row.iter_mut().zip(tiles).for_each(|(sum, tile)| each(sum, tile));
        }
    } else {
        for (at, mut column) in result.columns_mut().into_iter().enumerate() {
            let column = column.as_slice_mut().expect("its columns lie together");
            let tiles = tiles.chunks_exact_mut(width);
            column.iter_mut().zip(tiles).for_each(|(sum, tiles)| each(sum, &mut tiles[at]));
        }
    }
}
