//! Parameters as the tensors of a file, and back.

use crate::slots::{Part, Slot};

/// `[n / columns, columns]` to `[columns, n / columns]`.
pub(super) fn transpose(values: &[f32], columns: usize) -> Vec<f32> {
    let rows = values.len() / columns;
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}

/// The values of a parameter, as the tensors of the file: under their Hugging Face names, in their layout.
pub(crate) fn split(slot: &Slot, values: &[f32]) -> Vec<(Part, Vec<f32>)> {
    let columns = if slot.role.is_matrix() { slot.shape[1] } else { 1 };
    let mut rest = values;
    let parts = slot.parts.iter().map(|part| {
        let (mine, others) = rest.split_at(part.rows * columns);
        rest = others;
        (part.clone(), if part.transposed { transpose(mine, columns) } else { mine.to_vec() })
    });
    parts.collect()
}

/// The inverse of [`split`]: `read` gives a tensor of the file by its part.
pub(crate) fn join<E>(
    slot: &Slot,
    mut read: impl FnMut(&Part) -> std::result::Result<Vec<f32>, E>,
) -> std::result::Result<Vec<f32>, E> {
    let mut values = Vec::with_capacity(slot.shape[0] * slot.shape[1]);
    for part in &slot.parts {
        let mine = read(part)?;
        if part.transposed { values.extend(transpose(&mine, part.rows)) } else { values.extend(mine) }
    }
    Ok(values)
}
