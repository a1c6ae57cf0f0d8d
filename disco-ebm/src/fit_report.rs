//! The report of a fit.

use ndarray::ArrayView1;

use disco_core::Estimate;

use crate::{
    CategoryDistance, CategoryReport, ConstraintKind, ConstraintReport, ContextConstraint, ContextReport,
    FitConfig, Result,
    fitted::Fitted,
    inference::Inference,
    joint_inference::JointInference,
    problem::{Asked, Moment, Problem},
    strata::Mean,
    weighed::Weighed,
};

/// The parts of a report with errors that depend on how the coefficients were fitted.
pub(crate) struct Parts {
    pub(crate) constraints: Vec<ConstraintReport>,
    pub(crate) by_context: Vec<ContextReport>,
    pub(crate) categories: Vec<CategoryReport>,
    pub(crate) log_z: Estimate,
    pub(crate) kl_from_base: Estimate,
}

/// The means on held-out samples: over contexts, and of contexts by position.
pub(crate) struct HeldOutMeans {
    pub(crate) overall: Vec<Option<Estimate>>,
    pub(crate) by_context: Vec<(usize, Vec<Option<Estimate>>)>,
}

/// The means of a single context, under the target and under the base.
struct Alone {
    achieved: Vec<Option<Mean>>,
    base: Vec<Option<Mean>>,
}

/// Errors of coefficients and of achieved moments: of the shared moments, and of each context's own.
struct Errors {
    shared: Vec<(f64, f64)>,
    own: Vec<Vec<(f64, f64)>>,
    log_z: Estimate,
    kl: Estimate,
    log_z_of: Vec<Estimate>,
    kl_of: Vec<Estimate>,
}

impl<C, X> Problem<'_, C, X> {
    pub(crate) fn report(
        &self,
        fitted: &Fitted<C, X>,
        weighed: &Weighed,
        held_out: Option<&HeldOutMeans>,
        config: &FitConfig,
    ) -> Result<Parts> {
        let base = self.weigh_base(config.context_errors)?;
        let base_means = self.means_given(&base.strata, &base.rows)?;
        let achieved = self.means_given(&weighed.strata, &weighed.rows)?;
        let errors = self.errors(fitted, weighed, config)?;
        // Of a single context they are the same, and need not be computed again.
        let single = |means: &[Mean]| means.iter().cloned().map(Some).collect();
        let alone = (weighed.rows.len() == 1 && base.rows.len() == 1)
            .then(|| Alone { achieved: single(&achieved), base: single(&base_means) });
        let conditions = self.condition_means(weighed);
        let ess = weighed.strata.ess();
        let mut shared = errors.shared.iter();
        let mut constraints = Vec::with_capacity(self.constraints.len());
        for (i, ((constraint, base), mean)) in
            fitted.tilt.constraints().zip(base_means).zip(achieved).enumerate()
        {
            let mut achieved = mean.estimate;
            let coefficient = match &self.asked[i] {
                Asked::Shared(_) => {
                    let (of_coefficient, of_moment) = shared.next().expect("one error per shared moment");
                    achieved.std_error = of_moment / conditions[i];
                    let value = fitted.tilt.coefficients().nth(i).flatten();
                    value.map(|value| Estimate { value, std_error: *of_coefficient, ess })
                }
                Asked::Fixed { coefficient } => {
                    Some(Estimate { value: *coefficient, std_error: 0.0, ess: f64::INFINITY })
                }
                Asked::Hard { .. } | Asked::Each(_) => None,
            };
            constraints.push(ConstraintReport {
                feature: constraint.name().into(),
                asked: constraint.kind(),
                coefficient,
                category: constraint.label().map(|_| constraint.feature().name().into()),
                base: base.estimate,
                base_skewness: base.skewness,
                achieved,
                achieved_skewness: mean.skewness,
                held_out: held_out.and_then(|means| means.overall[i]),
            });
        }
        self.own_moment_errors(fitted, weighed, &errors, &mut constraints);
        let by_context = self.by_context(fitted, weighed, &base, alone, held_out, &errors)?;
        let categories = self.categories(weighed, &base)?;
        let (log_z, kl_from_base) = (errors.log_z, errors.kl);
        Ok(Parts { constraints, by_context, categories, log_z, kl_from_base })
    }

    /// The mean of each constraint's condition; 1 without one.
    fn condition_means(&self, weighed: &Weighed) -> Vec<f64> {
        let mean = |i: usize| self.condition_column(i).map_or(1.0, |column| self.mean_of(weighed, column));
        (0..self.constraints.len()).map(mean).collect()
    }

    fn mean_of(&self, weighed: &Weighed, column: usize) -> f64 {
        let means = weighed.strata.means(&[column], |context, point| {
            let (index, rows) = &weighed.rows[context];
            self.row(*index, rows[point])
        });
        means[0].estimate.value
    }

    fn errors(&self, fitted: &Fitted<C, X>, weighed: &Weighed, config: &FitConfig) -> Result<Errors> {
        let (strata, solved) = (&weighed.strata, &fitted.solved);
        let (log_z, log_z_of) = strata.log_z();
        let kl = strata.kl(|context| ArrayView1::from(&weighed.log_factors[context]));
        let kl_of: Vec<Estimate> = (0..weighed.rows.len())
            .map(|c| strata.single(c).kl(|_| ArrayView1::from(&weighed.log_factors[c])))
            .collect();
        let own = vec![Vec::new(); weighed.rows.len()];
        let is_own = fitted.duals.contexts.iter().any(|context| context.dual.is_some());
        let several = weighed.rows.len() > 1 && fitted.duals.shared.is_some();
        let joint = (is_own || several).then(|| {
            let shared: Vec<f64> = self.shared_moments().iter().map(|(i, _)| self.origin(*i, 0)).collect();
            let contexts = fitted.duals.contexts.iter();
            let shifts: Vec<(Vec<f64>, Vec<f64>)> = contexts
                .map(|context| {
                    let own = context.constraints.iter().map(|&i| self.origin(i, context.position));
                    (shared.clone(), own.collect())
                })
                .collect();
            JointInference::new(&fitted.duals, solved, &shifts, strata, config.context_errors)
        });
        let of_contexts = joint.as_ref().map(|joint| joint.log_z_and_kl(strata, &weighed.log_factors));
        if let (true, Some(joint), Some(found)) = (is_own, &joint, &of_contexts) {
            let shared = joint.shared_coefficient_errors();
            let shared = shared.into_iter().zip(joint.shared_moment_errors().iter().copied()).collect();
            let own = joint.contexts.iter().map(|context| {
                context.coefficients.iter().copied().zip(context.moments.iter().copied()).collect()
            });
            let own = own.collect();
            let [(log_z, log_z_of), (kl, kl_of)] = found.clone();
            return Ok(Errors { shared, own, log_z, kl, log_z_of, kl_of });
        }
        let inference = (fitted.duals.shared.as_ref())
            .map(|dual| Inference::new(dual, &solved.shared, &solved.redundant, config.context_errors));
        let (of_log_z, of_kl) = self.limit_errors(inference.as_ref(), weighed)?;
        let pairs = |inference: &Inference<'_>| {
            inference.coefficient_errors().into_iter().zip(inference.moment_errors()).collect()
        };
        let shared = inference.as_ref().map_or_else(Vec::new, pairs);
        let (log_z, kl) = (Estimate { std_error: of_log_z, ..log_z }, Estimate { std_error: of_kl, ..kl });
        let (log_z_of, kl_of) = match of_contexts {
            Some([(_, log_z_of), (_, kl_of)]) => (log_z_of, kl_of),
            None if weighed.rows.len() == 1 => (vec![log_z], vec![kl]),
            None => (log_z_of, kl_of),
        };
        Ok(Errors { shared, own, log_z, kl, log_z_of, kl_of })
    }

    /// The number that the factor subtracts from a coordinate of the dual. Under a condition it is part of the coordinate.
    pub(crate) fn origin(&self, constraint: usize, context: usize) -> f64 {
        if self.condition_column(constraint).is_some() {
            return 0.0;
        }
        self.moment(constraint, context).map_or(0.0, |moment| moment.shift)
    }

    /// The mean that is asked of a constraint in a context.
    pub(crate) fn moment(&self, constraint: usize, context: usize) -> Option<Moment> {
        match &self.asked[constraint] {
            Asked::Shared(moment) => Some(*moment),
            Asked::Each(each) => each[context].ok(),
            Asked::Hard { .. } | Asked::Fixed { .. } => None,
        }
    }

    /// The errors of means over contexts of moments that hold in each: contexts are independent.
    fn own_moment_errors(
        &self,
        fitted: &Fitted<C, X>,
        weighed: &Weighed,
        errors: &Errors,
        constraints: &mut [ConstraintReport],
    ) {
        if weighed.strata.errors() == crate::ContextErrors::Drawn {
            return;
        }
        for (i, report) in constraints.iter_mut().enumerate() {
            // A conditional mean over contexts also depends on how often the condition holds in each.
            if !matches!(self.asked[i], Asked::Each(_)) || self.condition_column(i).is_some() {
                continue;
            }
            let contexts = fitted.duals.contexts.iter().zip(&errors.own);
            let squares = contexts.filter_map(|(context, own)| {
                let at = context.constraints.iter().position(|&constraint| constraint == i)?;
                Some((context.share * own[at].1).powi(2))
            });
            report.achieved.std_error = squares.sum::<f64>().sqrt();
        }
    }

    fn by_context(
        &self,
        fitted: &Fitted<C, X>,
        weighed: &Weighed,
        base: &Weighed,
        mut alone: Option<Alone>,
        held_out: Option<&HeldOutMeans>,
        errors: &Errors,
    ) -> Result<Vec<ContextReport>> {
        let exact = self.is_exact();
        let mut found = Vec::with_capacity(weighed.rows.len());
        for (c, rows) in weighed.rows.iter().enumerate() {
            let position = rows.0;
            let single = weighed.strata.single(c);
            let (achieved, of_base) = match alone.take() {
                Some(Alone { achieved, base }) => (achieved, Some(base)),
                None => {
                    let at = base.rows.iter().position(|(context, _)| *context == position);
                    let of_base = at
                        .map(|at| self.means(&base.strata.single(at), std::slice::from_ref(&base.rows[at])));
                    (self.means(&single, std::slice::from_ref(rows)), of_base)
                }
            };
            let held_out = held_out.and_then(|means| {
                means.by_context.iter().find(|(context, _)| *context == position).map(|(_, means)| means)
            });
            let coefficients =
                fitted.tilt.coefficients_in(&self.measured.contexts[position].drawn.context)?;
            let constraint = |i: usize| {
                let own = &fitted.duals.contexts[c].constraints;
                let error = own.iter().position(|&one| one == i).map(|at| errors.own[c][at]);
                let estimate = |mean: &Option<Mean>| mean.as_ref().map(|mean| mean.estimate);
                let mut achieved = estimate(&achieved[i]);
                let coefficient = error.and_then(|(of_coefficient, of_moment)| {
                    if let Some(achieved) = &mut achieved {
                        let column = self.condition_column(i);
                        let holds = column.map_or(1.0, |column| {
                            let means = single.means(&[column], |_, point| self.row(position, rows.1[point]));
                            means[0].estimate.value
                        });
                        achieved.std_error = of_moment / holds;
                    }
                    let value = coefficients[i]?;
                    Some(Estimate { value, std_error: of_coefficient, ess: single.ess() })
                });
                let asked = match &self.asked[i] {
                    Asked::Hard { wanted } => Some(ConstraintKind::Pointwise { wanted: *wanted }),
                    Asked::Fixed { coefficient } => Some(ConstraintKind::Fixed { coefficient: *coefficient }),
                    Asked::Shared(_) => None,
                    Asked::Each(each) => Some(match each[position] {
                        Ok(Moment { target, tolerance, .. }) => ConstraintKind::Moment { target, tolerance },
                        Err(wanted) => ConstraintKind::Pointwise { wanted },
                    }),
                };
                ContextConstraint {
                    asked,
                    coefficient,
                    base: of_base.as_ref().and_then(|means| estimate(&means[i])),
                    achieved,
                    held_out: held_out.and_then(|means| means[i]),
                }
            };
            found.push(ContextReport {
                context: position,
                share: weighed.strata.shares()[c],
                samples: self.measured.contexts[position].values.nrows(),
                samples_in_support: weighed.strata.in_support(c).count(),
                ess: (!exact).then(|| single.ess()),
                log_z: errors.log_z_of[c],
                kl_from_base: errors.kl_of[c],
                constraints: (0..self.constraints.len()).map(constraint).collect(),
            });
        }
        Ok(found)
    }

    fn categories(&self, weighed: &Weighed, base: &Weighed) -> Result<Vec<CategoryReport>> {
        let mut found: Vec<CategoryReport> = Vec::new();
        for constraint in self.constraints.iter().filter(|one| one.condition().is_none()) {
            let Some(label) = constraint.label_of() else { continue };
            let category = constraint.feature().name();
            if found.iter().any(|other| other.category == category && *other.labels == *label.labels) {
                continue;
            }
            let mut asked = vec![None; label.labels.len()];
            let same =
                |one: &crate::Constraint<C, X>| one.condition().is_none() && one.feature().name() == category;
            for (i, one) in self.constraints.iter().enumerate().filter(|(_, one)| same(one)) {
                if let Some(other) = one.label_of().filter(|other| other.labels == label.labels) {
                    asked[other.position] = Some(self.asked_on_average(i, weighed));
                }
            }
            // There is no distance from shares of which some were not asked for.
            let Some(asked) = asked.into_iter().collect::<Option<Vec<f64>>>() else { continue };
            let column = self.measured.columns_of([category])?[0];
            let distance = |weighed: &Weighed| {
                CategoryDistance::of(&weighed.strata, &asked, None, |context, point| {
                    let (index, rows) = &weighed.rows[context];
                    self.measured.contexts[*index].values[[rows[point], column]] as usize
                })
            };
            let (base, achieved) = (distance(base)?, distance(weighed)?);
            let (category, labels) = (category.to_owned(), label.labels.to_vec());
            found.push(CategoryReport { category, labels, asked, base, achieved });
        }
        Ok(found)
    }

    /// The mean over contexts of what is asked of a constraint.
    fn asked_on_average(&self, constraint: usize, weighed: &Weighed) -> f64 {
        let in_context = |context: usize| match &self.asked[constraint] {
            Asked::Hard { wanted } => f64::from(u8::from(*wanted)),
            Asked::Fixed { .. } => 0.0,
            Asked::Shared(moment) => moment.target,
            Asked::Each(each) => {
                each[context].map_or_else(|wanted| f64::from(u8::from(wanted)), |moment| moment.target)
            }
        };
        let contexts = weighed.strata.shares().iter().zip(&weighed.rows);
        contexts.map(|(share, (context, _))| share * in_context(*context)).sum()
    }
}
