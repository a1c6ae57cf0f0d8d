//! Standard errors of fitted coefficients, and of the moments, `ln Z` and KL that follow from them.

use ndarray::{Array1, Array2, Axis, Slice};

use crate::{ContextErrors, Dual, Redundant, Result, Solver, dual::At, linalg::Cholesky};

/// The effective sample size of a context below which its own mean tells nothing about its variance.
pub(crate) const LONELY: f64 = 1.0 + 1e-6;

/// The standard error of a variance: rounding can leave one of 0 slightly negative, and one that is not a number is unknown.
pub(crate) fn root(square: f64) -> f64 {
    if square.is_nan() { f64::INFINITY } else { square.max(0.0).sqrt() }
}

impl Dual {
    /// The covariance matrix of the estimated coefficients: the sandwich `H^-1 V H^-1`, with `H` the Hessian
    /// at `lambda` and `V` the covariance of the estimated moments there (delta method: White 1982).
    ///
    /// For [`ContextErrors::Fixed`], `V` is the sum over contexts of `t^2 sum_x W(x)^2 (1 + h(x)) (phi(x) -
    /// m)(phi(x) - m)'`, with `W` the normalised weights and `m` the moments in the context. A fit overfits its own
    /// samples slightly, so that their squares are too small by the share `h(x) = W(x) (1 + t (phi(x) - m)'
    /// H^-1 (phi(x) - m))`, the leverage of regression; the factor `1 + h` corrects it to first order (MacKinnon and
    /// White 1985). Where a single point has all the weight of a context, `m` is the mean over contexts
    /// instead, and `h` is 0. Exact points give zero. For [`ContextErrors::Drawn`] it is the covariance of a
    /// mean of independent contexts.
    ///
    /// Coefficients that a tolerance holds at 0, and those of redundant features, have variance 0; the errors of the
    /// others are conditional on these zeros. The entries are infinite if the error cannot be estimated: a single point has all the weight.
    ///
    /// # Errors
    /// [`disco_core::Error::Length`].
    ///
    /// # Shapes
    /// - lambda: `[features]`
    /// - result: `[features, features]`
    pub fn covariance(&self, lambda: &[f64], errors: ContextErrors) -> Result<Array2<f64>> {
        disco_core::Error::check_length("coefficients", self.dimension(), lambda.len())?;
        let redundant = self.redundant(Solver::default().tolerance).unwrap_or_default();
        Ok(Inference::new(self, lambda, &redundant, errors).covariance())
    }

    fn variance_within(&self, at: &At, leverages: &Array1<f64>) -> Option<Array2<f64>> {
        let mut weights = &at.weights * &at.weights * (1.0 + leverages);
        let mut centres = at.means.clone();
        let from_mean = self.distances(at);
        for (context, rows) in self.ranges_of_contexts() {
            if self.is_lonely(at, context, rows.clone()) {
                if self.contexts() == 1 {
                    return None;
                }
                centres.row_mut(context).scaled_add(-1.0, &from_mean.row(context));
                let own = at.weights.slice_axis(Axis(0), Slice::from(rows.clone()));
                weights.slice_axis_mut(Axis(0), Slice::from(rows)).assign(&(&own * &own));
            }
        }
        Some(self.scatter(&weights, &centres))
    }

    fn variance_between(&self, at: &At) -> Option<Array2<f64>> {
        let contexts = self.contexts() as f64;
        if self.contexts() < 2 {
            return None;
        }
        let mut deviations = self.distances(at);
        for (mut row, share) in deviations.rows_mut().into_iter().zip(&self.shares) {
            row *= *share;
        }
        Some(deviations.t().dot(&deviations) * (contexts / (contexts - 1.0)))
    }

    /// Whether a single point has all the weight of a context.
    fn is_lonely(&self, at: &At, context: usize, rows: std::ops::Range<usize>) -> bool {
        let squares: f64 = rows.map(|row| at.weights[row].powi(2)).sum();
        self.shares[context].powi(2) < LONELY * squares
    }

    /// `h` of each point, given `H^-1`.
    fn leverages(&self, at: &At, inverse: &Array2<f64>) -> Array1<f64> {
        let mut leverages = self.quadratic_forms(inverse, &at.means);
        for (context, rows) in self.ranges_of_contexts() {
            for row in rows {
                let weight = at.weights[row];
                leverages[row] = weight / self.shares[context] + weight * leverages[row];
            }
        }
        leverages
    }
}

/// A dual at fitted coefficients, with the quantities that all errors are computed from.
pub(crate) struct Inference<'a> {
    dual: &'a Dual,
    at: At,
    hessian: Array2<f64>,
    /// The coefficients that neither a tolerance nor redundancy holds at zero.
    free: Vec<usize>,
    /// `H^-1` of the free coefficients, zero in the rows and columns of the others; `None` if `H` is singular.
    inverse: Option<Array2<f64>>,
    leverages: Array1<f64>,
    /// The covariance of the moments; `None` if it cannot be estimated.
    variance: Option<Array2<f64>>,
}

impl<'a> Inference<'a> {
    /// `lambda` has one coefficient per feature.
    pub(crate) fn new(
        dual: &'a Dual,
        lambda: &[f64],
        redundant: &[Redundant],
        errors: ContextErrors,
    ) -> Self {
        let d = dual.dimension();
        let at = dual.at(Array1::from(lambda.to_vec()) * &dual.standard.scale);
        let hessian = dual.hessian_at(&at);
        let held = |i: usize| {
            dual.targets[i].tolerance > 0.0 && lambda[i] == 0.0
                || redundant.iter().any(|redundant| redundant.feature == dual.targets[i].name)
        };
        let free: Vec<usize> = (0..d).filter(|&i| !held(i)).collect();
        let block = Array2::from_shape_fn((free.len(), free.len()), |(i, j)| hessian[[free[i], free[j]]]);
        let inverse = Cholesky::new(&block).map(|factor| {
            let mut inverse = Array2::zeros((d, d));
            for ((i, j), value) in factor.inverse().indexed_iter() {
                inverse[[free[i], free[j]]] = *value;
            }
            inverse
        });
        let leverages = match &inverse {
            Some(inverse) if !dual.exact => dual.leverages(&at, inverse),
            _ => Array1::zeros(at.weights.len()),
        };
        let variance = match errors {
            ContextErrors::Fixed if dual.exact => Some(Array2::zeros((d, d))),
            ContextErrors::Fixed => dual.variance_within(&at, &leverages),
            ContextErrors::Drawn => dual.variance_between(&at),
        };
        Self { dual, at, hessian, free, inverse, leverages, variance }
    }

    /// See [`Dual::covariance`].
    pub(crate) fn covariance(&self) -> Array2<f64> {
        let scale = &self.dual.standard.scale;
        let mut covariance = self.sandwich();
        for ((row, column), value) in covariance.indexed_iter_mut() {
            *value = *value / scale[row] / scale[column];
        }
        covariance
    }

    /// The standard error of each coefficient.
    pub(crate) fn coefficient_errors(&self) -> Vec<f64> {
        // The root comes first: the variance of a coefficient of a feature in tiny units may be beyond `f64`.
        let error = |(variance, scale): (&f64, &f64)| root(*variance) / scale;
        self.sandwich().diag().iter().zip(&self.dual.standard.scale).map(error).collect()
    }

    /// The covariance of the standardised coefficients.
    fn sandwich(&self) -> Array2<f64> {
        let d = self.dual.dimension();
        let mut covariance = Array2::zeros((d, d));
        let certain =
            self.variance.as_ref().is_some_and(|variance| variance.iter().all(|value| *value == 0.0));
        if certain || self.free.is_empty() && self.variance.is_some() {
            return covariance;
        }
        let (Some(inverse), Some(variance)) = (&self.inverse, &self.variance) else {
            return Array2::from_elem((d, d), f64::INFINITY);
        };
        let sandwich = inverse.dot(variance).dot(inverse);
        for &row in &self.free {
            for &column in &self.free {
                // Both halves of a symmetric product, so that rounding does not make it asymmetric.
                covariance[[row, column]] = 0.5 * (sandwich[[row, column]] + sandwich[[column, row]]);
            }
        }
        covariance
    }

    /// The bias of the moments: the mean distance of the moments of the fitted target from those that its own samples
    /// show, standardised: `sum t W h (phi - m)` over all points.
    ///
    /// The fit follows the samples that happened to be drawn, so that they show the moments that were asked for. To
    /// first order in `h`, the bias equals the one found by leaving out each point in turn.
    fn moment_biases(&self) -> Array1<f64> {
        self.dual.centred_sum(&(&self.at.weights * &self.leverages), &self.at.means)
    }

    /// The error of each moment of the fitted target as its own samples show it: the root of variance plus squared
    /// bias.
    pub(crate) fn moment_errors(&self) -> Vec<f64> {
        let Some(variance) = &self.variance else {
            return vec![f64::INFINITY; self.dual.dimension()];
        };
        let error = |((variance, bias), scale): ((&f64, &f64), &f64)| root(variance + bias * bias) * scale;
        variance.diag().iter().zip(&self.moment_biases()).zip(&self.dual.standard.scale).map(error).collect()
    }

    /// `h` of each point of the dual that has positive weight.
    pub(crate) fn leverages(&self) -> &Array1<f64> {
        &self.leverages
    }

    /// How `ln Z` and `KL = lambda . m - ln Z`, at the estimated coefficients, depend on the sample's moments
    /// at the true ones: the vectors `v` of the terms `v . (m' - m)`, with `m'` the sample's moments.
    ///
    /// `-H^-1 m` for `ln Z`, since `lambda' - lambda = -H^-1 (m' - m)` to first order and the gradient of
    /// `ln Z` is `m`; `lambda - H^-1 C lambda` for KL, whose gradient is `C lambda`, with `C` the
    /// covariance of the features: zero but for ridge and tolerances. The factor has the features less `origin`. A factor
    /// that is not fitted adds to the gradient of KL its covariance with the features: `fixed` has its logarithm for each
    /// point of the dual. `None` if `H` is singular, or nearly.
    pub(crate) fn sensitivities(
        &self,
        origin: &[f64],
        fixed: Option<&Array1<f64>>,
    ) -> Option<(Vec<f64>, Vec<f64>)> {
        let (dual, at, inverse) = (self.dual, &self.at, self.inverse.as_ref()?);
        let scale = &dual.standard.scale;
        let moments = dual.moments_above(&at.moments, origin) / scale;
        let mut spread = self.hessian.dot(&at.lambda) - &dual.ridges() * &at.lambda;
        if let Some(fixed) = fixed {
            let mut weights = &at.weights * fixed;
            for (context, rows) in dual.ranges_of_contexts() {
                let mean =
                    weights.slice_axis(Axis(0), Slice::from(rows.clone())).sum() / dual.shares[context];
                for row in rows {
                    weights[row] -= at.weights[row] * mean;
                }
            }
            spread += &dual.centred_sum(&weights, &at.means);
        }
        let of_log_z = -inverse.dot(&moments);
        let of_kl = &at.lambda - &inverse.dot(&spread);
        let (of_log_z, of_kl) = ((of_log_z / scale).to_vec(), (of_kl / scale).to_vec());
        of_log_z.iter().chain(&of_kl).all(|value| value.is_finite()).then_some((of_log_z, of_kl))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EvaluatedSamples, MomentTarget};

    fn dual(targets: &[f64], contexts: usize, tolerance: f64) -> Dual {
        let points = |context: usize| {
            let phi = |(x, j): (usize, usize)| ((x + 7 * context) as f64 * (0.9 + j as f64)).sin();
            let log_weights = (0..30).map(|x| (x as f64 * 0.37).cos()).collect();
            EvaluatedSamples::sampled(log_weights, Array2::from_shape_fn((30, targets.len()), phi))
                .expect("points")
        };
        let target =
            |(i, target): (usize, &f64)| MomentTarget { name: i.to_string(), target: *target, tolerance };
        let targets = targets.iter().enumerate().map(target).collect();
        Dual::new(targets, (0..contexts).map(points).collect(), None, 0.0).expect("a dual")
    }

    /// As in regression: one for each coefficient, and one for the Z of each context.
    #[test]
    fn leverages_sum_to_what_is_fitted() {
        for contexts in [1, 3] {
            let dual = dual(&[0.1, -0.2, 0.05], contexts, 0.0);
            let fitted = dual.solve(&crate::Solver::default()).expect("feasible").coefficients;
            let inference = Inference::new(&dual, &fitted, &[], ContextErrors::Fixed);
            let sum = inference.leverages().sum();
            assert!((sum - (3 + contexts) as f64).abs() < 1e-12, "{sum}");
            assert!(inference.leverages().iter().all(|leverage| (0.0..=1.0).contains(leverage)));
        }
        // Coefficients held at zero by their tolerance are not fitted.
        let dual = dual(&[0.1, -0.2, 0.05], 1, 10.0);
        let inference = Inference::new(&dual, &[0.0; 3], &[], ContextErrors::Fixed);
        assert!((inference.leverages().sum() - 1.0).abs() < 1e-12);
    }

    /// The bias is to first order what leaving out each point in turn shows. With `k` ones among `n` equal points and
    /// a target of 1/2, a one is given the weight `1 / 2(k-1)` by the fit to the others, a zero `1 / 2(n-k-1)`.
    #[test]
    fn the_bias_is_that_of_leaving_points_out() {
        let (n, k) = (1000, 200);
        let values = Array2::from_shape_fn((n, 1), |(x, _)| f64::from(u8::from(x < k)));
        let points = EvaluatedSamples::sampled(vec![0.0; n], values).expect("points");
        let targets = vec![MomentTarget { name: "one".into(), target: 0.5, tolerance: 0.0 }];
        let dual = Dual::new(targets, vec![points], None, 0.0).expect("a dual");
        let (ones, zeros) = (k as f64, (n - k) as f64);
        let inference = Inference::new(&dual, &[(zeros / ones).ln()], &[], ContextErrors::Fixed);
        let bias = inference.moment_biases()[0] * dual.standard.scale[0];
        let left_out = 0.25 * (1.0 / (ones - 1.0) - 1.0 / (zeros - 1.0));
        assert!((bias / left_out - 1.0).abs() < 0.01, "{bias} {left_out}");
        let variance =
            inference.variance.as_ref().expect("many points")[[0, 0]] * dual.standard.scale[0].powi(2);
        assert!((inference.moment_errors()[0] - (variance + bias * bias).sqrt()).abs() < 1e-15);
    }
}
