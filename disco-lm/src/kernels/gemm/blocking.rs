//! The blocked loops of a matmul on one thread: which operand is packed, in which blocks, and in which order.
//!
//! The weights of a model, `[out, in]`, are multiplied as their transpose. Where that is so, the operands are exchanged:
//! `C^T = W x^T` has the weights as `A`, whose rows are contiguous and read in place, and packs only the activations, which
//! are small. With few rows of activations, packing the weights would take a large part of the time.
//!
//! Every element of the result is one chain of fused multiply-adds in the order of `k`. So it is the same to the bit
//! whatever else is computed with it, whichever operand is `A`, and however the result was split.

use std::{cell::RefCell, ops::Range};

use ndarray::{ArrayView2, ArrayViewMut2, Axis};
use pulp::{Arch, Simd, WithSimd};

use crate::kernels::gemm::{
    Beta,
    microkernel::micro_kernel,
    packing::{PANEL_VECTORS, pack, panels},
    rows::OperandA,
    scratch,
};

/// The most elements of `B` that are packed at a time, `kc * nc`: 512 KB, which stay in a core's second-level cache.
const PACKED_B: usize = 1 << 17;

/// The most panels that are packed at a time: together they have `nc` columns.
const PANELS: usize = 4;

/// The least `kc`, before the `k` steps are split into blocks of equal size.
const MIN_KC: usize = 192;

/// `mc`: the number of rows of `A` that are multiplied by one panel before the next panel is used. A multiple of every `mr`.
const MC: usize = 64;

thread_local! {
    /// Buffers for packed panels of `B`, packed rows of `A`, and micro-tiles.
    static SCRATCH: RefCell<[Vec<f32>; 3]> = const { RefCell::new([Vec::new(), Vec::new(), Vec::new()]) };
}

/// `result = beta result + x w`. The operands have contiguous rows or contiguous columns, the result has contiguous rows.
///
/// - x: `[rows, depth]`, w: `[depth, columns]`, result: `[rows, columns]`
pub(crate) fn multiply(
    result: ArrayViewMut2<'_, f32>,
    beta: Beta,
    x: ArrayView2<'_, f32>,
    w: ArrayView2<'_, f32>,
) {
    let [x_has_rows, w_has_columns] = [x.strides()[1] == 1, w.strides()[0] == 1];
    // Exchanged, `w^T x^T`, if that packs less.
    let (result, a, b) = if w_has_columns && (!x_has_rows || x.nrows() <= w.ncols()) {
        (result.reversed_axes(), w.reversed_axes(), x.reversed_axes())
    } else {
        (result, x, w)
    };
    SCRATCH.with_borrow_mut(|buffers| Arch::new().dispatch(Gemm { result, beta, a, b, buffers }));
}

struct Gemm<'a> {
    /// `[m, n]`.
    result: ArrayViewMut2<'a, f32>,
    beta: Beta,
    /// `[m, k]`.
    a: ArrayView2<'a, f32>,
    /// `[k, n]`.
    b: ArrayView2<'a, f32>,
    buffers: &'a mut [Vec<f32>; 3],
}

impl WithSimd for Gemm<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // `mr` rows of at most 3 vectors: as many sums as fit into the registers beside the operands.
        if S::REGISTER_COUNT >= 32 { self.blocked::<S, 8>(simd) } else { self.blocked::<S, 4>(simd) }
    }
}

impl Gemm<'_> {
    #[inline(always)]
    fn blocked<S: Simd, const MR: usize>(self, simd: S) {
        let Self { mut result, beta, a, b, buffers: [packed_b, packed_a, tiles] } = self;
        let (k, n) = b.dim();
        let mut panels = panels(n, S::F32_LANES);
        let nc = n.next_multiple_of(S::F32_LANES).min(PANELS * PANEL_VECTORS * S::F32_LANES);
        let blocks = k.div_ceil((PACKED_B / nc).max(MIN_KC)).max(1);
        for block in 0..blocks {
            let steps = k * block / blocks..k * (block + 1) / blocks;
            let beta = if block == 0 { beta } else { Beta::One };
            let a = OperandA::<MR>::new(a.slice_axis(Axis(1), steps.clone().into()), packed_a);
            let b = b.slice_axis(Axis(0), steps.into());
            for panels in panels.chunks_mut(PANELS) {
                pack(simd, b, panels, packed_b);
                for first in (0..a.count()).step_by(MC) {
                    let rows = first..(first + MC).min(a.count());
                    for panel in &*panels {
                        let mut result = result.slice_axis_mut(Axis(0), rows.clone().into());
                        let result = result.slice_axis_mut(Axis(1), panel.columns.clone().into());
                        let panel = panel.elements(packed_b);
                        match panel.len() / (b.nrows() * S::F32_LANES) {
                            1 => row_block::<S, MR, 1>(simd, result, beta, &a, rows.clone(), panel, tiles),
                            2 => row_block::<S, MR, 2>(simd, result, beta, &a, rows.clone(), panel, tiles),
                            _ => row_block::<S, MR, 3>(simd, result, beta, &a, rows.clone(), panel, tiles),
                        }
                    }
                }
            }
        }
    }
}

/// A block of rows of `A` times one panel: computes the micro-tiles one below the other, and copies them into the result.
#[inline(always)]
fn row_block<S: Simd, const MR: usize, const VECTORS: usize>(
    simd: S,
    mut result: ArrayViewMut2<'_, f32>,
    beta: Beta,
    a: &OperandA<'_, MR>,
    rows: Range<usize>,
    panel: &[f32],
    tiles: &mut Vec<f32>,
) {
    let nr = VECTORS * S::F32_LANES;
    let tiles = scratch(rows.len().next_multiple_of(MR) * nr, tiles);
    match beta {
        Beta::One => for_each_pair(&mut result, tiles, nr, |sum, tile| *tile = *sum),
        Beta::Zero => tiles.fill(0.0),
    }
    for (first, tile) in rows.step_by(MR).zip(tiles.chunks_exact_mut(MR * nr)) {
        micro_kernel::<S, MR, VECTORS>(simd, a.rows(first), panel, tile);
    }
    for_each_pair(&mut result, tiles, nr, |sum, tile| *sum = *tile);
}

/// Calls `each` with every element of a part of the result and the element of the micro-tiles, `nr` columns wide, that
/// belongs to it.
#[inline(always)]
fn for_each_pair(
    result: &mut ArrayViewMut2<'_, f32>,
    tiles: &mut [f32],
    nr: usize,
    each: impl Fn(&mut f32, &mut f32),
) {
    if result.strides()[1] == 1 {
        for (mut row, tiles) in result.rows_mut().into_iter().zip(tiles.chunks_exact_mut(nr)) {
            let row = row.as_slice_mut().expect("its rows are contiguous");
            row.iter_mut().zip(tiles).for_each(|(sum, tile)| each(sum, tile));
        }
    } else {
        for (at, mut column) in result.columns_mut().into_iter().enumerate() {
            let column = column.as_slice_mut().expect("its columns are contiguous");
            let tiles = tiles.chunks_exact_mut(nr);
            column.iter_mut().zip(tiles).for_each(|(sum, tiles)| each(sum, &mut tiles[at]));
        }
    }
}
