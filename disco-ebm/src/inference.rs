//! How far fitted coefficients can be trusted.

use ndarray::{Array1, Array2, Axis, Slice};

use crate::{ContextErrors, Dual, Result, linalg::Cholesky};

/// An effective sample size within a context below which its own mean says nothing of its variance.
pub(crate) const LONELY: f64 = 1.0 + 1e-6;

impl Dual {
    /// The covariance matrix of the estimated coefficients: the sandwich `H^-1 V H^-1`, with `H` the Hessian
    /// at `lambda` and `V` the covariance of the estimated moments there (delta method: White 1982).
    ///
    /// For [`ContextErrors::Fixed`], `V` is the sum over contexts of `t^2 sum_x W(x)^2 (phi(x) - m)(phi(x) -
    /// m)'` times `ess / (ess - 1)`, with `W` the normalised weights and `m` the moments in the context;
    /// where a single point has all the weight, `m` is the mean over contexts instead. Exact points give
    /// zero. For [`ContextErrors::Drawn`] it is the covariance of a mean of independent contexts.
    ///
    /// Coefficients that a tolerance holds at 0 have variance 0; the others' errors are given those zeros.
    /// The entries are infinite if there is nothing to estimate the error from: a single point has all the
    /// weight.
    ///
    /// # Errors
    /// [`disco_core::Error::Length`].
    ///
    /// # Shapes
    /// - lambda: `[features]`
    /// - result: `[features, features]`
    pub fn covariance(&self, lambda: &[f64], errors: ContextErrors) -> Result<Array2<f64>> {
        let d = self.dimension();
        disco_core::Error::check_length("coefficients", d, lambda.len())?;
        let at = self.at(Array1::from(lambda.to_vec()) * &self.scale);
        let variance = match errors {
            ContextErrors::Fixed if self.exact => Some(Array2::zeros((d, d))),
            ContextErrors::Fixed => self.variance_within(&at),
            ContextErrors::Drawn => self.variance_between(&at),
        };
        let Some(variance) = variance else {
            return Ok(Array2::from_elem((d, d), f64::INFINITY));
        };
        let free = self.free(lambda);
        let mut covariance = Array2::zeros((d, d));
        if free.is_empty() {
            return Ok(covariance);
        }
        let part = |matrix: &Array2<f64>| {
            Array2::from_shape_fn((free.len(), free.len()), |(i, j)| matrix[[free[i], free[j]]])
        };
        let Some(factor) = Cholesky::new(&part(&self.hessian_at(&at))) else {
            return Ok(Array2::from_elem((d, d), f64::INFINITY));
        };
        let inverse = factor.inverse();
        let sandwich = inverse.dot(&part(&variance)).dot(&inverse);
        for (i, &row) in free.iter().enumerate() {
            for (j, &column) in free.iter().enumerate() {
                // Both halves of a symmetric product, so that rounding does not make it asymmetric.
                let value = 0.5 * (sandwich[[i, j]] + sandwich[[j, i]]);
                covariance[[row, column]] = value / self.scale[row] / self.scale[column];
            }
        }
        Ok(covariance)
    }

    /// How `ln Z` and `KL = lambda . m - ln Z`, at the estimated coefficients, depend on the sample's moments
    /// at the true ones: the vectors `v` of the terms `v . (m' - m)`, with `m'` the sample's moments.
    ///
    /// `-H^-1 m` for `ln Z`, since `lambda' - lambda = -H^-1 (m' - m)` to first order and the gradient of
    /// `ln Z` is `m`; `lambda - H^-1 C lambda` for KL, whose gradient is `C lambda`, with `C` the
    /// covariance of the features: zero but for ridge and tolerances. None if `H` is singular.
    pub(crate) fn sensitivities(&self, lambda: &[f64]) -> Option<(Vec<f64>, Vec<f64>)> {
        let d = self.dimension();
        let at = self.at(Array1::from(lambda.to_vec()) * &self.scale);
        let hessian = self.hessian_at(&at);
        let free = self.free(lambda);
        let part = |vector: &Array1<f64>| free.iter().map(|&i| vector[i]).collect::<Array1<f64>>();
        let block = Array2::from_shape_fn((free.len(), free.len()), |(i, j)| hessian[[free[i], free[j]]]);
        let factor = if free.is_empty() { None } else { Some(Cholesky::new(&block)?) };
        let solve = |vector: &Array1<f64>| {
            let mut solved = Array1::zeros(d);
            if let Some(factor) = &factor {
                free.iter().zip(factor.solve(&part(vector))).for_each(|(&i, value)| solved[i] = value);
            }
            solved
        };
        // The gradient of ln Z is the moment of the feature as it is, in units of its scale.
        let moments = &at.moments + &(&self.shift / &self.scale);
        let spread = hessian.dot(&at.lambda) - &self.ridges() * &at.lambda;
        let of_log_z = -solve(&moments);
        let of_kl = &at.lambda - &solve(&spread);
        Some(((of_log_z / &self.scale).to_vec(), (of_kl / &self.scale).to_vec()))
    }

    /// The coefficients that no tolerance holds at zero.
    fn free(&self, lambda: &[f64]) -> Vec<usize> {
        let held = |i: usize| self.targets[i].tolerance > 0.0 && lambda[i] == 0.0;
        (0..self.dimension()).filter(|&i| !held(i)).collect()
    }

    fn variance_within(&self, at: &crate::dual::At) -> Option<Array2<f64>> {
        let mut weights = at.weights.clone();
        let mut centres = at.means.clone();
        for (context, rows) in self.ranges_of_contexts() {
            let share = self.shares[context];
            let mut weights = weights.slice_axis_mut(Axis(0), Slice::from(rows));
            let ess = share * share / weights.iter().map(|weight| weight * weight).sum::<f64>();
            let factor = if ess >= LONELY {
                ess / (ess - 1.0)
            } else if self.contexts() > 1 {
                centres.row_mut(context).assign(&at.moments);
                1.0
            } else {
                return None;
            };
            weights.mapv_inplace(|weight| factor * weight * weight);
        }
        Some(self.scatter(&weights, &centres))
    }

    fn variance_between(&self, at: &crate::dual::At) -> Option<Array2<f64>> {
        let contexts = self.contexts() as f64;
        if self.contexts() < 2 {
            return None;
        }
        let mut deviations = &at.means - &at.moments;
        for (mut row, share) in deviations.rows_mut().into_iter().zip(&self.shares) {
            row *= *share;
        }
        Some(deviations.t().dot(&deviations) * (contexts / (contexts - 1.0)))
    }
}
