//! The convex dual of the maximum-entropy problem, its gradient and its Hessian.

use disco_core::{Error as CoreError, numerics::log_sum_exp};
use ndarray::{Array1, Array2};

use crate::{
    Error, EvaluatedSamples, MomentTarget, Result, context_shares::context_shares, standardise::Standard,
};

/// The dual of the maximum-entropy problem on evaluated points:
///
/// ```text
/// g(lambda) = sum_c t_c ln Z_c(lambda) - lambda . mu + ridge/2 |lambda|^2 + sum_i tolerance_i |lambda_i|
/// ln Z_c(lambda) = ln sum_x w_c(x) exp(lambda . phi(x, c))
/// ```
///
/// with `t_c` the context weights (summing to 1), `w` the importance weights (divided by their number if the
/// points are samples). Its minimiser is the `lambda` of the target. The gradient of the smooth part is
/// `E_lambda[phi] - mu + ridge lambda`, and the Hessian the mean over contexts of the covariance of `phi`,
/// plus the ridge (Berger, Della Pietra and Della Pietra 1996; Malouf 2002).
///
/// All public methods take and give coefficients of the features as they are; inside, features are shifted by
/// their target, or the value nearest to it in a context's range, and divided by their range on the points.
///
/// # Performance
/// Value and gradient cost one pass over the values, `2 N d` multiplications; the Hessian `N d^2`. Passes
/// run in parallel.
#[derive(Clone, Debug)]
pub struct Dual {
    pub(crate) targets: Vec<MomentTarget>,
    pub(crate) ridge: f64,
    /// Only points of positive weight, of all contexts, one after the other: `[points]`.
    pub(crate) log_weights: Array1<f64>,
    /// Standardised: `[points, features]`.
    pub(crate) values: Array2<f64>,
    /// Context `c` has the points `starts[c]..starts[c + 1]`. Invariant: no context is empty.
    pub(crate) starts: Vec<usize>,
    /// Invariant: positive, sum to 1.
    pub(crate) shares: Vec<f64>,
    /// The logarithm of the divisor of `Z_c`: the number of samples; 0 for exact points.
    log_divisors: Vec<f64>,
    pub(crate) exact: bool,
    pub(crate) standard: Standard,
}

/// The dual and its derivatives at one `lambda`, in standardised coordinates.
pub(crate) struct At {
    pub(crate) lambda: Array1<f64>,
    /// `lambda . phi` of each point.
    pub(crate) linear: Array1<f64>,
    /// `t_c W_c(x)`, with `W_c` the normalised weights in the context: they sum to 1.
    pub(crate) weights: Array1<f64>,
    /// The moments in each context: `[contexts, features]`.
    pub(crate) means: Array2<f64>,
    /// The moments.
    pub(crate) moments: Array1<f64>,
    /// The value of the smooth part.
    pub(crate) value: f64,
    /// The gradient of the smooth part.
    pub(crate) gradient: Array1<f64>,
}

impl Dual {
    /// The dual for these targets, on the points of each context.
    ///
    /// - `targets`: one per feature;
    /// - `points`: one element per context, with values `[points, features]` in the order of `targets`;
    /// - `context_weights`: one per context, of any sum; without them all contexts count the same, which is right
    ///   for contexts that were drawn from their distribution. Contexts of weight 0 are left out.
    ///
    /// # Errors
    /// [`disco_core::Error`] for no targets or contexts, targets or tolerances out of range, a negative
    /// ridge, or one beyond `f64` in units of a feature's variance; lengths that differ, exact and sampled
    /// points together, feature values above 1e150 in size; [`Error::DuplicateFeature`]; [`Error::NoSupport`].
    pub fn new(
        targets: Vec<MomentTarget>,
        points: Vec<EvaluatedSamples>,
        context_weights: Option<&[f64]>,
        ridge: f64,
    ) -> Result<Self> {
        let d = targets.len();
        validate(&targets, &points, ridge)?;
        let exact = points[0].exact;
        let shares = context_shares(context_weights, points.len())?;
        let counted = points.into_iter().zip(shares).enumerate().filter(|(_, (_, share))| *share > 0.0);
        // Errors name a context by its position among all.
        let (positions, (points, shares)): (Vec<usize>, (Vec<_>, Vec<f64>)) = counted.unzip();
        let mut log_divisors = Vec::with_capacity(points.len());
        let mut starts = vec![0];
        for (index, (&context, points)) in positions.iter().zip(&points).enumerate() {
            let support = points.log_weights.iter().filter(|weight| **weight > f64::NEG_INFINITY).count();
            if support == 0 {
                return Err(Error::NoSupport { context, samples: points.len(), never: Vec::new() });
            }
            starts.push(starts[index] + support);
            log_divisors.push(if exact { 0.0 } else { ((points.len() + points.left_out) as f64).ln() });
        }
        let rows = starts[points.len()];
        let mut log_weights = Vec::with_capacity(rows);
        let mut values = Vec::with_capacity(rows * d);
        // Each context's points are dropped as soon as they are copied.
        for points in points {
            for (row, &weight) in points.values.rows().into_iter().zip(&points.log_weights) {
                if weight > f64::NEG_INFINITY {
                    log_weights.push(weight);
                    values.extend(row.iter());
                }
            }
        }
        let mut values = Array2::from_shape_vec((rows, d), values).expect("one row of values per point");
        let standard = Standard::of(&mut values, &starts, &shares, &targets)?;
        let dual = Self {
            targets,
            ridge,
            log_weights: log_weights.into(),
            values,
            starts,
            shares,
            log_divisors,
            exact,
            standard,
        };
        if let Some(i) = dual.ridges().iter().position(|ridge| !ridge.is_finite()) {
            let name = &dual.targets[i].name;
            let allowed = format!("less: `{name}` varies by {} only", dual.standard.scale[i]);
            return Err(CoreError::invalid("ridge", ridge, allowed).into());
        }
        Ok(dual)
    }

    /// The same problem with these features alone.
    pub(crate) fn select(&self, columns: &[usize]) -> Self {
        Self {
            targets: columns.iter().map(|&column| self.targets[column].clone()).collect(),
            ridge: self.ridge,
            log_weights: self.log_weights.clone(),
            values: self.values.select(ndarray::Axis(1), columns),
            starts: self.starts.clone(),
            shares: self.shares.clone(),
            log_divisors: self.log_divisors.clone(),
            exact: self.exact,
            standard: self.standard.select(columns),
        }
    }

    /// The number of features.
    pub fn dimension(&self) -> usize {
        self.targets.len()
    }

    /// The number of contexts.
    pub fn contexts(&self) -> usize {
        self.shares.len()
    }

    /// `g(lambda)`, with all penalties (nats).
    ///
    /// # Errors
    /// [`disco_core::Error::Length`].
    pub fn value(&self, lambda: &[f64]) -> Result<f64> {
        let at = self.at_raw(lambda)?;
        Ok(at.value + self.box_penalty(&at.lambda))
    }

    /// The gradient of the smooth part (all but the tolerances): `E_lambda[phi] - mu + ridge lambda`.
    ///
    /// # Errors
    /// As [`value`](Self::value).
    pub fn gradient(&self, lambda: &[f64]) -> Result<Vec<f64>> {
        Ok((self.at_raw(lambda)?.gradient * &self.standard.scale).to_vec())
    }

    /// The Hessian of the smooth part: `[features, features]`.
    ///
    /// # Errors
    /// As [`value`](Self::value).
    pub fn hessian(&self, lambda: &[f64]) -> Result<Array2<f64>> {
        let mut hessian = self.hessian_at(&self.at_raw(lambda)?);
        for ((i, j), value) in hessian.indexed_iter_mut() {
            *value = *value * self.standard.scale[i] * self.standard.scale[j];
        }
        Ok(hessian)
    }

    fn at_raw(&self, lambda: &[f64]) -> Result<At> {
        CoreError::check_length("coefficients", self.dimension(), lambda.len())?;
        Ok(self.at(Array1::from(lambda.to_vec()) * &self.standard.scale))
    }

    pub(crate) fn at(&self, lambda: Array1<f64>) -> At {
        let linear = self.linear(&lambda);
        let mut weights = &self.log_weights + &linear;
        let mut mean_log_z = 0.0;
        let slice = weights.as_slice_mut().expect("a new array is contiguous");
        for (context, &share) in self.shares.iter().enumerate() {
            let terms = &mut slice[self.starts[context]..self.starts[context + 1]];
            let log_sum = log_sum_exp(terms);
            mean_log_z += share * (log_sum - self.log_divisors[context]);
            terms.iter_mut().for_each(|term| *term = share * (*term - log_sum).exp());
        }
        let means = self.means(&weights);
        let shares = Array1::from(self.shares.clone());
        let moments = shares.dot(&means);
        let asked = &self.standard.asked;
        let ridge = self.ridges();
        let value = mean_log_z - lambda.dot(asked) + 0.5 * (&ridge * &lambda).dot(&lambda);
        let gradient = &moments - asked + &ridge * &lambda;
        At { lambda, linear, weights, means, moments, value, gradient }
    }

    /// The distance of each context's moments from those over contexts: `[contexts, features]`. The standardised values of a context have
    /// a shift of their own, so that the distance is taken above the targets, which are common.
    pub(crate) fn distances(&self, at: &At) -> Array2<f64> {
        let targets: Vec<f64> = self.targets.iter().map(|target| target.target).collect();
        let overall = &at.moments - &self.standard.asked;
        let mut distances = Array2::zeros(at.means.raw_dim());
        for (context, mut distance) in distances.rows_mut().into_iter().enumerate() {
            let above = self.standard.above(context, at.means.row(context), &targets);
            distance.assign(&(above - &overall));
        }
        distances
    }

    pub(crate) fn hessian_at(&self, at: &At) -> Array2<f64> {
        let mut hessian = self.scatter(&at.weights, &at.means);
        for (i, ridge) in self.ridges().iter().enumerate() {
            hessian[[i, i]] += ridge;
        }
        hessian
    }

    /// Moments of the features as they are, less `origin`.
    pub(crate) fn moments_above(&self, standardised: &Array1<f64>, origin: &[f64]) -> Array1<f64> {
        let Standard { scale, asked, .. } = &self.standard;
        // From the target, which is the number nearest by: an offset costs no digits.
        let raw = |(i, target): (usize, &MomentTarget)| {
            (target.target - origin[i]) + (standardised[i] - asked[i]) * scale[i]
        };
        self.targets.iter().enumerate().map(raw).collect()
    }

    /// The tolerances in standardised coordinates.
    pub(crate) fn tolerances(&self) -> Array1<f64> {
        let raw: Array1<f64> = self.targets.iter().map(|target| target.tolerance).collect();
        raw / &self.standard.scale
    }

    /// The ridge of each standardised coefficient.
    pub(crate) fn ridges(&self) -> Array1<f64> {
        self.standard.scale.mapv(|scale| self.ridge / scale / scale)
    }

    /// `sum_i tolerance_i |lambda_i|`: equal in both coordinates.
    pub(crate) fn box_penalty(&self, lambda: &Array1<f64>) -> f64 {
        self.tolerances().iter().zip(lambda).map(|(tolerance, lambda)| tolerance * lambda.abs()).sum()
    }
}

fn validate(targets: &[MomentTarget], points: &[EvaluatedSamples], ridge: f64) -> Result<()> {
    if targets.is_empty() {
        return Err(CoreError::Empty { what: "list of moment targets".into() }.into());
    }
    if !(ridge >= 0.0 && ridge.is_finite()) {
        return Err(CoreError::invalid("ridge", ridge, "0 or more, and finite").into());
    }
    let mut names = std::collections::HashSet::new();
    for MomentTarget { name, target, tolerance } in targets {
        if !names.insert(name) {
            return Err(Error::DuplicateFeature { feature: name.clone() });
        }
        if !target.is_finite() {
            return Err(CoreError::invalid(format!("target of `{name}`"), target, "finite").into());
        }
        if !(*tolerance >= 0.0 && tolerance.is_finite()) {
            let field = format!("tolerance of `{name}`");
            return Err(CoreError::invalid(field, tolerance, "0 or more, and finite").into());
        }
    }
    for context in points {
        CoreError::check_length("columns of feature values", targets.len(), context.values.ncols())?;
        if context.exact != points[0].exact {
            return Err(CoreError::invalid("points", "exact and sampled", "one kind in all contexts").into());
        }
    }
    Ok(())
}
