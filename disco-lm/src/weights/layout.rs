//! The layout of parameters in files: splits a parameter into the tensors of a file, and joins them again.

use rayon::prelude::*;

use crate::architecture::parameters::{Parameter, StoredTensor};

/// The number of rows of a transposed tensor that one thread fills at a time: as many as a cache line of a row of the source has
/// elements, so that every line is fetched once.
const BLOCK: usize = 16;

/// Splits the values of a parameter into the tensors of a file, with their Hugging Face names and in their layout.
pub(crate) fn split(parameter: &Parameter, values: &[f32]) -> Vec<(StoredTensor, Vec<f32>)> {
    let mut rest = values;
    let parts = parameter.stored.iter().map(|part| {
        let (mine, after) = rest.split_at(part.elements());
        rest = after;
        let mut tensor = mine.to_vec();
        if part.transposed {
            transpose(mine, part.shape[0], &mut tensor);
        }
        (part.clone(), tensor)
    });
    parts.collect()
}

/// The inverse of [`split`]: `read` writes the elements of each tensor of the file to the slice that it is given.
pub(crate) fn join<E>(
    parameter: &Parameter,
    mut read: impl FnMut(&StoredTensor, &mut [f32]) -> Result<(), E>,
) -> Result<Vec<f32>, E> {
    let mut values = vec![0.0; parameter.shape[0] * parameter.shape[1]];
    let mut rest = &mut values[..];
    for part in &parameter.stored {
        let (mine, after) = rest.split_at_mut(part.elements());
        rest = after;
        read(part, mine)?;
        if part.transposed {
            let tensor = mine.to_vec();
            transpose(&tensor, part.shape[1], mine);
        }
    }
    Ok(values)
}

/// Writes the transpose of `matrix` to `transposed`, which has `rows` rows.
fn transpose(matrix: &[f32], rows: usize, transposed: &mut [f32]) {
    let columns = matrix.len() / rows;
    transposed.par_chunks_mut(BLOCK * columns).enumerate().for_each(|(block, values)| {
        for (row, values) in (block * BLOCK..).zip(values.chunks_mut(columns)) {
            values.iter_mut().zip(matrix[row..].iter().step_by(rows)).for_each(|(to, from)| *to = *from);
        }
    });
}
