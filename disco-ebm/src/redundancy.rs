//! Constraints that follow from others: features that are linear combinations of others on the support.

use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};

use crate::{
    Dual, Error, Result,
    feasibility::outside,
    hull,
    linalg::{Cholesky, dependent_columns},
};

/// The part of a feature's variance that others must leave unexplained, `1 - R^2`, for it to be looked at no further.
const UNEXPLAINED: f64 = 1e-10;
/// A combination that varies by less than this share of its terms' ranges is constant.
const CONSTANT: f64 = 1e-12;

/// A feature whose constraint follows from those on other features: on all points it is a linear combination of them up to
/// a constant, and so are the targets. Its coefficient is 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redundant {
    /// The name of the feature.
    pub feature: String,
    /// Up to a constant, the feature equals the sum of these features times their factors.
    pub equals: Vec<(String, f64)>,
}

impl Dual {
    /// The features whose targets follow from those of other features.
    ///
    /// The relation is looked for in the values alone: weights of the base, which may underflow, do not enter. A
    /// ridge, or a tolerance, makes the coefficients unique, so that such features are left alone.
    ///
    /// # Errors
    /// [`Error::OutsideHull`] if a combination of features is constant, and the targets ask for another value of it.
    pub(crate) fn redundant(&self, tolerance: f64) -> Result<Vec<Redundant>> {
        if self.ridge > 0.0 {
            return Ok(Vec::new());
        }
        let Some((independent, mut dependent, factor)) = self.dependent() else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        let mut contradiction: Option<(f64, Array1<f64>)> = None;
        dependent.sort_unstable();
        for column in dependent {
            let Some((direction, linear)) = self.relation(column, &independent, &factor) else { continue };
            let unit = self.range_along(&direction);
            let missed = direction.dot(&self.standard.asked) - self.reachable(&linear);
            let excess = missed.abs() / (tolerance * unit + self.rounding_along(&direction));
            if excess > 1.0 {
                if contradiction.as_ref().is_none_or(|(largest, _)| excess > *largest) {
                    contradiction = Some((excess, direction * missed.signum()));
                }
                continue;
            }
            let scale = &self.standard.scale;
            let term = |&k: &usize| {
                let factor = -direction[k] * scale[column] / scale[k];
                (direction[k].abs() > 1e-9).then(|| (self.targets[k].name.clone(), factor))
            };
            let equals = independent.iter().filter_map(term).collect();
            found.push(Redundant { feature: self.targets[column].name.clone(), equals });
        }
        match contradiction {
            Some((_, direction)) => {
                Err(outside(self, &direction, hull::nearest(self).map(|found| found.moments)))
            }
            None => Ok(found),
        }
    }

    /// The error for a feature that is nearly a combination of others, if there is one.
    pub(crate) fn nearly_dependent(&self) -> Option<Error> {
        if self.ridge > 0.0 {
            return None;
        }
        let (independent, dependent, factor) = self.dependent()?;
        let column = *dependent.first()?;
        let direction = self.regression(column, &independent, &factor);
        let scale = &self.standard.scale;
        let term = |&k: &usize| (self.targets[k].name.clone(), -direction[k] * scale[column] / scale[k]);
        let equals = independent.iter().filter(|&&k| direction[k].abs() > 1e-7).map(term).collect();
        Some(Error::Unidentified { feature: self.targets[column].name.clone(), equals })
    }

    /// The features without tolerance: independent ones with the factor of their covariance, and those that are nearly
    /// combinations of them; `None` if there are none.
    fn dependent(&self) -> Option<(Vec<usize>, Vec<usize>, Cholesky)> {
        let exact: Vec<usize> = (0..self.dimension()).filter(|&i| self.targets[i].tolerance == 0.0).collect();
        if exact.len() < 2 {
            return None;
        }
        let spread = self.spread();
        let units = spread.diag().mapv(f64::sqrt);
        let correlation = Array2::from_shape_fn((exact.len(), exact.len()), |(i, j)| {
            spread[[exact[i], exact[j]]] / units[exact[i]] / units[exact[j]]
        });
        let (independent, dependent) = dependent_columns(&correlation, UNEXPLAINED);
        if dependent.is_empty() {
            return None;
        }
        let columns = |found: Vec<usize>| found.into_iter().map(|i| exact[i]).collect::<Vec<_>>();
        let (independent, dependent) = (columns(independent), columns(dependent));
        let block = Array2::from_shape_fn((independent.len(), independent.len()), |(i, j)| {
            spread[[independent[i], independent[j]]]
        });
        Some((independent, dependent, Cholesky::new(&block)?))
    }

    /// The covariance of the features if all points of a context weighed the same.
    fn spread(&self) -> Array2<f64> {
        let weights = self.equal_weights();
        self.scatter(&weights, &self.means(&weights))
    }

    fn equal_weights(&self) -> Array1<f64> {
        let mut weights = Array1::zeros(self.values.nrows());
        for (context, rows) in self.ranges_of_contexts() {
            let weight = self.shares[context] / rows.len() as f64;
            rows.for_each(|row| weights[row] = weight);
        }
        weights
    }

    /// The combination `phi_column - sum_k f_k phi_k` that is constant, and its values; `None` if it varies.
    fn relation(
        &self,
        column: usize,
        independent: &[usize],
        factor: &Cholesky,
    ) -> Option<(Array1<f64>, Array1<f64>)> {
        let direction = self.regression(column, independent, factor);
        let linear = self.linear(&direction);
        let allowed = CONSTANT * self.range_along(&direction) + self.rounding_along(&direction);
        (self.largest_range(&linear) <= allowed).then_some((direction, linear))
    }

    /// The combination with the least variance, with the factor 1 of `column`.
    fn regression(&self, column: usize, independent: &[usize], factor: &Cholesky) -> Array1<f64> {
        let weights = self.equal_weights();
        let centres = self.means(&weights);
        let mut direction = Array1::zeros(self.dimension());
        direction[column] = 1.0;
        // The factors of a squared matrix have half of the digits; each regression of what is left doubles them.
        for _ in 0..4 {
            let linear = self.linear(&direction);
            let mut moments = Array1::zeros(self.dimension());
            for (context, rows) in self.ranges_of_contexts() {
                let mean = direction.dot(&centres.row(context));
                for row in rows {
                    let left = weights[row] * (linear[row] - mean);
                    ndarray::Zip::from(&mut moments)
                        .and(self.values.row(row))
                        .and(centres.row(context))
                        .for_each(|sum, value, centre| *sum += left * (value - centre));
                }
            }
            let right: Array1<f64> = independent.iter().map(|&k| moments[k]).collect();
            for (&k, correction) in independent.iter().zip(&factor.solve(&right)) {
                direction[k] -= correction;
            }
        }
        direction
    }

    /// How much a combination may vary because its terms are rounded numbers.
    fn rounding_along(&self, direction: &Array1<f64>) -> f64 {
        let terms = direction.iter().zip(&self.standard.reach).zip(&self.standard.scale);
        4.0 * f64::EPSILON
            * terms.map(|((factor, reach), scale)| factor.abs() * reach.size / scale).sum::<f64>()
    }
}
