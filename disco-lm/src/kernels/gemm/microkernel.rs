//! The innermost loop of a product.

use std::array;

use pulp::Simd;

use crate::kernels::gemm::rows::Rows;

/// Steps of the depth between two looks at where the streams are.
const STEPS: usize = 8;

/// Adds the products of some streams and a panel to a tile, which is in registers meanwhile.
///
/// - panel: `[depth, VECTORS]` vectors
/// - sums: `[ROWS, VECTORS]` vectors
///
/// It is never part of a larger function, in which the compiler would run out of registers.
#[inline(never)]
pub(crate) fn tile<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    rows_a: Rows<'_, ROWS>,
    panel: &[f32],
    sums: &mut [f32],
) {
    simd.vectorize(
        #[inline(always)]
        || vectorised::<S, ROWS, VECTORS>(simd, rows_a, panel, sums),
    );
}

#[inline(always)]
fn vectorised<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    rows_a: Rows<'_, ROWS>,
    panel: &[f32],
    sums: &mut [f32],
) {
    let (panel, _) = S::as_simd_f32s(panel).0.as_chunks::<VECTORS>();
    let (rows, _) = S::as_mut_simd_f32s(sums).0.as_chunks_mut::<VECTORS>();
    // Plain loops over plain arrays: whatever else has seen their address does not stay in registers.
    let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
    for row in 0..ROWS {
        for vector in 0..VECTORS {
            sums[row][vector] = rows[row][vector];
        }
    }
    match rows_a {
        Rows::Packed(packed) => {
            for (values, vectors) in packed.iter().zip(panel) {
                step(simd, &mut sums, |row| &values[row], vectors);
            }
        }
        Rows::Apart(rows_a) => {
            let rows_a = rows_a.map(|stream| stream[..panel.len()].as_chunks::<STEPS>());
            let (steps, rest) = panel.as_chunks::<STEPS>();
            // Of one length for all, so that one look is enough.
            let chunks: [&[[f32; STEPS]]; ROWS] = array::from_fn(|row| &rows_a[row].0[..steps.len()]);
            for (at, vectors) in steps.iter().enumerate() {
                let values: [&[f32; STEPS]; ROWS] = array::from_fn(|row| &chunks[row][at]);
                for (at, vectors) in vectors.iter().enumerate() {
                    step(simd, &mut sums, |row| &values[row][at], vectors);
                }
            }
            for (at, vectors) in rest.iter().enumerate() {
                step(simd, &mut sums, |row| &rows_a[row].1[at], vectors);
            }
        }
    }
    for row in 0..ROWS {
        for vector in 0..VECTORS {
            rows[row][vector] = sums[row][vector];
        }
    }
}

/// One step of the depth: a number of each stream times the vectors of the panel.
#[expect(clippy::needless_range_loop, reason = "plain loops over plain arrays stay in registers")]
#[inline(always)]
fn step<'a, S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    sums: &mut [[S::f32s; VECTORS]; ROWS],
    value: impl Fn(usize) -> &'a f32,
    vectors: &[S::f32s; VECTORS],
) {
    for row in 0..ROWS {
        let value = simd.splat_f32s(*value(row));
        for vector in 0..VECTORS {
            sums[row][vector] = simd.mul_add_f32s(value, vectors[vector], sums[row][vector]);
        }
    }
}
