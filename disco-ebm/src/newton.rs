//! Newton's method with line search on the dual.

use disco_core::{Error as CoreError, numerics::log_sum_exp};
use ndarray::Array1;
use serde::{Deserialize, Serialize};

use crate::{Dual, Result, dual::At, feasibility, linalg::Cholesky, proximal};

/// The share of the predicted decrease that a step must achieve (Armijo's condition).
const SUFFICIENT_DECREASE: f64 = 1e-4;
/// The precision to which the dual is known, relative to `1 + |g|`: the rounding error of a sum of 1e6 terms.
const VALUE_NOISE: f64 = 1e-12;
/// Halvings of a step before it is given up: `2^-80` of a Newton step is below rounding of any `lambda`.
const MAX_HALVINGS: usize = 80;

/// The settings of Newton's method: when it stops.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Solver {
    /// The largest distance of a moment from its target (beyond tolerance and ridge), in units of the
    /// feature's standard deviation under the base: 1e-10 by default. The Newton step from there is still made,
    /// if it comes nearer.
    pub tolerance: f64,
    /// The most Newton steps: 200 by default.
    pub max_iterations: usize,
}

impl Default for Solver {
    fn default() -> Self {
        Self { tolerance: 1e-10, max_iterations: 200 }
    }
}

impl Solver {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`disco_core::Error::Invalid`] for the first that is out of range.
    pub fn validate(&self) -> Result<()> {
        if !(self.tolerance > 0.0 && self.tolerance.is_finite()) {
            return Err(CoreError::invalid("solver.tolerance", self.tolerance, "positive and finite").into());
        }
        if self.max_iterations == 0 {
            return Err(CoreError::invalid("solver.max_iterations", 0, "1 or more").into());
        }
        Ok(())
    }
}

/// Why the solver stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Termination {
    /// The coefficients were computed directly: there is at most one coefficient, of a feature with two values in a
    /// single context.
    ClosedForm,
    /// Every moment is within the solver's tolerance.
    Converged,
    /// The tolerance was not reached, and no step lowers the dual or the residual any more in `f64`.
    Stalled,
    /// The tolerance was not reached in the allowed number of steps.
    IterationLimit,
}

impl Termination {
    /// Whether the moments are as asked, within the solver's tolerance.
    pub fn is_converged(self) -> bool {
        matches!(self, Self::ClosedForm | Self::Converged)
    }
}

/// The minimiser of a [`Dual`].
#[derive(Clone, Debug, PartialEq)]
pub struct Solution {
    /// One coefficient per feature, of the feature as it is.
    pub coefficients: Vec<f64>,
    /// Newton steps made.
    pub iterations: usize,
    /// Why the solver stopped.
    pub termination: Termination,
    /// The largest distance of a moment from its target, beyond tolerance and ridge, in units of the
    /// feature's standard deviation under the base.
    pub residual: f64,
}

impl Dual {
    /// Minimises the dual.
    ///
    /// Newton's method with backtracking from `lambda = 0`; with tolerances, each step minimises the
    /// quadratic model plus `tolerance |lambda|` (proximal Newton, Lee, Sun and Saunders 2014). For one
    /// feature with the two values `l < h` in one context, without ridge and tolerance, the closed form
    /// `lambda = (ln((mu - l) / (h - mu)) - ln(Z_h / Z_l)) / (h - l)`, with `Z_h`, `Z_l` the weights of the
    /// two values: for a binary feature, `logit(mu) - logit(mean)`.
    ///
    /// # Errors
    /// [`Error::OutOfReach`], [`Error::ConstantFeature`]; without ridge, [`Error::Unidentified`] and
    /// [`Error::OutsideHull`], also for targets within 1e-9 of the hull's boundary, where coefficients
    /// diverge.
    ///
    /// # Performance
    /// A step costs one Hessian and a few passes over the points; 5 to 20 steps are usual.
    ///
    /// [`Error::OutOfReach`]: crate::Error::OutOfReach
    /// [`Error::ConstantFeature`]: crate::Error::ConstantFeature
    /// [`Error::Unidentified`]: crate::Error::Unidentified
    /// [`Error::OutsideHull`]: crate::Error::OutsideHull
    pub fn solve(&self, solver: &Solver) -> Result<Solution> {
        self.solve_from(solver, None)
    }

    /// As [`solve`](Self::solve), from the coefficients `start` (`None`: 0), which is faster if they are near the solution.
    ///
    /// # Errors
    /// As [`solve`](Self::solve), and [`disco_core::Error`] for coefficients of the wrong number, or not
    /// finite.
    pub fn solve_from(&self, solver: &Solver, start: Option<&[f64]>) -> Result<Solution> {
        solver.validate()?;
        feasibility::check_features(self)?;
        if let Some(coefficient) = self.closed_form() {
            let termination = Termination::ClosedForm;
            return Ok(Solution {
                coefficients: vec![coefficient],
                iterations: 0,
                termination,
                residual: 0.0,
            });
        }
        let zero = self.at(Array1::zeros(self.dimension()));
        feasibility::check_identified(self, &zero)?;
        let at = match start {
            None => zero,
            Some(start) => {
                CoreError::check_length("coefficients to start from", self.dimension(), start.len())?;
                if let Some(value) = start.iter().find(|value| !value.is_finite()) {
                    return Err(CoreError::invalid("coefficient to start from", value, "finite").into());
                }
                self.at(Array1::from(start.to_vec()) * &self.scale)
            }
        };
        let (at, iterations, termination) = self.newton(solver, at)?;
        if !termination.is_converged() {
            feasibility::check_hull(self)?;
        }
        let residual = self.residual(&at);
        if !residual.is_finite() {
            let allowed = "finite: the feature values, their targets or the ridge are too large";
            return Err(CoreError::invalid("residual of the moments", residual, allowed).into());
        }
        Ok(Solution { coefficients: (&at.lambda / &self.scale).to_vec(), iterations, termination, residual })
    }

    fn newton(&self, solver: &Solver, mut at: At) -> Result<(At, usize, Termination)> {
        for iteration in 0..solver.max_iterations {
            let step = self.direction(&at);
            let linear = self.linear(&step);
            feasibility::check_direction(self, &at.lambda, &at.linear)?;
            feasibility::check_direction(self, &step, &linear)?;
            if self.residual(&at) <= solver.tolerance {
                // The step is there already, and the error behind it is about the square of this one: where the dual
                // is flat, a residual of 1e-10 alone left ln Z off by up to 9e-9.
                let next = self.at(&at.lambda + &step);
                let better = self.residual(&next) < self.residual(&at);
                let (at, iteration) = if better { (next, iteration + 1) } else { (at, iteration) };
                return Ok((at, iteration, Termination::Converged));
            }
            match self.advance(&at, &step, &linear) {
                Some(next) => at = next,
                None => return Ok((at, iteration, Termination::Stalled)),
            }
        }
        let converged = self.residual(&at) <= solver.tolerance;
        let termination = if converged { Termination::Converged } else { Termination::IterationLimit };
        Ok((at, solver.max_iterations, termination))
    }

    /// The Newton step, or with tolerances the proximal Newton step.
    fn direction(&self, at: &At) -> Array1<f64> {
        let hessian = self.hessian_at(at);
        let tolerances = self.tolerances();
        if tolerances.iter().any(|tolerance| *tolerance > 0.0) {
            return proximal::step(&hessian, &at.gradient, &at.lambda, &tolerances);
        }
        // The Hessian of finite values is finite, so that a factor exists; the gradient is a descent
        // direction.
        Cholesky::shifted(&hessian).map_or_else(|| -&at.gradient, |factor| -factor.solve(&at.gradient))
    }

    /// The point that backtracking finds along `step`; `None` if no step improves.
    fn advance(&self, at: &At, step: &Array1<f64>, linear: &Array1<f64>) -> Option<At> {
        let penalty = self.box_penalty(&at.lambda);
        let value = at.value + penalty;
        let slope = at.gradient.dot(step) + self.box_penalty(&(&at.lambda + step)) - penalty;
        let noise = VALUE_NOISE * (1.0 + value.abs());
        if !(slope < -noise) {
            // Values cannot tell any more; the residual, computed from first derivatives, still can.
            let next = self.at(&at.lambda + step);
            return (self.residual(&next) < self.residual(at)).then_some(next);
        }
        let mut length = 1.0;
        for halvings in 0..MAX_HALVINGS {
            let lambda = &at.lambda + &(step * length);
            let trial =
                self.value_of(&lambda, &(&at.linear + &(linear * length))) + self.box_penalty(&lambda);
            if trial <= value + SUFFICIENT_DECREASE * length * slope {
                return Some(self.at(lambda));
            }
            if halvings == 0 && slope >= -self.value_doubt(value) {
                // A decrease this small in the values may be rounding. Shorter steps, down to those that it
                // lets pass, led nowhere in all the iterations there were.
                let next = self.at(lambda);
                if self.residual(&next) < 0.5 * self.residual(at) {
                    return Some(next);
                }
            }
            length *= 0.5;
        }
        None
    }

    /// A predicted decrease below this may be lost in the rounding of two values.
    ///
    /// A sum of n terms is off by up to `n / 2` units of rounding, and it comes near to that where many terms are
    /// equal, as samples of few outcomes are: they are all rounded the same way. Half of the prediction is what a
    /// Newton step gains.
    fn value_doubt(&self, value: f64) -> f64 {
        2.0 * self.log_weights.len() as f64 * f64::EPSILON * (1.0 + value.abs())
    }

    /// The largest violation of the conditions of optimality, in standardised units.
    pub(crate) fn residual(&self, at: &At) -> f64 {
        let tolerances = self.tolerances();
        let violations =
            at.gradient.iter().zip(&at.lambda).zip(&tolerances).map(|((gradient, lambda), tolerance)| {
                if *lambda == 0.0 {
                    let excess = gradient.abs() - tolerance;
                    if excess < 0.0 { 0.0 } else { excess }
                } else {
                    (gradient + tolerance * lambda.signum()).abs()
                }
            });
        // Unlike `f64::max`, this keeps NaN.
        violations.fold(0.0, |largest, violation| if violation <= largest { largest } else { violation })
    }

    fn closed_form(&self) -> Option<f64> {
        if self.dimension() > 1 || self.contexts() > 1 || self.ridge > 0.0 || self.targets[0].tolerance > 0.0
        {
            return None;
        }
        let values = self.values.column(0);
        let (least, most) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| {
            (least.min(*value), most.max(*value))
        });
        if values.iter().any(|value| *value != least && *value != most) {
            return None;
        }
        let log_weight = |wanted: f64| {
            let weights = self.log_weights.iter().zip(values).filter(|(_, value)| **value == wanted);
            log_sum_exp(&weights.map(|(weight, _)| *weight).collect::<Vec<_>>())
        };
        let (low, high, target) = (self.low[0], self.high[0], self.targets[0].target);
        let odds = ((target - low) / (high - target)).ln();
        Some((odds - (log_weight(most) - log_weight(least))) / (high - low))
    }
}
