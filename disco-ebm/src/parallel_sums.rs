//! Sums over all points of a dual, in parallel.

use std::ops::Range;

use ndarray::{
    Array1, Array2, ArrayViewMut1, ArrayViewMut2, Axis, Slice, linalg::general_mat_mul, parallel::prelude::*,
};

use crate::Dual;

/// The largest number of runs of rows. Their partial sums are added in order, so that the result does not depend on
/// the number of threads.
const RUNS: usize = 64;
/// A run has at least this many rows.
const MIN_RUN: usize = 2048;
/// Rows that are centred and weighted at a time: with 100 features, 200 kB, which stays in cache.
const BLOCK: usize = 256;

impl Dual {
    /// `lambda . phi` of each point.
    pub(crate) fn linear(&self, lambda: &Array1<f64>) -> Array1<f64> {
        let mut linear = Array1::zeros(self.values.nrows());
        let rows = self.run_rows();
        linear
            .axis_chunks_iter_mut(Axis(0), rows)
            .into_par_iter()
            .zip(self.values.axis_chunks_iter(Axis(0), rows).into_par_iter())
            .for_each(|(mut linear, values)| linear.assign(&values.dot(lambda)));
        linear
    }

    /// The moments of each context, from weights that sum to the context's share.
    pub(crate) fn means(&self, weights: &Array1<f64>) -> Array2<f64> {
        let rows = self.run_rows();
        let segments: Vec<(usize, usize, usize)> = (0..self.contexts())
            .flat_map(|context| {
                let end = self.starts[context + 1];
                (self.starts[context]..end)
                    .step_by(rows)
                    .map(move |start| (context, start, (start + rows).min(end)))
            })
            .collect();
        let sum = |&(context, start, end): &(usize, usize, usize)| {
            let mut sum = Array1::zeros(self.dimension());
            for row in start..end {
                sum.scaled_add(weights[row], &self.values.row(row));
            }
            (context, sum)
        };
        let partial: Vec<(usize, Array1<f64>)> = segments.par_iter().map(sum).collect();
        let mut means = Array2::zeros((self.contexts(), self.dimension()));
        for (context, sum) in partial {
            means.row_mut(context).scaled_add(1.0 / self.shares[context], &sum);
        }
        means
    }

    /// `sum_i weight_i (phi_i - centre_c(i)) (phi_i - centre_c(i))'`, with a centre for each context.
    pub(crate) fn scatter(&self, weights: &Array1<f64>, centres: &Array2<f64>) -> Array2<f64> {
        let (n, d, rows) = (self.values.nrows(), self.dimension(), self.run_rows());
        let starts: Vec<usize> = (0..n).step_by(rows).collect();
        let run = |start: usize| {
            let end = (start + rows).min(n);
            let mut sum = Array2::zeros((d, d));
            let mut scratch = Array2::zeros((BLOCK.min(end - start), d));
            for block in (start..end).step_by(BLOCK) {
                let rows = block..(block + BLOCK).min(end);
                let mut scaled = scratch.slice_axis_mut(Axis(0), Slice::from(..rows.len()));
                self.centre(rows, centres, |row| weights[row].sqrt(), &mut scaled);
                general_mat_mul(1.0, &scaled.t(), &scaled, 1.0, &mut sum);
            }
            sum
        };
        let partial: Vec<Array2<f64>> = starts.into_par_iter().map(run).collect();
        partial.into_iter().fold(Array2::zeros((d, d)), |sum, part| sum + part)
    }

    /// `(phi_i - centre_c(i))' matrix (phi_i - centre_c(i))` of each point.
    pub(crate) fn quadratic_forms(&self, matrix: &Array2<f64>, centres: &Array2<f64>) -> Array1<f64> {
        let mut forms = Array1::zeros(self.values.nrows());
        let rows = self.run_rows();
        let run = |(run, mut forms): (usize, ArrayViewMut1<'_, f64>)| {
            let mut scratch = Array2::zeros((BLOCK.min(forms.len()), self.dimension()));
            for block in (0..forms.len()).step_by(BLOCK) {
                let end = (block + BLOCK).min(forms.len());
                let mut centred = scratch.slice_axis_mut(Axis(0), Slice::from(..end - block));
                self.centre(run * rows + block..run * rows + end, centres, |_| 1.0, &mut centred);
                let products = centred.dot(matrix);
                for (row, product) in products.rows().into_iter().enumerate() {
                    forms[block + row] = product.dot(&centred.row(row));
                }
            }
        };
        forms.axis_chunks_iter_mut(Axis(0), rows).into_par_iter().enumerate().for_each(run);
        forms
    }

    /// `sum_i weight_i (phi_i - centre_c(i))`.
    pub(crate) fn centred_sum(&self, weights: &Array1<f64>, centres: &Array2<f64>) -> Array1<f64> {
        let mut sum = Array1::zeros(self.dimension());
        for (context, rows) in self.ranges_of_contexts() {
            let mut total = 0.0;
            for row in rows {
                sum.scaled_add(weights[row], &self.values.row(row));
                total += weights[row];
            }
            sum.scaled_add(-total, &centres.row(context));
        }
        sum
    }

    /// Writes `factor(i) (phi_i - centre_c(i))` of some points into rows of `centred`.
    fn centre(
        &self,
        rows: Range<usize>,
        centres: &Array2<f64>,
        factor: impl Fn(usize) -> f64,
        centred: &mut ArrayViewMut2<'_, f64>,
    ) {
        let mut context = self.starts.partition_point(|&first| first <= rows.start) - 1;
        for (row, mut centred) in rows.zip(centred.rows_mut()) {
            while row >= self.starts[context + 1] {
                context += 1;
            }
            let factor = factor(row);
            ndarray::Zip::from(&mut centred)
                .and(self.values.row(row))
                .and(centres.row(context))
                .for_each(|centred, value, centre| *centred = factor * (value - centre));
        }
    }

    /// For each context and its points, in order.
    pub(crate) fn ranges_of_contexts(&self) -> impl Iterator<Item = (usize, Range<usize>)> + '_ {
        (0..self.contexts()).map(|context| (context, self.starts[context]..self.starts[context + 1]))
    }

    fn run_rows(&self) -> usize {
        self.values.nrows().div_ceil(RUNS).max(MIN_RUN)
    }
}
