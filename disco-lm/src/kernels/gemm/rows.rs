//! The operand `A`: its rows are read in place where they are contiguous, and packed where they are not.

use std::array;

use ndarray::{ArrayView2, Axis};

use crate::kernels::gemm::scratch;

/// The rows of `A`, of which a micro-tile takes `MR`.
pub(crate) struct OperandA<'a, const MR: usize> {
    /// `[m, kc]`.
    matrix: ArrayView2<'a, f32>,
    /// The packed rows, `[micro-tiles, kc, MR]`; `None` if the rows are contiguous.
    packed: Option<&'a [f32]>,
}

/// The `MR` rows of `A` that belong to one micro-tile.
pub(crate) enum Rows<'a, const MR: usize> {
    /// Each row by itself, where it is in the matrix.
    InPlace([&'a [f32]; MR]),
    /// One element of each row for each step of `k`.
    Packed(&'a [[f32; MR]]),
}

impl<'a, const MR: usize> OperandA<'a, MR> {
    #[inline(always)]
    pub(crate) fn new(matrix: ArrayView2<'a, f32>, buffer: &'a mut Vec<f32>) -> Self {
        let (count, kc) = matrix.dim();
        if matrix.strides()[1] == 1 {
            return Self { matrix, packed: None };
        }
        let buffer = scratch(count.next_multiple_of(MR) * kc, buffer);
        for (tile, packed) in buffer.chunks_exact_mut(MR * kc).enumerate() {
            let rows = matrix.slice_axis(Axis(0), (tile * MR..(tile * MR + MR).min(count)).into());
            for (packed, column) in packed.as_chunks_mut::<MR>().0.iter_mut().zip(rows.columns()) {
                let column = column.to_slice().expect("its columns are contiguous");
                match <[f32; MR]>::try_from(column) {
                    Ok(column) => *packed = column,
                    Err(_) => packed[..column.len()].copy_from_slice(column),
                }
            }
        }
        Self { matrix, packed: Some(buffer) }
    }

    pub(crate) fn count(&self) -> usize {
        self.matrix.nrows()
    }

    /// The rows of the micro-tile that begins at the row `first`. The last row is repeated to make up `MR` rows.
    #[inline(always)]
    pub(crate) fn rows(&self, first: usize) -> Rows<'_, MR> {
        let (count, kc) = self.matrix.dim();
        match self.packed {
            Some(packed) => Rows::Packed(packed[first * kc..][..MR * kc].as_chunks().0),
            None => Rows::InPlace(array::from_fn(|row| {
                let row = self.matrix.row((first + row).min(count - 1));
                row.to_slice().expect("its rows are contiguous")
            })),
        }
    }
}
