//! The search for the minimum of the dual along a line.

use disco_core::numerics::log_add_exp;
use ndarray::Array1;

use crate::{Dual, dual::At};

/// Evaluations before the search ends with the best point that it has.
const MAX_EVALUATIONS: usize = 200;

/// The end of a search.
pub(crate) enum Search {
    /// The length of the step, positive.
    Found(f64),
    /// The dual falls without end along the line.
    Unbounded,
    /// The line does not lead down, as far as `f64` can tell.
    Stuck,
}

/// The derivative of the dual at a point of a line: `exp(log_up) - exp(log_down)`.
struct Slope {
    /// `log_up - log_down`.
    log_ratio: f64,
    /// Its derivative, where it exists; never negative but for rounding.
    derivative: f64,
}

/// Sums over the points with one sign of `s`, in units of `exp(largest)`.
#[derive(Clone, Copy)]
struct Side {
    /// The largest score.
    largest: f64,
    /// The sum of `exp(score)`.
    mass: f64,
    /// The sum of `exp(score) |s|`.
    sum: f64,
    /// The sum of `exp(score) s^2`.
    squares: f64,
}

impl Side {
    fn empty() -> Self {
        Self { largest: f64::NEG_INFINITY, mass: 0.0, sum: 0.0, squares: 0.0 }
    }

    fn add(&mut self, score: f64, s: f64) {
        let weight = (score - self.largest).exp();
        self.mass += weight;
        self.sum += weight * s.abs();
        self.squares += weight * s * s;
    }

    fn log_sum(&self) -> f64 {
        if self.sum > 0.0 { self.largest + self.sum.ln() } else { f64::NEG_INFINITY }
    }

    /// The mean of `|s|` with the weights of the sum.
    fn centre(&self) -> f64 {
        if self.sum > 0.0 { self.squares / self.sum } else { 0.0 }
    }
}

/// The position in `[above, below, equal]`.
fn side_of(s: f64) -> usize {
    if s > 0.0 {
        0
    } else if s < 0.0 {
        1
    } else {
        2
    }
}

impl Dual {
    /// Looks for the minimum along `lambda + length step`, with `linear = step . phi` of each point.
    ///
    /// The derivative of the dual is the difference of two sums of positive terms, `E[s+] - E[s-]`, with `s = step . (phi -
    /// mu)` and `s+`, `s-` its positive and negative part; what a ridge and tolerances add belongs to one or the other.
    /// With the length, the first grows and the second falls (both `s+` and `-s-` grow with `s`). So `h = ln E[s+] - ln
    /// E[s-]` has one zero, the minimum. Unlike the derivative itself it is never flat: its slope is the distance of the
    /// mean of `s` among points above zero from the mean among those below, and constant if there are two points, however
    /// improbable one of them is. Newton's method on `h`, in a bracket, needs few evaluations where the dual is flat in
    /// `f64`. Values of the dual are never compared.
    ///
    /// Ends where `|h|` is at most `precision`, or the bracket is as narrow as `f64` allows.
    pub(crate) fn search(&self, at: &At, step: &Array1<f64>, linear: &Array1<f64>, precision: f64) -> Search {
        let mut length = 1.0;
        let (mut low, mut high) = (0.0, f64::INFINITY);
        for _ in 0..MAX_EVALUATIONS {
            let slope = self.slope(at, step, linear, length);
            if slope.log_ratio.abs() <= precision {
                return Search::Found(length);
            }
            if slope.log_ratio < 0.0 {
                low = length;
            } else {
                high = length;
            }
            let mut next = length - slope.log_ratio / slope.derivative;
            if !(next > low && next < high && next.is_finite()) {
                next = if high == f64::INFINITY { 4.0 * length } else { 0.5 * (low + high) };
            }
            if next == f64::INFINITY {
                return Search::Unbounded;
            }
            if next <= low || next >= high || high < f64::INFINITY && high - low <= 2.0 * f64::EPSILON * high
            {
                break;
            }
            length = next;
        }
        if low > 0.0 { Search::Found(low) } else { Search::Stuck }
    }

    fn slope(&self, at: &At, step: &Array1<f64>, linear: &Array1<f64>, length: f64) -> Slope {
        let asked = step.dot(&self.standard.asked);
        let (mut up, mut down) = ((f64::NEG_INFINITY, 0.0), (f64::NEG_INFINITY, 0.0));
        for (context, rows) in self.ranges_of_contexts() {
            let point = |row: usize| {
                (self.log_weights[row] + at.linear[row] + length * linear[row], linear[row] - asked)
            };
            let mut sides = [Side::empty(); 3];
            for row in rows.clone() {
                let (score, s) = point(row);
                let side = &mut sides[side_of(s)];
                side.largest = side.largest.max(score);
            }
            for row in rows {
                let (score, s) = point(row);
                sides[side_of(s)].add(score, s);
            }
            let [above, below, _] = sides;
            let largest = sides.iter().map(|side| side.largest).fold(f64::NEG_INFINITY, f64::max);
            let [total_above, total_below, total_equal] =
                sides.map(|side| side.mass * (side.largest - largest).exp());
            let total = total_above + total_below + total_equal;
            let log_z = largest + total.ln();
            let signed = |side: &Side| side.sum * (side.largest - largest).exp();
            let mean = (signed(&above) - signed(&below)) / total;
            let log_share = self.shares[context].ln();
            accumulate(&mut up, log_share + above.log_sum() - log_z, above.centre() - mean);
            accumulate(&mut down, log_share + below.log_sum() - log_z, -below.centre() - mean);
        }
        self.with_penalties(at, step, length, up, down)
    }

    /// Adds what ridge and tolerances contribute to two sums, each given as its logarithm and the derivative of that.
    fn with_penalties(
        &self,
        at: &At,
        step: &Array1<f64>,
        length: f64,
        (mut log_up, mut slope_up): (f64, f64),
        (mut log_down, mut slope_down): (f64, f64),
    ) -> Slope {
        let (ridges, tolerances) = (self.ridges(), self.tolerances());
        let (mut added, mut curvature) = (0.0, 0.0);
        for i in 0..step.len() {
            let lambda = at.lambda[i] + length * step[i];
            // At the kink of a tolerance, zero is one of its slopes.
            let sign = if lambda == 0.0 { 0.0 } else { lambda.signum() };
            added += (ridges[i] * lambda + tolerances[i] * sign) * step[i];
            curvature += ridges[i] * step[i] * step[i];
        }
        if added != 0.0 || curvature != 0.0 {
            let (log_side, slope) =
                if added < 0.0 { (&mut log_down, &mut slope_down) } else { (&mut log_up, &mut slope_up) };
            let sum = log_add_exp(*log_side, added.abs().ln());
            let kept = if *log_side == f64::NEG_INFINITY { 0.0 } else { *slope * (*log_side - sum).exp() };
            let sign = if added < 0.0 { -1.0 } else { 1.0 };
            *slope = kept + sign * curvature * (-sum).exp();
            *log_side = sum;
        }
        Slope { log_ratio: log_up - log_down, derivative: slope_up - slope_down }
    }
}

/// Adds a term, given as its logarithm and the derivative of that, to a sum in the same form.
fn accumulate(sum: &mut (f64, f64), log_term: f64, slope: f64) {
    if log_term == f64::NEG_INFINITY {
        return;
    }
    let log_sum = log_add_exp(sum.0, log_term);
    let before = if sum.0 == f64::NEG_INFINITY { 0.0 } else { sum.1 * (sum.0 - log_sum).exp() };
    *sum = (log_sum, before + slope * (log_term - log_sum).exp());
}
