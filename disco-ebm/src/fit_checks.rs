//! Checks of a fit before it is returned, and the errors of contexts that fail them.

use ndarray::Array2;

use crate::{
    ContextFault, Error, FitConfig, Result,
    duals::Faults,
    fitted::Fitted,
    problem::{Moment, Problem},
    split::Split,
    strata::Strata,
    weighed::Weighed,
};

/// The distance from its target, in units of its range, that a moment of a fit may have: the moments are summed again
/// from the target's own scores.
const MISSED: f64 = 1e-7;

impl<C, X> Problem<'_, C, X> {
    /// The samples whose weights are those of a fit to all of them.
    pub(crate) fn split_of_fit(&self, config: &FitConfig) -> Split {
        match config.contexts_without_support {
            crate::ContextsWithoutSupport::Refuse => Split::AllContexts,
            crate::ContextsWithoutSupport::LeaveOut => Split::All,
        }
    }

    /// The moments of the target, computed from its factor as its users will, are those that were asked for.
    pub(crate) fn check_achieved(
        &self,
        fitted: &Fitted<C, X>,
        weighed: &Weighed,
        config: &FitConfig,
    ) -> Result<()> {
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
            let achieved = self.coordinate_means(&weighed.strata, &weighed.rows, &self.shared_moments());
            check(dual, &fitted.solved.shared, achieved, config.ridge)?;
        }
        let mut faults = Vec::new();
        for (c, context) in fitted.duals.contexts.iter().enumerate() {
            let Some(dual) = &context.dual else { continue };
            let rows = std::slice::from_ref(&weighed.rows[c]);
            let moments = self.own_moments(context.position);
            let achieved = self.coordinate_means(&weighed.strata.single(c), rows, &moments);
            if let Err(error) = check(dual, &fitted.solved.own[c], achieved, config.ridge) {
                faults.push((context.position, error));
            }
        }
        self.refuse(faults)
    }

    /// The means of the coordinates of moments: of features, or under a condition of `g (phi - m)`.
    fn coordinate_means(
        &self,
        strata: &Strata,
        rows: &[(usize, Vec<usize>)],
        moments: &[(usize, Moment)],
    ) -> Vec<f64> {
        let values: Vec<Array2<f64>> =
            rows.iter().map(|(context, rows)| self.coordinates(*context, rows, moments)).collect();
        let columns: Vec<usize> = (0..moments.len()).collect();
        let means = strata.means(&columns, |context, point| values[context].row(point));
        means.iter().map(|mean| mean.estimate.value).collect()
    }

    /// The samples carry enough information: all together, and where coefficients are per context, in each, which is a fit of
    /// its own.
    pub(crate) fn check_ess(&self, weighed: &Weighed, config: &FitConfig) -> Result<()> {
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

    /// The error that lists what is wrong with contexts, if something is.
    pub(crate) fn refuse(&self, mut faults: Faults) -> Result<()> {
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
