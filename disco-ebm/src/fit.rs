//! The fit: from constraints to coefficients.

use std::fmt;

use disco_core::{Error as CoreError, Estimate};
use ndarray::Array2;

use crate::{
    Assessment, Constraint, ContextErrors, ContextFault, Ebm, Error, FitConfig, FitReport, HeldOut, Measured,
    Result, Tilt,
    duals::{Duals, Faults},
    fit_report::HeldOutMeans,
    problem::Problem,
    solved::Solved,
    split::Split,
    weighed::Weighed,
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
    /// and is nearest to the base, by minimising the [`Dual`](crate::Dual).
    ///
    /// # Errors
    /// As [`Dual::solve`](crate::Dual::solve), and [`Error::NotSolved`] where moments are not as asked; [`Error::DuplicateFeature`],
    /// [`Error::NotMeasured`], [`Error::NotBinary`], [`Error::ConditionNotBinary`], [`Error::NeverGiven`], [`Error::NotALabel`],
    /// [`Error::OutOfRange`]; [`Error::NoSupport`], unless such contexts are left out; [`Error::TooFewEffectiveSamples`]; settings
    /// out of range. Where constraints are per context, [`Error::InContexts`] lists all contexts in which one of these errors
    /// is met, and [`Error::DuplicateContext`].
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
        let weighed = problem.weigh(&fitted.tilt, problem.split_of_fit(config), config.context_errors)?;
        let assessment = problem.assess_weighed(&weighed)?;
        problem.check_achieved(&fitted, &weighed, config)?;
        problem.check_ess(&weighed, config)?;
        let (held_out, means) = check_held_out(&problem, config, &fitted.solved);
        let parts = problem.report(&fitted, &weighed, means.as_ref(), config)?;
        let solved = &fitted.solved;
        let report = FitReport {
            constraints: parts.constraints,
            log_z: parts.log_z,
            kl_from_base: parts.kl_from_base,
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
            iterations: solved.iterations,
            termination: solved.termination,
            residual: solved.residual,
            redundant: solved.all_redundant(),
            held_out,
            by_context: parts.by_context,
            categories: parts.categories,
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
    /// [`Error::NotMeasured`], [`Error::NotBinary`], [`Error::NoSupport`]; [`Error::UnknownContext`] where coefficients are per
    /// context; [`Error::NeverGiven`].
    pub fn assess(&self, tilt: &Tilt<C, X>, errors: ContextErrors) -> Result<Assessment> {
        let constraints: Vec<Constraint<C, X>> = tilt.constraints().cloned().collect();
        Problem::as_given(self, &constraints)?.assess(tilt, Split::AllContexts, errors)
    }
}

/// A fit to a split of the samples.
pub(crate) struct Fitted<C, X> {
    pub(crate) tilt: Tilt<C, X>,
    pub(crate) duals: Duals,
    pub(crate) solved: Solved,
}

/// The distance from its target, in units of its range, that a moment of a fit may have: the moments are summed again
/// from the target's own scores.
const MISSED: f64 = 1e-7;

impl<C, X> Problem<'_, C, X> {
    /// The samples whose weights are those of a fit to all of them.
    fn split_of_fit(&self, config: &FitConfig) -> Split {
        match config.contexts_without_support {
            crate::ContextsWithoutSupport::Refuse => Split::AllContexts,
            crate::ContextsWithoutSupport::LeaveOut => Split::All,
        }
    }

    /// The moments of the target, computed from its factor as its users will, are those that were asked for.
    fn check_achieved(&self, fitted: &Fitted<C, X>, weighed: &Weighed, config: &FitConfig) -> Result<()> {
        let shared: Vec<usize> = self.shared_moments().iter().map(|(i, _)| *i).collect();
        let coordinates =
            |strata: &crate::strata::Strata, rows: &[(usize, Vec<usize>)], moments: &[usize]| {
                let values: Vec<Array2<f64>> = rows
                    .iter()
                    .map(|(index, rows)| {
                        Array2::from_shape_fn((rows.len(), moments.len()), |(point, k)| {
                            let target = self.moment(moments[k], *index).map_or(0.0, |moment| moment.target);
                            self.coordinate(self.row(*index, rows[point]), moments[k], target)
                        })
                    })
                    .collect();
                let columns: Vec<usize> = (0..moments.len()).collect();
                let means = strata.means(&columns, |context, point| values[context].row(point));
                means.into_iter().map(|mean| mean.estimate.value).collect::<Vec<f64>>()
            };
        let check = |dual: &crate::Dual, coefficients: &[f64], achieved: Vec<f64>, ridge: f64| {
            let reach = &dual.standard.reach;
            for (((target, achieved), lambda), reach) in
                dual.targets.iter().zip(achieved).zip(coefficients).zip(reach)
            {
                let missed = (achieved - target.target + ridge * lambda).abs() - target.tolerance;
                // A ridge rounds what it adds.
                let rounding = 16.0 * f64::EPSILON * (reach.size + target.tolerance + (ridge * lambda).abs());
                if !(missed <= MISSED * (reach.high - reach.low) + rounding) {
                    return Err(Error::NotSolved {
                        feature: target.name.clone(),
                        target: target.target,
                        achieved,
                        missed,
                        iterations: fitted.solved.iterations,
                    });
                }
            }
            Ok(())
        };
        if let Some(dual) = &fitted.duals.shared {
            let achieved = coordinates(&weighed.strata, &weighed.rows, &shared);
            check(dual, &fitted.solved.shared, achieved, config.ridge)?;
        }
        let mut faults = Vec::new();
        for (c, context) in fitted.duals.contexts.iter().enumerate() {
            let Some(dual) = &context.dual else { continue };
            let rows = std::slice::from_ref(&weighed.rows[c]);
            let achieved = coordinates(&weighed.strata.single(c), rows, &context.constraints);
            if let Err(error) = check(dual, &fitted.solved.own[c], achieved, config.ridge) {
                faults.push((context.position, error));
            }
        }
        self.refuse(faults)
    }

    /// The samples carry enough information: all together, and where coefficients are per context, in each, which is a fit of
    /// its own.
    fn check_ess(&self, weighed: &Weighed, config: &FitConfig) -> Result<()> {
        let needed = config.min_ess;
        if self.is_per_context() {
            let few = |(c, (position, _)): (usize, &(usize, Vec<usize>))| {
                let ess = weighed.strata.single(c).ess();
                (!(ess >= needed)).then_some((*position, Error::TooFewEffectiveSamples { ess, needed }))
            };
            self.refuse(weighed.rows.iter().enumerate().filter_map(few).collect())?;
        }
        let ess = weighed.strata.ess();
        if !(ess >= needed) {
            return Err(Error::TooFewEffectiveSamples { ess, needed });
        }
        Ok(())
    }

    /// Fits the coefficients to a split of the samples, from `start` if it is given.
    pub(crate) fn fit(
        &self,
        split: Split,
        config: &FitConfig,
        start: Option<&Solved>,
    ) -> Result<Fitted<C, X>> {
        let (duals, mut faults) = self.duals(split, config)?;
        // A start belongs to contexts in their order.
        let start = start.filter(|start| start.own.len() == duals.contexts.len());
        // Contexts that are bad by themselves are listed with those that cannot be solved.
        let solved = if duals.shared.is_none() || faults.is_empty() {
            duals.solve(&config.solver, start, &mut faults)?
        } else {
            Solved::nothing(duals.contexts.len())
        };
        self.refuse(faults)?;
        let own: Vec<(usize, Vec<f64>)> =
            duals.contexts.iter().map(|context| context.position).zip(solved.own.iter().cloned()).collect();
        Ok(Fitted { tilt: self.tilt(&solved.shared, &own)?, duals, solved })
    }

    /// The error that lists what is wrong with contexts, if something is.
    fn refuse(&self, mut faults: Faults) -> Result<()> {
        if faults.is_empty() {
            return Ok(());
        }
        faults.sort_by_key(|(context, _)| *context);
        let contexts = self.possible_contexts().count();
        let faults = faults.into_iter().map(|(context, cause)| self.fault(context, cause));
        Err(Error::InContexts { contexts, faults: faults.collect() })
    }

    fn fault(&self, context: usize, cause: Error) -> ContextFault {
        let log_weights = self.measured.contexts[context].log_weights();
        let known =
            self.known_log_factors(context).unwrap_or_else(|_| vec![f64::NEG_INFINITY; log_weights.len()]);
        let support: Vec<usize> =
            (0..known.len()).filter(|&row| log_weights[row] + known[row] > f64::NEG_INFINITY).collect();
        let named = match &cause {
            Error::OutOfReach { feature, .. }
            | Error::ConstantFeature { feature, .. }
            | Error::Unidentified { feature, .. }
            | Error::NotSolved { feature, .. } => {
                self.constraints.iter().position(|one| one.name() == feature)
            }
            Error::NeverGiven { feature, condition, .. } => self.constraints.iter().position(|one| {
                one.feature().name() == feature && one.condition().is_some_and(|g| g.name() == condition)
            }),
            _ => None,
        };
        let values = |i: usize| {
            let condition = self.condition_column(i);
            let rows = support.iter().map(move |&row| self.row(context, row));
            let holds = rows.filter(move |row| condition.is_none_or(|condition| row[condition] == 1.0));
            holds.map(move |row| row[self.column(i)]).collect::<Vec<f64>>()
        };
        let values = named.map(values);
        let reach = values.as_ref().filter(|values| !values.is_empty()).map(|values| {
            let low = values.iter().copied().fold(f64::INFINITY, f64::min);
            (low, values.iter().copied().fold(f64::NEG_INFINITY, f64::max))
        });
        ContextFault {
            context,
            name: self.context_name(context),
            samples: log_weights.len(),
            in_support: support.len(),
            constraint: named.map(|i| self.constraints[i].name().to_owned()),
            having: values.map(|values| values.iter().filter(|value| **value != 0.0).count()),
            target: named.and_then(|i| self.moment(i, context)).map(|moment| moment.target),
            reach,
            cause: Box::new(cause),
        }
    }
}

/// Fits to a share of the samples, and measures the moments on the rest.
fn check_held_out<C, X>(
    problem: &Problem<'_, C, X>,
    config: &FitConfig,
    solved: &Solved,
) -> (HeldOut, Option<HeldOutMeans>) {
    let share = config.held_out;
    if share == 0.0 || problem.is_exact() {
        return (HeldOut::None, None);
    }
    let check = || {
        let fitted = problem.fit(Split::Train(share), config, Some(solved))?;
        let weighed = problem.weigh(&fitted.tilt, Split::HeldOut(share), config.context_errors)?;
        let estimates = |means: Vec<Option<crate::strata::Mean>>| -> Vec<Option<Estimate>> {
            means.into_iter().map(|mean| mean.map(|mean| mean.estimate)).collect()
        };
        let in_context = |(c, rows): (usize, &(usize, Vec<usize>))| {
            let means = problem.means(&weighed.strata.single(c), std::slice::from_ref(rows));
            (rows.0, estimates(means))
        };
        let means = HeldOutMeans {
            overall: estimates(problem.means(&weighed.strata, &weighed.rows)),
            by_context: weighed.rows.iter().enumerate().map(in_context).collect(),
        };
        let state = HeldOut::Measured { share, contexts: weighed.rows.len(), ess: weighed.strata.ess() };
        Ok::<_, Error>((state, means))
    };
    match check() {
        Ok((state, means)) => (state, Some(means)),
        Err(error) => (HeldOut::Unavailable { reason: error.to_string() }, None),
    }
}
