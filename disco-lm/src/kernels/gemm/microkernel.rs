//! The micro-kernel: the innermost loop of a matmul.

use std::array;

use pulp::Simd;

use crate::kernels::gemm::rows::Rows;

/// Rows of `A` that are read in place are read in pieces of this many steps of `k`, so that their bounds are checked once
/// per piece.
const STEPS: usize = 8;

/// Adds `MR` rows of `A` times a packed panel of `B` to a micro-tile, which is in registers meanwhile.
///
/// - panel: `[kc, VECTORS]` vectors
/// - tile: `[MR, VECTORS]` vectors
///
/// Never inlined: as part of a larger function the compiler would run out of registers.
#[inline(never)]
pub(crate) fn micro_kernel<S: Simd, const MR: usize, const VECTORS: usize>(
    simd: S,
    a: Rows<'_, MR>,
    panel: &[f32],
    tile: &mut [f32],
) {
    simd.vectorize(
        #[inline(always)]
        || vectorised::<S, MR, VECTORS>(simd, a, panel, tile),
    );
}

#[inline(always)]
fn vectorised<S: Simd, const MR: usize, const VECTORS: usize>(
    simd: S,
    a: Rows<'_, MR>,
    panel: &[f32],
    tile: &mut [f32],
) {
    let (panel, _) = S::as_simd_f32s(panel).0.as_chunks::<VECTORS>();
    let (tile, _) = S::as_mut_simd_f32s(tile).0.as_chunks_mut::<VECTORS>();
    // Plain loops over plain arrays: an array whose address is given to other code does not stay in registers.
    let mut sums = [[simd.splat_f32s(0.0); VECTORS]; MR];
    for row in 0..MR {
        for vector in 0..VECTORS {
            sums[row][vector] = tile[row][vector];
        }
    }
    match a {
        Rows::Packed(packed) => {
            for (values, vectors) in packed.iter().zip(panel) {
                step(simd, &mut sums, |row| &values[row], vectors);
            }
        }
        Rows::InPlace(rows) => {
            let rows = rows.map(|row| row[..panel.len()].as_chunks::<STEPS>());
            let (pieces, rest) = panel.as_chunks::<STEPS>();
            // All rows are sliced to one length, so that one bounds check serves all of them.
            let chunks: [&[[f32; STEPS]]; MR] = array::from_fn(|row| &rows[row].0[..pieces.len()]);
            for (at, vectors) in pieces.iter().enumerate() {
                let values: [&[f32; STEPS]; MR] = array::from_fn(|row| &chunks[row][at]);
                for (at, vectors) in vectors.iter().enumerate() {
                    step(simd, &mut sums, |row| &values[row][at], vectors);
                }
            }
            for (at, vectors) in rest.iter().enumerate() {
                step(simd, &mut sums, |row| &rows[row].1[at], vectors);
            }
        }
    }
    for row in 0..MR {
        for vector in 0..VECTORS {
            tile[row][vector] = sums[row][vector];
        }
    }
}

/// One step of `k`: one element of each row of `A`, broadcast to a vector, times the vectors of the panel.
#[expect(clippy::needless_range_loop, reason = "plain loops over plain arrays stay in registers")]
#[inline(always)]
fn step<'a, S: Simd, const MR: usize, const VECTORS: usize>(
    simd: S,
    sums: &mut [[S::f32s; VECTORS]; MR],
    value: impl Fn(usize) -> &'a f32,
    vectors: &[S::f32s; VECTORS],
) {
    for row in 0..MR {
        let value = simd.splat_f32s(*value(row));
        for vector in 0..VECTORS {
            sums[row][vector] = simd.mul_add_f32s(value, vectors[vector], sums[row][vector]);
        }
    }
}
