//! Parameters as the tensors of a file, and back.

use rayon::prelude::*;

use crate::architecture::parameters::{Parameter, StoredTensor};

/// Rows of a transposed tensor that one thread fills at a time: as many as a cache line of the file's rows holds, so that every
/// line is fetched once.
const BLOCK: usize = 16;

/// The values of a parameter, as the tensors of the file: under their Hugging Face names, in their layout.
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

/// The inverse of [`split`]: `read` writes a tensor of the file to the place of its numbers.
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

/// Writes a matrix transposed: what is written has `rows` rows.
fn transpose(matrix: &[f32], rows: usize, transposed: &mut [f32]) {
    let columns = matrix.len() / rows;
    transposed.par_chunks_mut(BLOCK * columns).enumerate().for_each(|(block, values)| {
        for (row, values) in (block * BLOCK..).zip(values.chunks_mut(columns)) {
            values.iter_mut().zip(matrix[row..].iter().step_by(rows)).for_each(|(to, from)| *to = *from);
        }
    });
}
