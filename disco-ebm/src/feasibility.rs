//! Tests whether targets can be reached at all, and by one set of coefficients only.

use ndarray::{Array1, Axis, Slice};

use crate::{Dual, Error, Result, dual::At, hull, linalg::dependent_column};

/// The part of a feature's variance that others must leave unexplained, `1 - R^2`.
const LEAST_UNEXPLAINED: f64 = 1e-10;
/// A combination that varies by less than this share of its terms' ranges is constant.
const CONSTANT: f64 = 1e-7;
/// Targets this near to the boundary of the hull (in the same unit) count as on it: the coefficients that
/// reach them are too large to mean anything.
pub(crate) const BOUNDARY: f64 = 1e-9;

/// Each target lies strictly between the least and the largest mean of its feature.
pub(crate) fn check_features(dual: &Dual) -> Result<()> {
    for (i, target) in dual.targets.iter().enumerate() {
        let (low, high) = (dual.low[i], dual.high[i]);
        // Means over contexts of equal values can differ in the last digits.
        let rounding = 1e-13 * low.abs().max(high.abs());
        let constant = !(high - low > rounding);
        let (least, most) = (target.target - target.tolerance, target.target + target.tolerance);
        if constant && least <= low + rounding && most >= high - rounding {
            return Err(Error::ConstantFeature { feature: target.name.clone(), value: low });
        }
        if constant || !(most > low && least < high) {
            return Err(Error::OutOfReach {
                feature: target.name.clone(),
                target: target.target,
                tolerance: target.tolerance,
                low,
                high,
            });
        }
    }
    Ok(())
}

/// No feature is a combination of others.
pub(crate) fn check_identified(dual: &Dual, zero: &At) -> Result<()> {
    if dual.ridge > 0.0 || dual.dimension() < 2 {
        return Ok(());
    }
    let covariance = dual.hessian_at(zero);
    let Some((column, others)) = dependent_column(&covariance, LEAST_UNEXPLAINED) else {
        return Ok(());
    };
    let mut direction = Array1::zeros(dual.dimension());
    direction[column] = 1.0;
    for &(k, factor) in &others {
        direction[k] = -factor;
    }
    let linear = dual.linear(&direction);
    let (low, high) = (-dual.reachable(&-&linear), dual.reachable(&linear));
    let unit = dual.range_along(&direction);
    if high - low > CONSTANT * unit {
        return Ok(());
    }
    let slack = dual.box_penalty(&direction) + CONSTANT * unit;
    let asked = direction.dot(&dual.target());
    if asked - slack > high || asked + slack < low {
        // The ends of the range differ only by rounding; the sign points from them to the targets.
        return Err(outside(
            dual,
            &(direction * asked.signum()),
            hull::nearest(dual).map(|found| found.moments),
        ));
    }
    let name = |i: usize| dual.targets[i].name.clone();
    let equals = others
        .into_iter()
        .filter(|(_, factor)| factor.abs() > CONSTANT)
        .map(|(k, factor)| (name(k), factor * dual.scale[column] / dual.scale[k]))
        .collect();
    Err(Error::Unidentified { feature: name(column), equals })
}

/// `direction` (with `linear = direction . phi`) does not separate the targets from the hull.
///
/// If `direction . mu >= max direction . phi`, it separates them, which proves that the dual has no minimum.
pub(crate) fn check_direction(dual: &Dual, direction: &Array1<f64>, linear: &Array1<f64>) -> Result<()> {
    let unit = dual.range_along(direction);
    if dual.ridge > 0.0 || !(unit > 0.0 && unit.is_finite()) {
        return Ok(());
    }
    let asked = direction.dot(&dual.target()) - dual.box_penalty(direction);
    if asked >= dual.reachable(linear) - BOUNDARY * unit {
        // The direction in which the targets are farthest out tells most; on the boundary no direction exists.
        let found = hull::nearest(dual);
        let nearest = found.as_ref().map(|found| found.moments.clone());
        let direction = found.and_then(|found| found.direction).unwrap_or_else(|| direction.clone());
        return Err(outside(dual, &direction, nearest));
    }
    Ok(())
}

/// The targets are in the hull; no guess of a direction is needed.
pub(crate) fn check_hull(dual: &Dual) -> Result<()> {
    if dual.ridge > 0.0 {
        return Ok(());
    }
    match hull::nearest(dual) {
        Some(hull::Nearest { direction: Some(direction), moments }) => {
            Err(outside(dual, &direction, Some(moments)))
        }
        _ => Ok(()),
    }
}

impl Dual {
    /// The largest mean over contexts that the points allow to a combination of features.
    pub(crate) fn reachable(&self, linear: &Array1<f64>) -> f64 {
        let largest = |rows: std::ops::Range<usize>| {
            linear.slice_axis(Axis(0), Slice::from(rows)).fold(f64::NEG_INFINITY, |a, b| a.max(*b))
        };
        self.ranges_of_contexts().map(|(context, rows)| self.shares[context] * largest(rows)).sum()
    }

    /// `sum_i |v_i| (high_i - low_i)`: the unit in which combinations are compared.
    fn range_along(&self, direction: &Array1<f64>) -> f64 {
        let ranges = self.high.iter().zip(&self.low).zip(&self.scale);
        direction.iter().zip(ranges).map(|(v, ((high, low), scale))| v.abs() * (high - low) / scale).sum()
    }

    /// Moments of the features as they are.
    pub(crate) fn raw_moments(&self, standardised: &Array1<f64>) -> Vec<(String, f64)> {
        let raw = standardised * &self.scale + &self.shift;
        self.targets.iter().zip(raw).map(|(target, value)| (target.name.clone(), value)).collect()
    }
}

fn outside(dual: &Dual, direction: &Array1<f64>, nearest: Option<Array1<f64>>) -> Error {
    let raw = direction / &dual.scale;
    let largest = raw.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    let reachable = dual.reachable(&dual.linear(direction)) + raw.dot(&dual.shift);
    let target: f64 = dual
        .targets
        .iter()
        .zip(&raw)
        .map(|(target, factor)| factor * target.target - factor.abs() * target.tolerance)
        .sum();
    let names = dual.targets.iter().map(|target| target.name.clone());
    Error::OutsideHull {
        direction: names.zip(raw.iter().map(|value| value / largest)).collect(),
        target: target / largest,
        reachable: reachable / largest,
        nearest: nearest.map(|moments| dual.raw_moments(&moments)).unwrap_or_default(),
    }
}
