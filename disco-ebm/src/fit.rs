//! The fit: from constraints to coefficients.

use std::fmt;

use disco_core::{Error as CoreError, Estimate};
use ndarray::Array1;

use crate::{
    Assessment, Constraint, ConstraintKind, ConstraintReport, ContextErrors, Dual, Ebm, Error, FitConfig,
    FitReport, HeldOut, Measured, Result, Solution, Termination, Tilt, inference::Inference,
    problem::Problem, split::Split,
};

/// Fitted constraints: the factor that makes the base into the target, and the report.
///
/// ```
/// use disco_core::{Space, feature};
/// use disco_ebm::{Constraint, FitConfig, Measured, features};
/// let die = Space::new(1..=6u32)?.uniform();
/// let constraints = [Constraint::moment(feature("eyes", |_: &(), x: &u32| f64::from(*x)), 4.5)?];
/// let measured = Measured::exact(&die, die.space(), vec![()], &features(&constraints))?;
/// let fit = measured.fit(&constraints, &FitConfig::default())?;
/// // Jaynes's die: p(x) in proportion to exp(lambda x), with lambda = 0.371.
/// let lambda = fit.report().constraints[0].coefficient.expect("a moment has one").value;
/// assert!((lambda - 0.371).abs() < 1e-3);
/// let target = die.space().normalise(&fit.target(&die), &())?;
/// assert!((target.log_prob(&2) - target.log_prob(&1) - lambda).abs() < 1e-12);
/// # Ok::<(), disco_ebm::Error>(())
/// ```
pub struct Fit<C: ?Sized, X: ?Sized> {
    tilt: Tilt<C, X>,
    report: FitReport,
}

// Written out, since a derive would ask for `Clone` and `Debug` of contexts and samples, which are not held.
impl<C: ?Sized, X: ?Sized> Clone for Fit<C, X> {
    fn clone(&self) -> Self {
        Self { tilt: self.tilt.clone(), report: self.report.clone() }
    }
}

impl<C: ?Sized, X: ?Sized> fmt::Debug for Fit<C, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fit").field("tilt", &self.tilt).field("report", &self.report).finish()
    }
}

impl<C: ?Sized, X: ?Sized> Fit<C, X> {
    pub(crate) fn new(tilt: Tilt<C, X>, report: FitReport) -> Self {
        Self { tilt, report }
    }

    /// The factor that the base is multiplied with.
    pub fn tilt(&self) -> &Tilt<C, X> {
        &self.tilt
    }

    /// The report of the fit.
    pub fn report(&self) -> &FitReport {
        &self.report
    }

    /// The target: the base times the factor.
    pub fn target<B>(&self, base: B) -> Ebm<B, C, X> {
        Ebm::new(base, self.tilt.clone())
    }
}

impl<C, X> Measured<C, X> {
    /// Fits constraints on measured features: finds the coefficients of the distribution that satisfies them
    /// and is nearest to the base, by minimising the [`Dual`].
    ///
    /// # Errors
    /// As [`Dual::solve`], and [`Error::NotSolved`] where moments are not as asked; [`Error::DuplicateFeature`], [`Error::NotMeasured`], [`Error::NotBinary`];
    /// [`Error::NoSupport`], unless such contexts are left out; [`Error::TooFewEffectiveSamples`]; settings
    /// out of range.
    ///
    /// # Performance
    /// No model, scorer or feature is called.
    pub fn fit(&self, constraints: &[Constraint<C, X>], config: &FitConfig) -> Result<Fit<C, X>> {
        config.validate()?;
        let contexts = self.shares.iter().filter(|share| **share > 0.0).count();
        if config.context_errors == ContextErrors::Drawn && contexts < 2 {
            let value = "drawn, with one context";
            return Err(CoreError::invalid("context_errors", value, "fixed, or two contexts or more").into());
        }
        let problem = Problem::new(self, constraints)?;
        let fitted = problem.fit(Split::All, config, None)?;
        let weighed = problem.weigh(&fitted.tilt, Split::All, config.context_errors)?;
        let assessment = problem.assess_weighed(&weighed);
        problem.check_achieved(&fitted, &assessment, config)?;
        if !(assessment.ess >= config.min_ess) {
            return Err(Error::TooFewEffectiveSamples { ess: assessment.ess, needed: config.min_ess });
        }
        let (held_out, held_out_moments) = check_held_out(&problem, config, &fitted.solution);
        let coefficients = &fitted.solution.coefficients;
        let inference = fitted.dual.as_ref().map(|dual| {
            Inference::new(dual, coefficients, &fitted.solution.redundant, config.context_errors)
        });
        let (log_z_error, kl_error) = problem.limit_errors(inference.as_ref(), &weighed)?;
        let base = self.base_means(config.context_errors)?;
        let mut errors = inference.iter().flat_map(Inference::coefficient_errors);
        let mut moment_errors = inference.iter().flat_map(Inference::moment_errors);
        let reports = fitted.tilt.constraints().zip(fitted.tilt.coefficients()).enumerate();
        let constraints = reports
            .map(|(index, (constraint, coefficient))| {
                let mut achieved = assessment.moments[index];
                let coefficient = coefficient.map(|value| {
                    achieved.std_error = moment_errors.next().expect("one error per coefficient");
                    let std_error = errors.next().expect("one variance per coefficient");
                    Estimate { value, std_error, ess: assessment.ess }
                });
                ConstraintReport {
                    feature: constraint.name().into(),
                    asked: constraint.kind(),
                    coefficient,
                    base: base[problem.column(index)].estimate,
                    base_skewness: base[problem.column(index)].skewness,
                    achieved,
                    achieved_skewness: assessment.skewness[index],
                    held_out: held_out_moments.as_ref().map(|moments| moments[index]),
                }
            })
            .collect();
        let report = FitReport {
            constraints,
            log_z: Estimate { std_error: log_z_error, ..assessment.log_z },
            kl_from_base: Estimate { std_error: kl_error, ..assessment.kl_from_base },
            ess: (!self.exact).then_some(assessment.ess),
            least_context_ess: (!self.exact).then_some(assessment.least_context_ess),
            largest_share: assessment.largest_share,
            largest_pareto_k: assessment.largest_pareto_k,
            contexts: assessment.contexts,
            contexts_left_out: contexts - assessment.contexts,
            samples: self.samples(),
            samples_in_support: assessment.samples_in_support,
            skipped: self.skipped.clone(),
            exact: self.exact,
            iterations: fitted.solution.iterations,
            termination: fitted.solution.termination,
            residual: fitted.solution.residual,
            redundant: fitted.solution.redundant,
            held_out,
        };
        Ok(Fit::new(fitted.tilt, report))
    }

    /// Estimates a target from these samples: its moments, `ln Z`, and how well the samples cover it.
    ///
    /// Use other samples than those the target was fitted to. On its own samples a fit looks too good: they show the
    /// moments that were asked for, a `ln Z` that is too small and a KL that is too large, by about (number of
    /// coefficients / ESS).
    ///
    /// # Errors
    /// [`Error::NotMeasured`], [`Error::NotBinary`], [`Error::NoSupport`].
    pub fn assess(&self, tilt: &Tilt<C, X>, errors: ContextErrors) -> Result<Assessment> {
        let constraints: Vec<Constraint<C, X>> = tilt.constraints().cloned().collect();
        Problem::as_given(self, &constraints)?.assess(tilt, Split::AllContexts, errors)
    }
}

/// A fit to a split of the samples.
pub(crate) struct Fitted<C, X> {
    pub(crate) tilt: Tilt<C, X>,
    pub(crate) solution: Solution,
    /// `None` if there are no moments.
    pub(crate) dual: Option<Dual>,
}

/// The distance from its target, in units of its range, that a moment of a fit may have: the moments are summed again
/// from the target's own scores.
const MISSED: f64 = 1e-7;

impl<C, X> Problem<'_, C, X> {
    /// The moments of the target, computed from its factor as its users will, are those that were asked for.
    fn check_achieved(
        &self,
        fitted: &Fitted<C, X>,
        assessment: &Assessment,
        config: &FitConfig,
    ) -> Result<()> {
        let Some(dual) = &fitted.dual else { return Ok(()) };
        let moments = (0..).zip(fitted.tilt.constraints()).filter_map(|(index, constraint)| {
            matches!(constraint.kind(), ConstraintKind::Moment { .. }).then_some(index)
        });
        let coefficients = &fitted.solution.coefficients;
        for ((index, target), (lambda, reach)) in
            moments.zip(&dual.targets).zip(coefficients.iter().zip(&dual.standard.reach))
        {
            let achieved = assessment.moments[index].value;
            let missed = (achieved - target.target + config.ridge * lambda).abs() - target.tolerance;
            // A ridge rounds what it adds.
            let rounding =
                16.0 * f64::EPSILON * (reach.size + target.tolerance + (config.ridge * lambda).abs());
            if !(missed <= MISSED * (reach.high - reach.low) + rounding) {
                return Err(Error::NotSolved {
                    feature: target.name.clone(),
                    target: target.target,
                    achieved,
                    missed,
                    iterations: fitted.solution.iterations,
                });
            }
        }
        Ok(())
    }

    /// Fits the coefficients to a split of the samples, from `start` if it is given.
    pub(crate) fn fit(
        &self,
        split: Split,
        config: &FitConfig,
        start: Option<&[f64]>,
    ) -> Result<Fitted<C, X>> {
        let split = match config.contexts_without_support {
            crate::ContextsWithoutSupport::Refuse if split == Split::All => Split::AllContexts,
            _ => split,
        };
        let dual = self.dual(split, config.ridge)?;
        let solution = match &dual {
            Some(dual) => {
                let solution = dual.solve_from(&config.solver, start)?;
                if !solution.termination.is_converged() {
                    let lambda = Array1::from(solution.coefficients) * &dual.standard.scale;
                    return Err(dual.missed(&dual.at(lambda), solution.iterations));
                }
                solution
            }
            None => Solution {
                coefficients: Vec::new(),
                iterations: 0,
                termination: Termination::ClosedForm,
                residual: 0.0,
                redundant: Vec::new(),
            },
        };
        Ok(Fitted { tilt: self.tilt(&solution.coefficients)?, solution, dual })
    }
}

/// Fits to a share of the samples, and measures the moments on the rest.
fn check_held_out<C, X>(
    problem: &Problem<'_, C, X>,
    config: &FitConfig,
    solution: &Solution,
) -> (HeldOut, Option<Vec<Estimate>>) {
    let share = config.held_out;
    if share == 0.0 || problem.is_exact() {
        return (HeldOut::None, None);
    }
    let check = || {
        let start = Some(solution.coefficients.as_slice());
        let fitted = problem.fit(Split::Train(share), config, start)?;
        problem.assess(&fitted.tilt, Split::HeldOut(share), config.context_errors)
    };
    match check() {
        Ok(found) => {
            let held_out = HeldOut::Measured { share, contexts: found.contexts, ess: found.ess };
            (held_out, Some(found.moments))
        }
        Err(error) => (HeldOut::Unavailable { reason: error.to_string() }, None),
    }
}
