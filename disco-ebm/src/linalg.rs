//! Symmetric positive definite systems, by Cholesky factors.

use ndarray::{Array1, Array2};

/// The lower factor `L` of `A = L L'`.
pub(crate) struct Cholesky(Array2<f64>);

impl Cholesky {
    /// Factorises a symmetric matrix; `None` if it is not numerically positive definite.
    pub(crate) fn new(matrix: &Array2<f64>) -> Option<Self> {
        let d = matrix.nrows();
        let mut lower = matrix.clone();
        for j in 0..d {
            for i in j..d {
                let (row_i, row_j) = (lower.row(i), lower.row(j));
                let mut rest = lower[[i, j]];
                for k in 0..j {
                    rest -= row_i[k] * row_j[k];
                }
                if i > j {
                    lower[[i, j]] = rest / lower[[j, j]];
                } else {
                    // Below this share of the diagonal, the remainder is the rounding error of the sums.
                    if !(rest > 1e-15 * matrix[[j, j]] && rest.is_finite()) {
                        return None;
                    }
                    lower[[j, j]] = rest.sqrt();
                }
            }
        }
        Some(Self(lower))
    }

    /// The factor of `A + shift I` with the smallest shift of a geometric series (0 first) for which it
    /// exists.
    ///
    /// `None` only if the matrix is not finite.
    pub(crate) fn shifted(matrix: &Array2<f64>) -> Option<Self> {
        if let Some(factor) = Self::new(matrix) {
            return Some(factor);
        }
        let largest = matrix.diag().iter().copied().fold(0.0, f64::max);
        let mut shift = (largest * 1e-12).max(f64::MIN_POSITIVE.sqrt());
        while shift.is_finite() {
            let mut shifted = matrix.clone();
            shifted.diag_mut().mapv_inplace(|value| value + shift);
            if let Some(factor) = Self::new(&shifted) {
                return Some(factor);
            }
            shift *= 10.0;
        }
        None
    }

    /// `x` with `A x = b`.
    pub(crate) fn solve(&self, b: &Array1<f64>) -> Array1<f64> {
        let (lower, d) = (&self.0, b.len());
        let mut x = b.clone();
        for i in 0..d {
            for k in 0..i {
                x[i] -= lower[[i, k]] * x[k];
            }
            x[i] /= lower[[i, i]];
        }
        for i in (0..d).rev() {
            for k in i + 1..d {
                x[i] -= lower[[k, i]] * x[k];
            }
            x[i] /= lower[[i, i]];
        }
        x
    }

    /// The inverse of `A`.
    pub(crate) fn inverse(&self) -> Array2<f64> {
        let d = self.0.nrows();
        let mut inverse = Array2::zeros((d, d));
        for j in 0..d {
            let mut unit = Array1::zeros(d);
            unit[j] = 1.0;
            inverse.column_mut(j).assign(&self.solve(&unit));
        }
        inverse
    }
}

/// A matrix with these rows and columns.
pub(crate) fn block(matrix: &Array2<f64>, rows: &[usize]) -> Array2<f64> {
    Array2::from_shape_fn((rows.len(), rows.len()), |(i, j)| matrix[[rows[i], rows[j]]])
}

/// The columns of a positive semidefinite matrix with unit diagonal: independent ones, and those that are linear
/// combinations of them.
///
/// Cholesky factorisation with diagonal pivoting: the next pivot is the part of a feature's variance
/// that the earlier features leave unexplained, `1 - R^2`; below `threshold` it counts as zero.
pub(crate) fn dependent_columns(matrix: &Array2<f64>, threshold: f64) -> (Vec<usize>, Vec<usize>) {
    let d = matrix.nrows();
    let mut order: Vec<usize> = (0..d).collect();
    // Invariant: rows are in the order of `order`; columns are the steps done.
    let mut lower = Array2::<f64>::zeros((d, d));
    let mut left: Vec<f64> = matrix.diag().to_vec();
    for step in 0..d {
        // Among equals the first, so that the constraints named first are kept. Parts that differ by rounding are equal.
        let largest = order[step..].iter().map(|&column| left[column]).fold(0.0, f64::max);
        if !(largest > threshold) {
            let dependent = order.split_off(step);
            return (order, dependent);
        }
        let alike = |&at: &usize| left[order[at]] >= largest * (1.0 - 1e-6);
        let best = (step..d).filter(alike).min_by_key(|&at| order[at]).expect("the largest is alike");
        order.swap(step, best);
        for k in 0..step {
            lower.swap([step, k], [best, k]);
        }
        let pivot = left[order[step]];
        lower[[step, step]] = pivot.sqrt();
        for i in step + 1..d {
            let done: f64 = (0..step).map(|k| lower[[i, k]] * lower[[step, k]]).sum();
            let value = (matrix[[order[i], order[step]]] - done) / lower[[step, step]];
            lower[[i, step]] = value;
            left[order[i]] -= value * value;
        }
    }
    (order, Vec::new())
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn solves_and_inverts() {
        let a = array![[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 1.0]];
        let factor = Cholesky::new(&a).expect("positive definite");
        let x = factor.solve(&array![1.0, -2.0, 0.3]);
        let residual = a.dot(&x) - array![1.0, -2.0, 0.3];
        assert!(residual.iter().all(|r| r.abs() < 1e-14), "{residual}");
        let unit = a.dot(&factor.inverse()) - Array2::<f64>::eye(3);
        assert!(unit.iter().all(|r| r.abs() < 1e-14), "{unit}");
        assert!(Cholesky::new(&array![[1.0, 1.0], [1.0, 1.0]]).is_none());
        assert!(Cholesky::shifted(&array![[1.0, 1.0], [1.0, 1.0]]).is_some());
    }

    #[test]
    fn finds_the_dependent_columns() {
        // The third variable is the first minus twice the second, of variances 1 and 1/4, scaled by 1/sqrt 2; the
        // fourth is the second.
        let (a, b) = (1.0 / 2f64.sqrt(), -1.0 / 2f64.sqrt());
        let matrix = array![[1.0, 0.0, a, 0.0], [0.0, 1.0, b, 1.0], [a, b, 1.0, b], [0.0, 1.0, b, 1.0]];
        let (mut independent, mut dependent) = dependent_columns(&matrix, 1e-12);
        independent.sort_unstable();
        dependent.sort_unstable();
        assert_eq!((independent, dependent), (vec![0, 1], vec![2, 3]));
        assert_eq!(dependent_columns(&Array2::eye(4), 1e-12), (vec![0, 1, 2, 3], vec![]));
    }
}
