//! The duals of a problem: one of the shared moments over all contexts, and one of each context's own moments.

use ndarray::Array2;

use crate::{
    ContextsWithoutSupport, Dual, Error, EvaluatedSamples, FitConfig, MomentTarget, Result,
    problem::{Asked, Moment, Problem},
    split::Split,
    weighed::in_context,
};

/// The duals of a split of the samples, on the contexts that have support.
pub(crate) struct Duals {
    /// Of the shared moments; `None` if there are none.
    pub(crate) shared: Option<Dual>,
    /// The contexts that are fitted.
    pub(crate) contexts: Vec<InContext>,
}

/// A context that is fitted.
pub(crate) struct InContext {
    /// Its position among all.
    pub(crate) position: usize,
    /// Its share in means over contexts, normalised.
    pub(crate) share: f64,
    /// Of its own moments; `None` if there are none.
    pub(crate) dual: Option<Dual>,
    /// The constraint of each of its own moments.
    pub(crate) constraints: Vec<usize>,
}

/// The problems of contexts.
pub(crate) type Faults = Vec<(usize, Error)>;

impl<C, X> Problem<'_, C, X> {
    /// Whether some constraint has coefficients per context.
    pub(crate) fn is_per_context(&self) -> bool {
        self.asked.iter().any(|asked| matches!(asked, Asked::Each(_)))
    }

    /// The shared moments, with their constraints.
    pub(crate) fn shared_moments(&self) -> Vec<(usize, Moment)> {
        let shared = |(i, asked): (usize, &Asked)| match asked {
            Asked::Shared(moment) => Some((i, *moment)),
            _ => None,
        };
        self.asked.iter().enumerate().filter_map(shared).collect()
    }

    /// A context's own moments, with their constraints.
    pub(crate) fn own_moments(&self, context: usize) -> Vec<(usize, Moment)> {
        let own = |(i, asked): (usize, &Asked)| match asked {
            Asked::Each(each) => each[context].ok().map(|moment| (i, moment)),
            _ => None,
        };
        self.asked.iter().enumerate().filter_map(own).collect()
    }

    /// The duals on a split of the samples. What is wrong with single contexts is returned beside them, if some constraint is
    /// per context; those contexts are not among the fitted ones.
    pub(crate) fn duals(&self, split: Split, config: &FitConfig) -> Result<(Duals, Faults)> {
        let refuse = split == Split::All && config.contexts_without_support == ContextsWithoutSupport::Refuse;
        let (mut points, mut contexts, mut faults) = (Vec::new(), Vec::new(), Vec::new());
        let shared = self.shared_moments();
        for (position, context) in self.possible_contexts() {
            let mut log_weights = context.log_weights();
            let log_factors =
                self.known_log_factors(position).map_err(|error| in_context(position, error))?;
            log_weights.iter_mut().zip(log_factors).for_each(|(weight, factor)| *weight += factor);
            let rows: Vec<usize> = (0..log_weights.len()).filter(|&row| split.contains(row)).collect();
            let log_weights: Vec<f64> = rows.iter().map(|&row| log_weights[row]).collect();
            if log_weights.iter().all(|weight| *weight == f64::NEG_INFINITY) {
                match (refuse, self.is_per_context()) {
                    (true, false) => return Err(self.no_support(position)),
                    (true, true) => faults.push((position, self.no_support(position))),
                    (false, _) => {}
                }
                continue;
            }
            let own = self.own_moments(position);
            let found = self.own_dual(position, &own, &rows, &log_weights, config.ridge);
            let dual = match found {
                Ok(dual) => dual,
                Err(error) => {
                    faults.push((position, error));
                    continue;
                }
            };
            if !shared.is_empty() {
                let values = self.coordinates(position, &rows, &shared);
                let left_out = split.left_out(context.left_out);
                points.push(self.points(log_weights, values)?.with_left_out(left_out));
            }
            let constraints = own.into_iter().map(|(i, _)| i).collect();
            contexts.push(InContext { position, share: self.measured.shares[position], dual, constraints });
        }
        if contexts.is_empty() && faults.is_empty() {
            return Err(self.no_support(0));
        }
        let sum: f64 = contexts.iter().map(|context| context.share).sum();
        contexts.iter_mut().for_each(|context| context.share /= sum);
        let shares: Vec<f64> = contexts.iter().map(|context| context.share).collect();
        let targets = shared.iter().map(|(i, moment)| self.target(*i, moment)).collect();
        let shared = if shared.is_empty() || contexts.is_empty() {
            None
        } else {
            self.check_conditions(&shared, &contexts, split)?;
            Some(Dual::new(targets, points, Some(&shares), config.ridge)?)
        };
        Ok((Duals { shared, contexts }, faults))
    }

    fn own_dual(
        &self,
        position: usize,
        own: &[(usize, Moment)],
        rows: &[usize],
        log_weights: &[f64],
        ridge: f64,
    ) -> Result<Option<Dual>> {
        if own.is_empty() {
            return Ok(None);
        }
        for (i, moment) in own {
            let possible = rows.iter().zip(log_weights).filter(|(_, weight)| **weight > f64::NEG_INFINITY);
            self.check_condition(*i, moment, possible.map(|(row, _)| (position, *row)))?;
        }
        let targets = own.iter().map(|(i, moment)| self.target(*i, moment)).collect();
        let values = self.coordinates(position, rows, own);
        Ok(Some(Dual::new(targets, vec![self.points(log_weights.to_vec(), values)?], None, ridge)?))
    }

    fn points(&self, log_weights: Vec<f64>, values: Array2<f64>) -> Result<EvaluatedSamples> {
        if self.is_exact() {
            EvaluatedSamples::exact(log_weights, values)
        } else {
            EvaluatedSamples::sampled(log_weights, values)
        }
    }

    /// The values of moments for these samples, as their dual has them: `[rows, moments]`.
    pub(crate) fn coordinates(
        &self,
        context: usize,
        rows: &[usize],
        moments: &[(usize, Moment)],
    ) -> Array2<f64> {
        Array2::from_shape_fn((rows.len(), moments.len()), |(row, k)| {
            let (i, moment) = &moments[k];
            self.coordinate(self.row(context, rows[row]), *i, moment.target)
        })
    }

    fn target(&self, constraint: usize, moment: &Moment) -> MomentTarget {
        let one = &self.constraints[constraint];
        let target = if one.condition().is_some() { 0.0 } else { moment.target };
        MomentTarget { name: one.name().into(), target, tolerance: moment.tolerance }
    }

    /// The conditions of shared moments hold for some samples, which have values on both sides of the target.
    fn check_conditions(
        &self,
        shared: &[(usize, Moment)],
        contexts: &[InContext],
        split: Split,
    ) -> Result<()> {
        for (i, moment) in shared.iter().filter(|(i, _)| self.condition_column(*i).is_some()) {
            let mut possible = Vec::new();
            for context in contexts {
                let position = context.position;
                let log_weights = self.measured.contexts[position].log_weights();
                for (row, factor) in self.known_log_factors(position)?.into_iter().enumerate() {
                    if split.contains(row) && log_weights[row] + factor > f64::NEG_INFINITY {
                        possible.push((position, row));
                    }
                }
            }
            self.check_condition(*i, moment, possible.into_iter())?;
        }
        Ok(())
    }

    /// The condition of a moment, if it has one, holds for some of these samples, whose values are on both sides of the
    /// target.
    fn check_condition(
        &self,
        constraint: usize,
        moment: &Moment,
        possible: impl Iterator<Item = (usize, usize)>,
    ) -> Result<()> {
        let Some(given) = self.condition_column(constraint) else { return Ok(()) };
        let (mut samples, mut low, mut high) = (0, f64::INFINITY, f64::NEG_INFINITY);
        for (context, row) in possible {
            samples += 1;
            let row = self.row(context, row);
            if row[given] == 1.0 {
                let value = row[self.column(constraint)];
                (low, high) = (low.min(value), high.max(value));
            }
        }
        if low > high {
            return Err(self.never_given(constraint, samples));
        }
        let feature = self.constraints[constraint].name().to_owned();
        if low == high && low == moment.target {
            return Err(Error::ConstantFeature { feature, value: low });
        }
        if !(low < moment.target && moment.target < high) {
            let (target, tolerance) = (moment.target, moment.tolerance);
            return Err(Error::OutOfReach { feature, target, tolerance, low, high });
        }
        Ok(())
    }
}
