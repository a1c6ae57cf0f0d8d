//! The fit: from constraints to coefficients.

use std::fmt;

use disco_core::{Error as CoreError, Estimate};

use crate::{
    Assessment, Constraint, ContextErrors, Ebm, Error, FitConfig, FitReport, HeldOut, Measured, Result, Tilt,
    fit_report::HeldOutMeans, problem::Problem, solved::Solved, split::Split,
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
        problem.check_achieved(&fitted, &weighed, config)?;
        problem.check_ess(&weighed, config)?;
        let (held_out, means) = check_held_out(&problem, config, &fitted.solved);
        let parts = problem.report(&fitted, &weighed, means.as_ref(), config)?;
        let (solved, strata) = (&fitted.solved, &weighed.strata);
        let report = FitReport {
            constraints: parts.constraints,
            log_z: parts.log_z,
            kl_from_base: parts.kl_from_base,
            ess: (!self.exact).then(|| strata.ess()),
            least_context_ess: (!self.exact).then(|| strata.least_ess()),
            largest_share: strata.largest_share(),
            largest_pareto_k: strata.largest_pareto_k(),
            contexts: weighed.rows.len(),
            contexts_left_out: contexts - weighed.rows.len(),
            samples: self.samples(),
            samples_in_support: weighed.in_support,
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
