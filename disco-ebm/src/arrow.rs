//! The Hessian of shared and own moments together, with the own ones eliminated.

use ndarray::{Array1, Array2, Axis, Slice, parallel::prelude::*};

use crate::{
    Dual, Error, Redundant, Result,
    dual::At,
    linalg::{Cholesky, block, dependent_columns},
};

/// The part of a feature's variance that others must leave unexplained for it to be looked at no further.
const UNEXPLAINED: f64 = 1e-10;
/// A combination that varies by less than this share of its terms' ranges is constant.
const CONSTANT: f64 = 1e-9;

/// The Hessian of the dual in standardised coordinates, as what is needed to solve with it.
pub(crate) struct Arrow {
    /// `H_ss - sum_c H_sc H_cc^-1 H_cs`.
    pub(crate) schur: Array2<f64>,
    /// Of each context.
    pub(crate) blocks: Vec<Block>,
}

/// The part of one context, without the factor of its share.
pub(crate) struct Block {
    /// The covariance of shared and own features: `[shared, own]`.
    pub(crate) cross: Array2<f64>,
    /// The inverse of the own Hessian; 0 for coefficients that a tolerance holds at 0.
    pub(crate) inverse: Array2<f64>,
}

impl Arrow {
    /// At a point where the weights of `at` are those of all factors, and `own` has the dual of each context with its own.
    pub(crate) fn new(shared: &Dual, at: &At, own: &[Option<(&Dual, &At)>]) -> Self {
        let of_context = |(index, own): (usize, &Option<(&Dual, &At)>)| {
            let Some((dual, own_at)) = own else {
                let cross = Array2::zeros((shared.dimension(), 0));
                return Block { cross, inverse: Array2::zeros((0, 0)) };
            };
            let inverse = inverse_of(&dual.hessian_at(own_at), &free(dual, own_at));
            Block { cross: cross(shared, index, &at.means, dual, own_at), inverse }
        };
        let blocks: Vec<Block> = own.par_iter().enumerate().map(of_context).collect();
        Self { schur: schur(shared.hessian_at(at), &shared.shares, &blocks), blocks }
    }

    /// Without shared moments.
    pub(crate) fn own_only(own: &[Option<(&Dual, &At)>]) -> Self {
        let of_context = |own: &Option<(&Dual, &At)>| {
            let inverse = own.map(|(dual, at)| inverse_of(&dual.hessian_at(at), &free(dual, at)));
            let inverse = inverse.unwrap_or_else(|| Array2::zeros((0, 0)));
            Block { cross: Array2::zeros((0, inverse.nrows())), inverse }
        };
        Self { schur: Array2::zeros((0, 0)), blocks: own.par_iter().map(of_context).collect() }
    }

    /// The step of a context's own coefficients that follows a step of the shared ones: `-H_cc^-1 H_cs step`.
    pub(crate) fn response(&self, context: usize, step: &Array1<f64>) -> Array1<f64> {
        let Block { cross, inverse } = &self.blocks[context];
        -inverse.dot(&cross.t().dot(step))
    }
}

/// The coefficients that no tolerance holds at 0.
fn free(dual: &Dual, at: &At) -> Vec<usize> {
    (0..dual.dimension()).filter(|&i| !(dual.targets[i].tolerance > 0.0 && at.lambda[i] == 0.0)).collect()
}

fn inverse_of(hessian: &Array2<f64>, free: &[usize]) -> Array2<f64> {
    let mut inverse = Array2::zeros(hessian.dim());
    if let Some(factor) = Cholesky::shifted(&block(hessian, free)).filter(|_| !free.is_empty()) {
        for ((i, j), value) in factor.inverse().indexed_iter() {
            inverse[[free[i], free[j]]] = *value;
        }
    }
    inverse
}

/// The covariance of shared and own features in a context, under the own weights: `[shared, own]`.
fn cross(shared: &Dual, index: usize, means: &Array2<f64>, own: &Dual, own_at: &At) -> Array2<f64> {
    let mut cross = Array2::zeros((shared.dimension(), own.dimension()));
    let first = shared.starts[index];
    let (mean, own_mean) = (means.row(index), own_at.means.row(0));
    for (row, weight) in own_at.weights.iter().enumerate() {
        let (values, own_values) = (shared.values.row(first + row), own.values.row(row));
        for i in 0..shared.dimension() {
            let deviation = weight * (values[i] - mean[i]);
            for k in 0..own.dimension() {
                cross[[i, k]] += deviation * (own_values[k] - own_mean[k]);
            }
        }
    }
    cross
}

fn schur(mut hessian: Array2<f64>, shares: &[f64], blocks: &[Block]) -> Array2<f64> {
    for (Block { cross, inverse }, share) in blocks.iter().zip(shares) {
        hessian.scaled_add(-share, &cross.dot(inverse).dot(&cross.t()));
    }
    // Both halves, so that rounding does not make it asymmetric.
    let transposed = hessian.t().to_owned();
    (hessian + transposed) * 0.5
}

impl Dual {
    /// The shared features whose targets follow from those of other shared features and of the contexts' own: as
    /// [`redundant`](Self::redundant), with the own features beside them.
    ///
    /// # Errors
    /// [`OutsideHull`](crate::Error::OutsideHull) where such a combination is asked to have another mean than it always has.
    pub(crate) fn redundant_beside(
        &self,
        own: &[Option<&Dual>],
        positions: &[usize],
        tolerance: f64,
    ) -> Result<Vec<Redundant>> {
        let exact: Vec<usize> = (0..self.dimension()).filter(|&i| self.targets[i].tolerance == 0.0).collect();
        if self.ridge > 0.0 || exact.is_empty() {
            return Ok(Vec::new());
        }
        // As if all points of a context weighed the same: weights of the base may underflow.
        let equal = |dual: &Dual| {
            let mut equal = dual.clone();
            equal.log_weights.fill(0.0);
            let at = equal.at(Array1::zeros(equal.dimension()));
            (equal, at)
        };
        let (shared, at) = equal(self);
        let own: Vec<_> = own.iter().map(|own| own.map(equal)).collect();
        let blocks = own.iter().enumerate().map(|(index, own)| match own {
            None => Block { cross: Array2::zeros((self.dimension(), 0)), inverse: Array2::zeros((0, 0)) },
            Some((dual, own_at)) => {
                // A tolerance makes the coefficients unique.
                let free: Vec<usize> =
                    (0..dual.dimension()).filter(|&i| dual.targets[i].tolerance == 0.0).collect();
                let inverse = inverse_of(&dual.hessian_at(own_at), &free);
                Block { cross: cross(&shared, index, &at.means, dual, own_at), inverse }
            }
        });
        let blocks: Vec<Block> = blocks.collect();
        let spread = shared.hessian_at(&at);
        let units = spread.diag().mapv(f64::sqrt);
        let arrow = Arrow { schur: schur(spread, &self.shares, &blocks), blocks };
        let left = Array2::from_shape_fn((exact.len(), exact.len()), |(i, j)| {
            arrow.schur[[exact[i], exact[j]]] / units[exact[i]] / units[exact[j]]
        });
        let (independent, mut dependent) = dependent_columns(&left, UNEXPLAINED);
        dependent.sort_unstable();
        let independent: Vec<usize> = independent.into_iter().map(|i| exact[i]).collect();
        let mut found = Vec::new();
        for column in dependent.into_iter().map(|i| exact[i]) {
            let mut direction = Array1::<f64>::zeros(self.dimension());
            direction[column] = 1.0;
            if !independent.is_empty() {
                let Some(factor) = Cholesky::new(&block(&arrow.schur, &independent)) else { continue };
                let right: Array1<f64> = independent.iter().map(|&k| arrow.schur[[k, column]]).collect();
                let factors = factor.solve(&right);
                independent.iter().zip(&factors).for_each(|(&k, factor)| direction[k] = -factor);
            }
            let mut linear = self.linear(&direction);
            let (mut asked, mut unit) = (direction.dot(&self.standard.asked), self.range_along(&direction));
            let own_directions: Vec<Array1<f64>> =
                (0..own.len()).map(|index| arrow.response(index, &direction)).collect();
            let mut terms = Vec::new();
            for (index, own) in own.iter().enumerate() {
                let Some((dual, _)) = own else { continue };
                let own_direction = &own_directions[index];
                let rows = self.starts[index]..self.starts[index + 1];
                let mut linear = linear.slice_axis_mut(Axis(0), Slice::from(rows));
                linear += &dual.linear(own_direction);
                asked += self.shares[index] * own_direction.dot(&dual.standard.asked);
                unit += self.shares[index] * dual.range_along(own_direction);
                let scale = &dual.standard.scale;
                for (k, factor) in own_direction.iter().enumerate().filter(|(_, one)| one.abs() > 1e-9) {
                    let name = format!("{} (context {})", dual.targets[k].name, positions[index]);
                    let factor = -self.shares[index] * factor * self.standard.scale[column] / scale[k];
                    terms.push((name, factor));
                }
            }
            if self.largest_range(&linear) > CONSTANT * unit {
                continue;
            }
            let missed = asked - self.reachable(&linear);
            if missed.abs() > (tolerance + CONSTANT) * unit {
                let own: Vec<_> = own.iter().map(|own| own.as_ref().map(|(dual, _)| dual)).collect();
                let own_directions: Vec<_> = own_directions.iter().map(|one| one * missed.signum()).collect();
                let direction = direction * missed.signum();
                return Err(contradiction(self, &own, positions, &direction, &own_directions, missed.abs()));
            }
            let scale = &self.standard.scale;
            let of_shared = |&k: &usize| {
                let factor = -direction[k] * scale[column] / scale[k];
                (direction[k].abs() > 1e-9).then(|| (self.targets[k].name.clone(), factor))
            };
            let equals = independent.iter().filter_map(of_shared).chain(terms).collect();
            found.push(Redundant { feature: self.targets[column].name.clone(), equals });
        }
        Ok(found)
    }
}

/// The error for targets that ask for a combination of shared and own features that is by `beyond` (standardised) above the
/// largest that the samples allow.
pub(crate) fn contradiction(
    shared: &Dual,
    own: &[Option<&Dual>],
    positions: &[usize],
    direction: &Array1<f64>,
    own_directions: &[Array1<f64>],
    beyond: f64,
) -> Error {
    let mut terms: Vec<(String, f64)> = Vec::new();
    let mut target = 0.0;
    let mut add = |dual: &Dual, direction: &Array1<f64>, share: f64, context: Option<usize>| {
        let place = context.map_or_else(String::new, |context| format!(" (context {context})"));
        for (one, factor) in dual.targets.iter().zip(direction / &dual.standard.scale) {
            let factor = share * factor;
            target += factor * one.target - factor.abs() * one.tolerance;
            terms.push((format!("{}{place}", one.name), factor));
        }
    };
    add(shared, direction, 1.0, None);
    for (index, own) in own.iter().enumerate() {
        if let Some(dual) = own {
            add(dual, &own_directions[index], shared.shares[index], Some(positions[index]));
        }
    }
    let largest = terms.iter().map(|(_, factor)| factor.abs()).fold(0.0, f64::max);
    terms.iter_mut().for_each(|(_, factor)| *factor /= largest);
    let target = target / largest;
    Error::OutsideHull { direction: terms, target, reachable: target - beyond / largest, nearest: Vec::new() }
}
