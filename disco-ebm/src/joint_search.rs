//! The search along a step of the shared coefficients, where each context's own coefficients follow.
//!
//! This is a part of [`Joint`].

use ndarray::Array1;

use crate::{
    Result,
    joint::{IMPROVED, Joint, Point, in_first},
};

/// The share of the slope at its start that may be left at the end of a step.
const FLAT: f64 = 0.3;
/// Evaluations of the profile along a step.
const MAX_EVALUATIONS: usize = 60;

impl Joint<'_> {
    /// The point along a step where the slope of the profile is nearly 0; `None` if there is none that is better. A `short`
    /// step is taken as it is, if the residual falls.
    pub(crate) fn search(&mut self, from: &Point, step: &Array1<f64>, short: bool) -> Result<Option<Point>> {
        let start = self.raw(from);
        let slope = |joint: &Self, point: &Point| {
            let tolerances = joint.shared.tolerances();
            let kinks =
                tolerances.iter().zip(&point.at.lambda).zip(step).map(|((tolerance, lambda), step)| {
                    tolerance * if *lambda == 0.0 { 0.0 } else { lambda.signum() } * step
                });
            step.dot(&point.at.gradient) + kinks.sum::<f64>()
        };
        let first = slope(self, from);
        let units = self.shared.hessian_at(&from.at).diag().mapv(f64::sqrt);
        let before = self.shared.residual(&from.at, &units);
        let (mut low, mut high, mut length) = (0.0, f64::INFINITY, 1.0);
        let mut best: Option<Point> = None;
        let mut failure = None;
        for _ in 0..MAX_EVALUATIONS {
            let lambda = &from.at.lambda + &(step * length);
            if lambda == from.at.lambda {
                break;
            }
            match self.profile(lambda, &start) {
                Ok(point) => {
                    let found = slope(self, &point);
                    if short && self.shared.residual(&point.at, &units) < IMPROVED * before
                        || found.abs() <= FLAT * first.abs()
                    {
                        return Ok(Some(point));
                    }
                    if found < 0.0 {
                        low = length;
                        best = Some(point);
                    } else {
                        high = length;
                    }
                }
                // So far from the minimum that a context's own problem cannot be solved in `f64`.
                Err(error) => {
                    high = length;
                    failure = Some(in_first(error));
                }
            }
            length = if high == f64::INFINITY { 4.0 * length } else { 0.5 * (low + high) };
            if !(length.is_finite() && length > low && length < high) {
                break;
            }
        }
        match (best, failure) {
            (Some(point), _) => Ok(Some(point)),
            (None, Some(error)) => Err(error),
            (None, None) => Ok(None),
        }
    }
}
