//! Newton's method with line search on the dual.

use disco_core::{Error as CoreError, numerics::log_sum_exp};
use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};

use crate::{
    Dual, Redundant, Result, dual::At, feasibility, linalg::Cholesky, line_search::Search, proximal,
};

/// The largest range of scores (nats) that a step is first tried with: where the Hessian is nearly 0, a Newton step
/// is as long as its rounding makes it.
const LONGEST_STEP: f64 = 20.0;
/// Over a range of scores this short (nats) the dual is as its Hessian says, within a tenth: a step needs no search.
const SHORT_STEP: f64 = 0.1;
/// A Newton step of this range (nats) leaves an error of about its square: nothing is left to do after it.
const SETTLED: f64 = 1e-6;
/// A residual above this share of the last one is no better: near the end of a range, where a moment falls by `e` with
/// each step, its standard deviation falls by the root of that.
const IMPROVED: f64 = 0.9;
/// The precision of the search along a line, where it is one of many: in the logarithm of the ratio of what pulls up to
/// what pulls down.
const ROUGH: f64 = 0.5;
/// The same for a single feature, where the line is all there is.
const FINE: f64 = 1e-12;
/// Steps after which the residual is compared with rounding at each: most fits take fewer.
const MANY_STEPS: usize = 30;

/// The settings of Newton's method: when it stops.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Solver {
    /// The largest distance of a moment from its target (beyond tolerance and ridge), in units of the
    /// feature's standard deviation under the fitted target: 1e-10 by default. The Newton step from there is still
    /// made, if it comes nearer. Where `f64` cannot resolve this, the rounding error of the moment is what counts.
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
    /// Every moment is as asked, within the solver's tolerance or the rounding error of `f64`.
    Converged,
    /// Not every moment is as asked, and no step improves any more in `f64`.
    Stalled,
    /// The tolerance was not reached in the allowed number of steps.
    IterationLimit,
}

impl Termination {
    /// Whether the moments are as asked, within the solver's tolerance or the rounding error of `f64`.
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
    /// feature's standard deviation under the fitted target.
    pub residual: f64,
    /// The features whose target follows from those of others, so that their coefficient is 0.
    pub redundant: Vec<Redundant>,
}

/// Where Newton's method ended.
struct Outcome {
    at: At,
    /// The standard deviation of each feature there, with the ridge: the units of the residual.
    units: Array1<f64>,
    iterations: usize,
    termination: Termination,
}

impl Dual {
    /// Minimises the dual.
    ///
    /// Newton's method from `lambda = 0` with a search along each step that does not depend on how improbable the base
    /// makes what is asked for; with tolerances, each step minimises the quadratic model plus `tolerance |lambda|`
    /// (proximal Newton, Lee, Sun and Saunders 2014). For one feature with the two values `l < h` in one context,
    /// without ridge and tolerance, the closed form `lambda = (ln((mu - l) / (h - mu)) - ln(Z_h / Z_l)) / (h - l)`,
    /// with `Z_h`, `Z_l` the weights of the two values: for a binary feature, `logit(mu) - logit(mean)`.
    ///
    /// Without ridge and tolerance, a feature that is a linear combination of others, with the same combination of
    /// targets, is redundant: it gets the coefficient 0, and is listed in the solution.
    ///
    /// # Errors
    /// [`OutOfReach`](crate::Error::OutOfReach) and [`ConstantFeature`](crate::Error::ConstantFeature); without ridge,
    /// [`OutsideHull`](crate::Error::OutsideHull), also for targets of several features within 1e-12 of the hull's boundary (in
    /// units of the ranges), where coefficients diverge; [`NotSolved`](crate::Error::NotSolved) and
    /// [`Unidentified`](crate::Error::Unidentified) where `f64` cannot resolve the solution.
    ///
    /// # Performance
    /// A step costs one Hessian and a few passes over the points; 5 to 20 steps are usual.
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
        if let Some(start) = start {
            CoreError::check_length("coefficients to start from", self.dimension(), start.len())?;
            if let Some(value) = start.iter().find(|value| !value.is_finite()) {
                return Err(CoreError::invalid("coefficient to start from", value, "finite").into());
            }
        }
        feasibility::check_features(self)?;
        let redundant = self.redundant(solver.tolerance)?;
        if redundant.is_empty() {
            return self.minimise(solver, start);
        }
        let is_kept = |i: &usize| redundant.iter().all(|other| other.feature != self.targets[*i].name);
        let kept: Vec<usize> = (0..self.dimension()).filter(is_kept).collect();
        let start: Option<Vec<f64>> = start.map(|start| kept.iter().map(|&i| start[i]).collect());
        let solution = self.select(&kept).minimise(solver, start.as_deref())?;
        let mut coefficients = vec![0.0; self.dimension()];
        kept.iter().zip(&solution.coefficients).for_each(|(&i, value)| coefficients[i] = *value);
        Ok(Solution { coefficients, redundant, ..solution })
    }

    /// Minimises a dual without redundant features.
    pub(crate) fn minimise(&self, solver: &Solver, start: Option<&[f64]>) -> Result<Solution> {
        let scale = &self.standard.scale;
        let Outcome { at, units, iterations, termination } = match self.closed_form() {
            Some(coefficient) => {
                let at = self.at(Array1::from_elem(1, coefficient));
                self.outcome(at, 0, Termination::ClosedForm)
            }
            None => {
                let lambda = start
                    .map_or_else(|| Array1::zeros(scale.len()), |start| Array1::from(start.to_vec()) * scale);
                self.newton(solver, self.at(lambda))?
            }
        };
        let residual = self.residual(&at, &units);
        let coefficients = &at.lambda / scale;
        if let Some(i) = coefficients.iter().position(|value| !value.is_finite()) {
            let field = format!("coefficient of `{}`", self.targets[i].name);
            let allowed = "a finite number: give the feature another unit";
            return Err(CoreError::invalid(field, coefficients[i], allowed).into());
        }
        match termination {
            Termination::ClosedForm | Termination::Converged => {
                if !(residual <= solver.tolerance || self.is_rounding(&at)) {
                    return Err(self.not_solved(&at, iterations));
                }
            }
            Termination::Stalled => {
                feasibility::check_hull(self)?;
                return Err(self.not_solved(&at, iterations));
            }
            Termination::IterationLimit => feasibility::check_hull(self)?,
        }
        let coefficients = coefficients.to_vec();
        Ok(Solution { coefficients, iterations, termination, residual, redundant: Vec::new() })
    }

    fn newton(&self, solver: &Solver, mut at: At) -> Result<Outcome> {
        let mut last_residual = f64::INFINITY;
        for iteration in 0..solver.max_iterations {
            let hessian = self.hessian_at(&at);
            let units = hessian.diag().mapv(f64::sqrt);
            let residual = self.residual(&at, &units);
            let mut step = self.direction(&at, &hessian);
            let mut linear = self.linear(&step);
            let range = self.largest_range(&linear);
            if residual <= solver.tolerance {
                // The step is there already, and the error behind it is about the square of this one: where the dual
                // is flat, a residual of 1e-10 alone left ln Z off by up to 9e-9. A step that still goes far leads to
                // a solution at infinity, or nowhere.
                let settled = range <= SETTLED;
                if settled || !(residual < IMPROVED * last_residual) {
                    if !settled {
                        feasibility::check_direction(self, &step, &linear)?;
                    }
                    let next = self.at(&at.lambda + &step);
                    let better = self.residual(&next, &units) < residual;
                    let (at, iteration) = if better { (next, iteration + 1) } else { (at, iteration) };
                    return Ok(Outcome {
                        at,
                        units,
                        iterations: iteration,
                        termination: Termination::Converged,
                    });
                }
            }
            feasibility::check_direction(self, &step, &linear)?;
            if iteration >= MANY_STEPS && self.is_rounding(&at) {
                return Ok(self.stopped(solver, at, iteration, Termination::Stalled));
            }
            last_residual = residual;
            if range <= SHORT_STEP {
                let next = self.at(&at.lambda + &step);
                if self.residual(&next, &units) < IMPROVED * residual {
                    at = next;
                    continue;
                }
                return Ok(self.stopped(solver, at, iteration, Termination::Stalled));
            }
            if range > LONGEST_STEP {
                let factor = LONGEST_STEP / range;
                step *= factor;
                linear *= factor;
            }
            let precision = if self.dimension() == 1 { FINE } else { ROUGH };
            match self.search(&at, &step, &linear, precision) {
                Search::Found(length) => {
                    let lambda = &at.lambda + &(step * length);
                    if lambda == at.lambda {
                        return Ok(self.stopped(solver, at, iteration, Termination::Stalled));
                    }
                    at = self.at(lambda);
                }
                Search::Unbounded | Search::Stuck => {
                    return Ok(self.stopped(solver, at, iteration, Termination::Stalled));
                }
            }
        }
        Ok(self.stopped(solver, at, solver.max_iterations, Termination::IterationLimit))
    }

    /// The end for this reason, or as converged, if the moments are as asked.
    fn stopped(&self, solver: &Solver, at: At, iterations: usize, reason: Termination) -> Outcome {
        let outcome = self.outcome(at, iterations, reason);
        let converged =
            self.residual(&outcome.at, &outcome.units) <= solver.tolerance || self.is_rounding(&outcome.at);
        Outcome { termination: if converged { Termination::Converged } else { reason }, ..outcome }
    }

    fn outcome(&self, at: At, iterations: usize, termination: Termination) -> Outcome {
        let units = self.hessian_at(&at).diag().mapv(f64::sqrt);
        Outcome { at, units, iterations, termination }
    }

    /// The Newton step, or with tolerances the proximal Newton step.
    fn direction(&self, at: &At, hessian: &Array2<f64>) -> Array1<f64> {
        let tolerances = self.tolerances();
        if tolerances.iter().any(|tolerance| *tolerance > 0.0) {
            return proximal::step(hessian, &at.gradient, &at.lambda, &tolerances);
        }
        // The Hessian of finite values is finite, so that a factor exists; the gradient is a descent
        // direction.
        let step = Cholesky::shifted(hessian).map(|factor| -factor.solve(&at.gradient));
        step.filter(|step| step.iter().all(|value| value.is_finite())).unwrap_or_else(|| -&at.gradient)
    }

    /// The standardised coefficient, where it has a closed form.
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
        let reach = &self.standard.reach[0];
        let odds = (reach.above_low / reach.below_high).ln();
        Some((odds - (log_weight(most) - log_weight(least))) / (most - least))
    }
}
