//! The weights of samples under a factor, and what they say about the target: means, `ln Z`, KL.

use disco_core::{Error as CoreError, ImportanceWeights};
use ndarray::{Array2, ArrayView1};

use crate::{
    Assessment, ContextErrors, Error, Result, Tilt,
    context_samples::Evaluated,
    factor::Factor,
    problem::Problem,
    split::Split,
    strata::{Mean, Strata},
};

/// The weights of a split of the samples under a factor.
pub(crate) struct Weighed {
    pub(crate) strata: Strata,
    /// The log-factor of each sample, by context.
    pub(crate) log_factors: Vec<Vec<f64>>,
    /// The contexts that have support, and their samples in the split.
    pub(crate) rows: Vec<(usize, Vec<usize>)>,
    /// Samples that are possible under the base and satisfy the pointwise constraints.
    pub(crate) in_support: usize,
}

impl<C, X> Problem<'_, C, X> {
    /// The contexts whose weight is not zero, with their positions.
    pub(crate) fn possible_contexts(&self) -> impl Iterator<Item = (usize, &Evaluated<C, X>)> {
        let contexts = self.measured.contexts.iter().zip(&self.measured.shares).enumerate();
        contexts.filter(|(_, (_, share))| **share > 0.0).map(|(index, (context, _))| (index, context))
    }

    /// The importance weights of a split of the samples under a factor.
    pub(crate) fn weigh(&self, tilt: &Tilt<C, X>, split: Split, errors: ContextErrors) -> Result<Weighed> {
        let columns = self.tilt_columns(tilt)?;
        let factors = |index: usize, context: &Evaluated<C, X>| {
            let position = match tilt.position(&context.drawn.context) {
                // A context that the fit left out.
                Err(Error::UnknownContext { .. }) if split != Split::AllContexts => return Ok(None),
                position => position?,
            };
            let found = tilt.log_factors_at(position, context.values.view(), &columns);
            found.map(Some).map_err(|error| in_context(index, error))
        };
        self.weigh_by(split, errors, factors)
    }

    /// The importance weights of all samples under the base alone.
    pub(crate) fn weigh_base(&self, errors: ContextErrors) -> Result<Weighed> {
        for (context, evaluated) in self.possible_contexts() {
            let weights = evaluated.log_weights();
            if weights.iter().all(|weight| *weight == f64::NEG_INFINITY) {
                let cause = CoreError::ZeroWeights { count: weights.len() };
                return Err(Error::InContext { context, cause });
            }
        }
        self.weigh_by(Split::AllContexts, errors, |_, context| Ok(Some(vec![0.0; context.values.nrows()])))
    }

    fn weigh_by(
        &self,
        split: Split,
        errors: ContextErrors,
        log_factors: impl Fn(usize, &Evaluated<C, X>) -> Result<Option<Vec<f64>>>,
    ) -> Result<Weighed> {
        let (mut shares, mut weights, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
        let (mut kept_factors, mut kept_rows) = (Vec::new(), Vec::new());
        for (index, context) in self.possible_contexts() {
            let Some(all) = log_factors(index, context)? else { continue };
            let log_weights = context.log_weights();
            let rows: Vec<usize> = (0..all.len()).filter(|&row| split.contains(row)).collect();
            let factors: Vec<f64> = rows.iter().map(|&row| all[row]).collect();
            let terms: Vec<f64> = rows.iter().map(|&row| log_weights[row] + all[row]).collect();
            if terms.iter().all(|term| *term == f64::NEG_INFINITY) {
                if split == Split::AllContexts {
                    return Err(self.no_support(index));
                }
                continue;
            }
            weights.push(ImportanceWeights::from_log(terms)?);
            shares.push(self.measured.shares[index]);
            left_out.push(split.left_out(context.left_out));
            kept_factors.push(factors);
            kept_rows.push((index, rows));
        }
        if kept_rows.is_empty() {
            return Err(self.no_support(0));
        }
        let positive = |weights: &ImportanceWeights| {
            weights.log_weights().iter().filter(|weight| **weight > f64::NEG_INFINITY).count()
        };
        let in_support = weights.iter().map(positive).sum();
        let strata = Strata::new(shares, weights, left_out, self.is_exact(), errors);
        Ok(Weighed { strata, log_factors: kept_factors, rows: kept_rows, in_support })
    }

    /// The mean of each constraint's feature under these weights; of a conditional one the ratio `E[g phi] / E[g]`, with its
    /// error by the delta method. `None` where the condition never holds.
    pub(crate) fn means(&self, strata: &Strata, rows: &[(usize, Vec<usize>)]) -> Vec<Option<Mean>> {
        let row = |context: usize, point: usize| {
            let (index, rows) = &rows[context];
            self.row(*index, rows[point])
        };
        let count = self.constraints.len();
        let columns: Vec<usize> = (0..count).map(|i| self.column(i)).collect();
        let mut means: Vec<Option<Mean>> = strata.means(&columns, row).into_iter().map(Some).collect();
        let conditional: Vec<(usize, usize)> =
            (0..count).filter_map(|i| Some((i, self.condition_column(i)?))).collect();
        if conditional.is_empty() {
            return means;
        }
        let given: Vec<usize> = conditional.iter().map(|(_, column)| *column).collect();
        let given = strata.means(&given, row);
        let ratios: Vec<Option<(f64, f64)>> = conditional
            .iter()
            .zip(&given)
            .map(|(&(i, _), given)| {
                let holds = given.estimate.value;
                let sum = means[i].as_ref().map_or(0.0, |mean| mean.estimate.value);
                (holds > 0.0).then(|| (sum / holds, holds))
            })
            .collect();
        // The contribution of a sample to the ratio: g (phi - ratio) / E[g].
        let contributions: Vec<Array2<f64>> = rows
            .iter()
            .map(|(index, rows)| {
                Array2::from_shape_fn((rows.len(), conditional.len()), |(point, k)| {
                    let row = self.row(*index, rows[point]);
                    match ratios[k] {
                        Some((ratio, holds)) => self.coordinate(row, conditional[k].0, ratio) / holds,
                        None => 0.0,
                    }
                })
            })
            .collect();
        let all: Vec<usize> = (0..conditional.len()).collect();
        let deviations = strata.means(&all, |context, point| contributions[context].row(point));
        for (((i, _), ratio), deviation) in conditional.into_iter().zip(ratios).zip(deviations) {
            means[i] = ratio.map(|(ratio, _)| {
                let mut mean = deviation;
                // The sum of what is left corrects the rounding of the ratio.
                mean.estimate.value += ratio;
                mean
            });
        }
        means
    }

    /// As [`means`](Self::means), of constraints whose conditions are known to hold somewhere.
    pub(crate) fn means_given(&self, strata: &Strata, rows: &[(usize, Vec<usize>)]) -> Result<Vec<Mean>> {
        let samples = rows.iter().map(|(_, rows)| rows.len()).sum();
        let found = self.means(strata, rows).into_iter().enumerate();
        found.map(|(i, mean)| mean.ok_or_else(|| self.never_given(i, samples))).collect()
    }

    pub(crate) fn never_given(&self, constraint: usize, samples: usize) -> Error {
        let one = &self.constraints[constraint];
        let condition = one.condition().map_or_else(String::new, |g| g.name().to_owned());
        Error::NeverGiven { feature: one.feature().name().into(), condition, samples }
    }

    /// The assessment of a factor on a split of the samples.
    pub(crate) fn assess(
        &self,
        tilt: &Tilt<C, X>,
        split: Split,
        errors: ContextErrors,
    ) -> Result<Assessment> {
        self.assess_weighed(&self.weigh(tilt, split, errors)?)
    }

    pub(crate) fn assess_weighed(&self, weighed: &Weighed) -> Result<Assessment> {
        let Weighed { strata, log_factors, rows, in_support } = weighed;
        let means = self.means_given(strata, rows)?;
        let (log_z, log_z_by_context) = strata.log_z();
        Ok(Assessment {
            moments: means.iter().map(|mean| mean.estimate).collect(),
            skewness: means.iter().map(|mean| mean.skewness).collect(),
            log_z,
            log_z_by_context: rows.iter().map(|(index, _)| *index).zip(log_z_by_context).collect(),
            kl_from_base: strata.kl(|context| ArrayView1::from(&log_factors[context])),
            ess: strata.ess(),
            least_context_ess: strata.least_ess(),
            largest_share: strata.largest_share(),
            largest_pareto_k: strata.largest_pareto_k(),
            contexts: rows.len(),
            samples_in_support: *in_support,
        })
    }

    pub(crate) fn no_support(&self, context: usize) -> Error {
        let samples = self.measured.contexts[context].values.nrows();
        let never = (0..self.constraints.len()).filter(|&i| {
            // Nothing is asked where the factors were given.
            let known = match self.asked.get(i) {
                Some(_) => self.known_factor(i, context),
                None => self.constraints[i].kind().always().map(|wanted| Factor::Hard { wanted }),
            };
            let Some(Factor::Hard { wanted }) = known else { return false };
            let (wanted, given) = (f64::from(u8::from(wanted)), self.condition_column(i));
            (0..samples).all(|row| {
                let row = self.row(context, row);
                given.is_none_or(|given| row[given] == 1.0) && row[self.column(i)] != wanted
            })
        });
        let never = never.map(|i| self.constraints[i].name().to_owned()).collect();
        Error::NoSupport { context, samples, never }
    }
}

/// The error of a context, with its position.
pub(crate) fn in_context(context: usize, error: Error) -> Error {
    match error {
        Error::Core(cause) => Error::InContext { context, cause },
        other => other,
    }
}
