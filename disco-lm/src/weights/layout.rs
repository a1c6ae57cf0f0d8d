//! Parameters as the tensors of a file, and back.

use rayon::prelude::*;

use crate::slots::{Part, Slot};

/// Rows of a parameter that one thread fills at a time: as many as a cache line of the file's transposed rows
/// holds, so that every line is fetched once.
const BLOCK: usize = 16;

/// The values of a parameter, as the tensors of the file: under their Hugging Face names, in their layout.
pub(crate) fn split(slot: &Slot, values: &[f32]) -> Vec<(Part, Vec<f32>)> {
    let [rows, columns] = slot.shape;
    let mut start = 0;
    let parts = slot.parts.iter().map(|part| {
        let mine = start..start + part.columns;
        start = mine.end;
        let from = values.chunks(columns).map(|row| &row[mine.clone()]);
        let tensor = if part.transposed {
            let mut tensor = vec![0.0; rows * part.columns];
            for (row, from) in from.enumerate() {
                tensor[row..].iter_mut().step_by(rows).zip(from).for_each(|(to, from)| *to = *from);
            }
            tensor
        } else {
            from.flatten().copied().collect()
        };
        (part.clone(), tensor)
    });
    parts.collect()
}

/// The inverse of [`split`]: `read` gives a tensor of the file by its part, with the size of its shape.
pub(crate) fn join<E>(
    slot: &Slot,
    mut read: impl FnMut(&Part) -> Result<Vec<f32>, E>,
) -> Result<Vec<f32>, E> {
    let mut values = vec![0.0; slot.shape[0] * slot.shape[1]];
    let mut start = 0;
    for part in &slot.parts {
        place(slot, part, start, &read(part)?, &mut values);
        start += part.columns;
    }
    Ok(values)
}

/// Writes a tensor of the file to the columns of a parameter that begin at `start`.
pub(super) fn place(slot: &Slot, part: &Part, start: usize, tensor: &[f32], values: &mut [f32]) {
    let [rows, columns] = slot.shape;
    values.par_chunks_mut(BLOCK * columns).enumerate().for_each(|(block, values)| {
        for (row, values) in (block * BLOCK..).zip(values.chunks_mut(columns)) {
            let values = &mut values[start..start + part.columns];
            if part.transposed {
                values.iter_mut().zip(tensor[row..].iter().step_by(rows)).for_each(|(to, from)| *to = *from);
            } else {
                values.copy_from_slice(&tensor[row * part.columns..][..part.columns]);
            }
        }
    });
}
