//! Means and covariances of three columns in one pass (Welford 1962).

use crate::contribution::Contribution;

/// Running sums of one divergence: the columns are its contribution `c`, and the densities `u = p/q` and `v = pi/q`, on
/// which the effect of an estimated Z depends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Moments {
    count: f64,
    mean: [f64; 3],
    /// Sums of products of deviations; the upper triangle, row by row.
    deviations: [f64; 6],
    slope_sum: f64,
    largest: f64,
}

impl Moments {
    pub(crate) fn push(&mut self, contribution: Contribution, u: f64, v: f64) {
        self.count += 1.0;
        self.slope_sum += contribution.policy_slope;
        self.largest = self.largest.max(contribution.value);
        let values = [contribution.value, u, v];
        let before: [f64; 3] = std::array::from_fn(|i| values[i] - self.mean[i]);
        for (mean, deviation) in self.mean.iter_mut().zip(before) {
            *mean += deviation / self.count;
        }
        let after: [f64; 3] = std::array::from_fn(|i| values[i] - self.mean[i]);
        let pairs = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)];
        for (sum, (i, j)) in self.deviations.iter_mut().zip(pairs) {
            *sum += before[i] * after[j];
        }
    }

    pub(crate) fn count(&self) -> f64 {
        self.count
    }

    /// The mean contribution: `+inf` if any is.
    pub(crate) fn mean(&self) -> f64 {
        if self.largest == f64::INFINITY { f64::INFINITY } else { self.mean[0] }
    }

    /// The mean of `v f'(v/u)`.
    pub(crate) fn policy_slope(&self) -> f64 {
        self.slope_sum / self.count
    }

    pub(crate) fn largest(&self) -> f64 {
        self.largest
    }

    /// The mean of `c^2`.
    pub(crate) fn mean_square(&self) -> f64 {
        self.deviations[0] / self.count + self.mean[0] * self.mean[0]
    }

    /// The variance of the mean of `c - a u - b v`; infinite for fewer than two samples, and where the squares
    /// exceed `f64`.
    pub(crate) fn variance_of_mean(&self, a: f64, b: f64) -> f64 {
        let [cc, cu, cv, uu, uv, vv] = self.deviations;
        let squares = cc + a * a * uu + b * b * vv + 2.0 * (a * b * uv - a * cu - b * cv);
        // Rounding can leave a residue below zero; NaN is `inf - inf` of squares.
        if self.count < 2.0 || !squares.is_finite() {
            f64::INFINITY
        } else {
            squares.max(0.0) / (self.count - 1.0) / self.count
        }
    }
}
