//! Tests whether targets can be reached at all.

use ndarray::{Array1, Axis, Slice};

use crate::{Dual, Error, Result, hull};

/// Targets of several features this near to the boundary of the hull, in units of the ranges of what is combined,
/// count as on it: a few thousand times the rounding errors of a combination.
pub(crate) const BOUNDARY: f64 = 1e-12;

/// Each target lies strictly between the least and the largest mean of its feature.
pub(crate) fn check_features(dual: &Dual) -> Result<()> {
    for (target, reach) in dual.targets.iter().zip(&dual.standard.reach) {
        let inside = reach.above_low + target.tolerance > reach.rounding
            && reach.below_high + target.tolerance > reach.rounding;
        if reach.constant && reach.above_low.abs() <= target.tolerance + reach.rounding {
            return Err(Error::ConstantFeature { feature: target.name.clone(), value: reach.low });
        }
        if reach.constant || !inside {
            return Err(Error::OutOfReach {
                feature: target.name.clone(),
                target: target.target,
                tolerance: target.tolerance,
                low: reach.low,
                high: reach.high,
            });
        }
    }
    Ok(())
}

/// `direction` (with `linear = direction . phi`) does not separate the targets from the hull.
///
/// If `direction . mu >= max direction . phi`, it separates them, which proves that the dual has no minimum.
pub(crate) fn check_direction(dual: &Dual, direction: &Array1<f64>, linear: &Array1<f64>) -> Result<()> {
    let unit = dual.range_along(direction);
    if dual.ridge > 0.0 || !(unit > 0.0 && unit.is_finite()) {
        return Ok(());
    }
    let slack = if dual.dimension() == 1 { 0.0 } else { BOUNDARY * unit };
    let asked = direction.dot(&dual.standard.asked) - dual.box_penalty(direction);
    let beyond = asked - dual.reachable(linear);
    // A combination that is constant can be asked for what it is: tolerances touch there, and nothing diverges.
    let constant = dual.largest_range(linear) <= slack;
    if if constant { beyond > slack } else { beyond >= -slack } {
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

    /// The largest range within a context of what has one value for each point.
    pub(crate) fn largest_range(&self, linear: &Array1<f64>) -> f64 {
        let range = |rows: std::ops::Range<usize>| {
            let (low, high) = linear
                .slice_axis(Axis(0), Slice::from(rows))
                .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &value| {
                    (low.min(value), high.max(value))
                });
            high - low
        };
        self.ranges_of_contexts().map(|(_, rows)| range(rows)).fold(0.0, f64::max)
    }

    /// `sum_i |v_i|`: the unit in which combinations of features, each of range 1, are compared.
    pub(crate) fn range_along(&self, direction: &Array1<f64>) -> f64 {
        direction.iter().map(|factor| factor.abs()).sum()
    }
}

/// The error for targets that lie outside of the hull in `direction`.
pub(crate) fn outside(dual: &Dual, direction: &Array1<f64>, nearest: Option<Array1<f64>>) -> Error {
    let standard = &dual.standard;
    let raw = direction / &standard.scale;
    let largest = raw.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    let factors = raw.mapv(|value| value / largest);
    let asked = direction.dot(&standard.asked) - dual.box_penalty(direction);
    let beyond = (asked - dual.reachable(&dual.linear(direction))) / largest;
    let target: f64 = dual
        .targets
        .iter()
        .zip(&factors)
        .map(|(target, factor)| factor * target.target - factor.abs() * target.tolerance)
        .sum();
    let names = || dual.targets.iter().map(|target| target.name.clone());
    let raw_moments = |moments: Array1<f64>| {
        let raw = dual.moments_above(&moments, &vec![0.0; dual.dimension()]);
        names().zip(raw).collect()
    };
    Error::OutsideHull {
        direction: names().zip(factors).collect(),
        target,
        reachable: target - beyond,
        nearest: nearest.map(raw_moments).unwrap_or_default(),
    }
}
