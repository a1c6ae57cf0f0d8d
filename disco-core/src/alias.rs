//! Drawing an index with given probabilities in constant time.

use rand::{Rng, RngExt};

/// Walker's alias table, built by Vose's linear-time method[^vose]: one index draw and one comparison
/// per sample, whatever the number of entries.
///
/// [^vose]: Vose (1991), *A linear algorithm for generating random numbers with a given distribution*,
///   IEEE Trans. Softw. Eng. 17(9), <https://doi.org/10.1109/32.92917>
#[derive(Clone, Debug)]
pub(crate) struct Alias {
    // Invariant: not empty; every `index` and `other` is an entry of positive weight.
    columns: Vec<Column>,
}

#[derive(Clone, Debug)]
struct Column {
    /// The probability, within this column, of `index`.
    threshold: f64,
    index: usize,
    other: usize,
}

impl Alias {
    /// A table for weights that are finite, not negative, and not all zero.
    ///
    /// Entries of weight zero get no column, so that no rounding can ever draw them.
    pub(crate) fn new(weights: impl IntoIterator<Item = f64>) -> Self {
        let entries = weights.into_iter().enumerate().filter(|(_, weight)| *weight > 0.0);
        let (indices, mut scaled): (Vec<usize>, Vec<f64>) = entries.unzip();
        debug_assert!(!indices.is_empty(), "an alias table of no weight");
        let mean = scaled.iter().sum::<f64>() / scaled.len() as f64;
        scaled.iter_mut().for_each(|weight| *weight /= mean);

        let mut columns: Vec<Column> =
            indices.iter().map(|&index| Column { threshold: 1.0, index, other: index }).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..scaled.len()).partition(|&column| scaled[column] < 1.0);
        while let (Some(low), Some(&high)) = (small.pop(), large.last()) {
            columns[low].threshold = scaled[low];
            columns[low].other = indices[high];
            scaled[high] = (scaled[high] + scaled[low]) - 1.0;
            if scaled[high] < 1.0 {
                large.pop();
                small.push(high);
            }
        }
        // The remaining columns would be exactly 1 without rounding: they keep threshold 1.
        Self { columns }
    }

    /// One index: two draws from `rng`.
    pub(crate) fn sample<R: Rng + ?Sized>(&self, rng: &mut R) -> usize {
        let column = &self.columns[rng.random_range(0..self.columns.len())];
        if rng.random::<f64>() < column.threshold { column.index } else { column.other }
    }
}
