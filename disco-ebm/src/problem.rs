//! Constraints resolved against measured features: weights, moments and the dual of a split of the samples.

use std::sync::Arc;

use disco_core::{Estimate, ImportanceWeights};
use ndarray::{Array2, ArrayView1};

use crate::{
    Assessment, Constraint, ConstraintKind, ContextErrors, Dual, Error, EvaluatedSamples, Measured,
    MomentTarget, Result, Tilt, context_samples::Evaluated, inference::Inference, split::Split,
    strata::Strata, tilt::check_distinct,
};

/// The weights of a split of the samples under a factor.
pub(crate) struct Weighed {
    strata: Strata,
    /// The log-factor of each sample, by context.
    log_factors: Vec<Vec<f64>>,
    /// The contexts that have support, and their samples in the split.
    rows: Vec<(usize, Vec<usize>)>,
    in_support: usize,
}

/// Constraints, resolved against the columns of measured values.
pub(crate) struct Problem<'a, C, X> {
    measured: &'a Measured<C, X>,
    constraints: Vec<Constraint<C, X>>,
    /// The column of each constraint's feature.
    columns: Vec<usize>,
    /// The number that is subtracted from each constraint's feature in its factor.
    shifts: Vec<f64>,
}

/// A feature whose values are larger than its range by more than this loses digits in the scores of a target, and gets
/// its own target subtracted there. With the others the factor is `exp(lambda phi)`, as in print.
const OFFSET: f64 = 1e4;

impl<'a, C, X> Problem<'a, C, X> {
    /// Resolves constraints; a moment of 0 or 1 on a feature that is binary on the samples becomes pointwise.
    pub(crate) fn new(measured: &'a Measured<C, X>, constraints: &[Constraint<C, X>]) -> Result<Self> {
        let mut problem = Self::as_given(measured, constraints)?;
        for (constraint, &column) in problem.constraints.iter_mut().zip(&problem.columns) {
            let pointwise = matches!(constraint.kind(), ConstraintKind::Pointwise { .. });
            let Some(wanted) = constraint.kind().always() else {
                continue;
            };
            let mut values = measured.contexts.iter().flat_map(|context| context.values.column(column));
            match values.find(|value| **value != 0.0 && **value != 1.0) {
                Some(&value) if pointwise => {
                    return Err(Error::NotBinary { feature: constraint.name().into(), value });
                }
                Some(_) => {}
                None => {
                    let feature = Arc::clone(constraint.feature());
                    *constraint = Constraint::new(feature, ConstraintKind::Pointwise { wanted })?;
                }
            }
        }
        for (index, constraint) in problem.constraints.iter().enumerate() {
            if let ConstraintKind::Moment { target, .. } = constraint.kind() {
                let column = problem.columns[index];
                let values = measured.contexts.iter().flat_map(|context| context.values.column(column));
                let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                    (f64::min(low, *value), f64::max(high, *value))
                });
                if low.abs().max(high.abs()) > OFFSET * (high - low) {
                    problem.shifts[index] = target;
                }
            }
        }
        Ok(problem)
    }

    /// Resolves constraints as they are.
    pub(crate) fn as_given(measured: &'a Measured<C, X>, constraints: &[Constraint<C, X>]) -> Result<Self> {
        if constraints.is_empty() {
            return Err(disco_core::Error::Empty { what: "list of constraints".into() }.into());
        }
        check_distinct(constraints.iter().map(Constraint::name))?;
        let columns = measured.columns_of(constraints.iter().map(Constraint::name))?;
        let shifts = vec![0.0; columns.len()];
        Ok(Self { measured, constraints: constraints.to_vec(), columns, shifts })
    }

    /// The column of a constraint's feature.
    pub(crate) fn column(&self, constraint: usize) -> usize {
        self.columns[constraint]
    }

    /// The number of moments.
    pub(crate) fn dimension(&self) -> usize {
        self.moments().len()
    }

    /// This problem with targets that lie a fraction of the way from `start` (one per constraint) to its own.
    pub(crate) fn towards(&self, start: &[Estimate], fraction: f64) -> Result<Self> {
        let nearer = |(constraint, start): (&Constraint<C, X>, &Estimate)| match constraint.kind() {
            ConstraintKind::Moment { target, tolerance } => {
                let target = start.value + fraction * (target - start.value);
                Constraint::new(
                    Arc::clone(constraint.feature()),
                    ConstraintKind::Moment { target, tolerance },
                )
            }
            ConstraintKind::Pointwise { .. } => Ok(constraint.clone()),
        };
        let constraints = self.constraints.iter().zip(start).map(nearer).collect::<Result<_>>()?;
        let (columns, shifts) = (self.columns.clone(), self.shifts.clone());
        Ok(Self { measured: self.measured, constraints, columns, shifts })
    }

    pub(crate) fn is_exact(&self) -> bool {
        self.measured.exact
    }

    /// The factor with these coefficients of the moments.
    pub(crate) fn tilt(&self, coefficients: &[f64]) -> Result<Tilt<C, X>> {
        let mut coefficients = coefficients.iter().copied();
        let tilt = Tilt::new(self.constraints.iter().map(|constraint| {
            let moment = matches!(constraint.kind(), ConstraintKind::Moment { .. });
            (constraint.clone(), moment.then(|| coefficients.next()).flatten())
        }))?;
        tilt.with_shifts(&self.shifts)
    }

    /// The shifts of the moments.
    fn moment_shifts(&self) -> Vec<f64> {
        let moment = |(constraint, shift): (&Constraint<C, X>, &f64)| {
            matches!(constraint.kind(), ConstraintKind::Moment { .. }).then_some(*shift)
        };
        self.constraints.iter().zip(&self.shifts).filter_map(moment).collect()
    }

    /// The dual of the moments on a split of the samples; `None` if there are no moments.
    pub(crate) fn dual(&self, split: Split, ridge: f64) -> Result<Option<Dual>> {
        let targets = self.moments();
        let names: Vec<usize> = targets.iter().map(|(column, _)| *column).collect();
        // All coefficients zero leave the pointwise constraints.
        let hard = self.tilt(&vec![0.0; targets.len()])?;
        let mut points = Vec::with_capacity(self.measured.contexts.len());
        let mut shares = Vec::with_capacity(points.capacity());
        for (index, context) in self.possible_contexts() {
            let mut log_weights = context.log_weights();
            let log_factors = hard.log_factors_of(context.values.view(), &self.columns)?;
            log_weights.iter_mut().zip(log_factors).for_each(|(weight, factor)| *weight += factor);
            let rows: Vec<usize> = (0..log_weights.len()).filter(|&row| split.contains(row)).collect();
            let log_weights: Vec<f64> = rows.iter().map(|&row| log_weights[row]).collect();
            if log_weights.iter().all(|weight| *weight == f64::NEG_INFINITY) {
                if split == Split::AllContexts {
                    return Err(self.no_support(index));
                }
                continue;
            }
            if targets.is_empty() {
                continue;
            }
            let values = Array2::from_shape_fn((rows.len(), names.len()), |(i, j)| {
                context.values[[rows[i], names[j]]]
            });
            points.push(if self.is_exact() {
                EvaluatedSamples::exact(log_weights, values)?
            } else {
                EvaluatedSamples::sampled(log_weights, values)?
                    .with_left_out(split.left_out(context.left_out))
            });
            shares.push(self.measured.shares[index]);
        }
        if targets.is_empty() {
            return Ok(None);
        }
        let targets = targets.into_iter().map(|(_, target)| target).collect();
        if points.is_empty() {
            return Err(self.no_support(0));
        }
        Ok(Some(Dual::new(targets, points, Some(&shares), ridge)?))
    }

    /// The contexts whose weight is not zero, with their positions.
    fn possible_contexts(&self) -> impl Iterator<Item = (usize, &Evaluated<C, X>)> {
        let contexts = self.measured.contexts.iter().zip(&self.measured.shares).enumerate();
        contexts.filter(|(_, (_, share))| **share > 0.0).map(|(index, (context, _))| (index, context))
    }

    /// The columns and targets of the moments.
    fn moments(&self) -> Vec<(usize, MomentTarget)> {
        let moment = |(constraint, &column): (&Constraint<C, X>, &usize)| match constraint.kind() {
            ConstraintKind::Moment { target, tolerance } => {
                Some((column, MomentTarget { name: constraint.name().into(), target, tolerance }))
            }
            ConstraintKind::Pointwise { .. } => None,
        };
        self.constraints.iter().zip(&self.columns).filter_map(moment).collect()
    }

    /// The importance weights of a split of the samples under a factor.
    pub(crate) fn weigh(&self, tilt: &Tilt<C, X>, split: Split, errors: ContextErrors) -> Result<Weighed> {
        let mut shares = Vec::new();
        let mut weights = Vec::new();
        let mut left_out = Vec::new();
        let mut log_factors = Vec::new();
        let mut rows_kept = Vec::new();
        for (index, context) in self.possible_contexts() {
            let all = tilt.log_factors_of(context.values.view(), &self.columns)?;
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
            log_factors.push(factors);
            rows_kept.push((index, rows));
        }
        if rows_kept.is_empty() {
            return Err(self.no_support(0));
        }
        let positive = |weights: &ImportanceWeights| {
            weights.log_weights().iter().filter(|weight| **weight > f64::NEG_INFINITY).count()
        };
        let in_support = weights.iter().map(positive).sum();
        let strata = Strata::new(shares, weights, left_out, self.is_exact(), errors);
        Ok(Weighed { strata, log_factors, rows: rows_kept, in_support })
    }

    /// The assessment of a factor on a split of the samples.
    pub(crate) fn assess(
        &self,
        tilt: &Tilt<C, X>,
        split: Split,
        errors: ContextErrors,
    ) -> Result<Assessment> {
        Ok(self.assess_weighed(&self.weigh(tilt, split, errors)?))
    }

    pub(crate) fn assess_weighed(&self, weighed: &Weighed) -> Assessment {
        let Weighed { strata, log_factors, rows, in_support } = weighed;
        let means = strata.means(&self.columns, |context, point| {
            let (index, rows) = &rows[context];
            self.measured.contexts[*index].values.row(rows[point])
        });
        let (log_z, log_z_by_context) = strata.log_z();
        Assessment {
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
        }
    }

    /// The errors of `ln Z` and of the KL of a fit, as estimates of the values for infinitely many samples. They
    /// include the error at fixed coefficients and the error of the coefficients.
    pub(crate) fn limit_errors(
        &self,
        inference: Option<&Inference<'_>>,
        weighed: &Weighed,
    ) -> Result<(f64, f64)> {
        let shifts = self.moment_shifts();
        let sensitivities =
            inference.map_or_else(|| Some(Default::default()), |inference| inference.sensitivities(&shifts));
        let Some((of_log_z, of_kl)) = sensitivities else {
            // Sums over a whole space are certain, however little their terms vary.
            let error = if weighed.strata.is_certain() { 0.0 } else { f64::INFINITY };
            return Ok((error, error));
        };
        // The dual has the points of positive weight only, in the same order.
        let mut leverages = inference.iter().flat_map(|inference| inference.leverages().iter().copied());
        let mut inflation = |weights: &[f64]| -> Vec<f64> {
            let leverage = |weight: &f64| {
                if *weight > f64::NEG_INFINITY { leverages.next().unwrap_or(0.0) } else { 0.0 }
            };
            weights.iter().map(leverage).map(|leverage| (1.0 + leverage).sqrt()).collect()
        };
        let inflations: Vec<Vec<f64>> = weighed.strata.log_weights().map(&mut inflation).collect();
        let error = |sign: f64, sensitivity: &[f64]| {
            let tilt = self.tilt(sensitivity)?;
            let mut exponents = Vec::with_capacity(weighed.rows.len());
            for (index, rows) in &weighed.rows {
                let all = tilt.log_factors_of(self.measured.contexts[*index].values.view(), &self.columns)?;
                exponents.push(rows.iter().map(|&row| all[row]).collect::<Vec<f64>>());
            }
            let exponents = |context: usize| ArrayView1::from(&exponents[context]);
            let inflation = |context: usize, point: usize| inflations[context][point];
            Ok::<_, Error>(weighed.strata.with_log_z(sign, exponents, inflation).std_error)
        };
        Ok((error(1.0, &of_log_z)?, error(-1.0, &of_kl)?))
    }

    fn no_support(&self, context: usize) -> Error {
        let values = &self.measured.contexts[context].values;
        let never = self.constraints.iter().zip(&self.columns).filter(|(constraint, column)| {
            constraint.kind().always().is_some_and(|wanted| {
                let wanted = f64::from(u8::from(wanted));
                values.column(**column).iter().all(|value| *value != wanted)
            })
        });
        let never = never.map(|(constraint, _)| constraint.name().to_owned()).collect();
        Error::NoSupport { context, samples: values.nrows(), never }
    }
}
