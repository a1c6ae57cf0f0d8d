//! The operand whose numbers are spread over vectors: by rows, as they are or packed.

use std::array;

use ndarray::{ArrayView2, Axis};

use crate::kernels::gemm::first;

/// The rows of a matrix, of which a tile takes `ROWS`.
pub(crate) struct RowOperand<'a, const ROWS: usize> {
    /// `[streams, depth]`.
    matrix: ArrayView2<'a, f32>,
    /// Where rows do not lie together: those of a tile side by side, `[tiles, depth, ROWS]`.
    packed: Option<&'a [f32]>,
}

/// What a tile takes of the streams.
pub(crate) enum Rows<'a, const ROWS: usize> {
    /// Row by row.
    Apart([&'a [f32]; ROWS]),
    /// Step by step of the depth.
    Packed(&'a [[f32; ROWS]]),
}

impl<'a, const ROWS: usize> RowOperand<'a, ROWS> {
    #[inline(always)]
    pub(crate) fn new(matrix: ArrayView2<'a, f32>, buffer: &'a mut Vec<f32>) -> Self {
        let (count, depth) = matrix.dim();
        if matrix.strides()[1] == 1 {
            return Self { matrix, packed: None };
        }
        let buffer = first(count.next_multiple_of(ROWS) * depth, buffer);
        for (tile, packed) in buffer.chunks_exact_mut(ROWS * depth).enumerate() {
            let rows = matrix.slice_axis(Axis(0), (tile * ROWS..(tile * ROWS + ROWS).min(count)).into());
            for (packed, column) in packed.as_chunks_mut::<ROWS>().0.iter_mut().zip(rows.columns()) {
                let column = column.to_slice().expect("its columns lie together");
                match <[f32; ROWS]>::try_from(column) {
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

    /// Those of the tile that begins at the row `first`. Behind the last row it comes again.
    #[inline(always)]
    pub(crate) fn rows(&self, first: usize) -> Rows<'_, ROWS> {
        let (count, depth) = self.matrix.dim();
        match self.packed {
            Some(packed) => Rows::Packed(packed[first * depth..][..ROWS * depth].as_chunks().0),
            None => Rows::Apart(array::from_fn(|row| {
                let row = self.matrix.row((first + row).min(count - 1));
                row.to_slice().expect("its rows lie together")
            })),
        }
    }
}
