//! Constraints resolved against measured features: what each asks, in each context, and the values it is about.

use std::sync::Arc;

use ndarray::{Array2, ArrayView1};

use crate::{
    Constraint, ConstraintKind, Error, Measured, Result,
    constraint_kind::always,
    factor::{Factor, Factors, condition, value},
    targets::{ContextIndex, ContextKey, KeyOf},
    tilt::{Tilt, check_distinct},
};

/// Constraints, resolved against the columns of measured values.
pub(crate) struct Problem<'a, C, X> {
    pub(crate) measured: &'a Measured<C, X>,
    pub(crate) constraints: Vec<Constraint<C, X>>,
    /// One for each constraint.
    pub(crate) asked: Vec<Asked>,
    /// The columns of each constraint's feature and condition.
    pub(crate) columns: Vec<(usize, Option<usize>)>,
    /// `None` where constraint `i` is about column `columns[i].0` as it is. Else, for each context, `[samples, constraints +
    /// conditions]`: the value of each constraint's feature (0 where its condition does not hold), then the conditions.
    pub(crate) built: Option<Vec<Array2<f64>>>,
    pub(crate) keys: Option<Arc<Keys<C>>>,
}

/// The key of each context, where some constraint is per context.
pub(crate) struct Keys<C> {
    key_of: KeyOf<C>,
    keys: Vec<ContextKey>,
}

/// The demand of a constraint.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    Hard {
        wanted: bool,
    },
    Fixed {
        coefficient: f64,
    },
    Shared(Moment),
    /// For each context; `Err(wanted)` where it is pointwise.
    Each(Vec<std::result::Result<Moment, bool>>),
}

/// A mean that is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) target: f64,
    pub(crate) tolerance: f64,
    /// The number that is subtracted from the feature in its factor.
    pub(crate) shift: f64,
}

/// A feature whose values are larger than its range by more than this loses digits in the scores of a target, and gets
/// its own target subtracted there. With the others the factor is `exp(lambda phi)`, as in print.
const OFFSET: f64 = 1e4;

impl<'a, C, X> Problem<'a, C, X> {
    /// Resolves constraints; a moment of 0 or 1 on a feature that is binary on the samples becomes pointwise.
    pub(crate) fn new(measured: &'a Measured<C, X>, constraints: &[Constraint<C, X>]) -> Result<Self> {
        let mut problem = Self::as_given(measured, constraints)?;
        problem.keys = problem.keys_of_contexts()?;
        for index in 0..problem.constraints.len() {
            let asked = problem.resolve(index)?;
            if let Asked::Hard { wanted } = asked {
                problem.constraints[index] = problem.constraints[index].made_pointwise(wanted);
            }
            problem.asked.push(asked);
        }
        Ok(problem)
    }

    /// Constraints whose factors are known: their features are resolved, and nothing is asked.
    pub(crate) fn as_given(measured: &'a Measured<C, X>, constraints: &[Constraint<C, X>]) -> Result<Self> {
        if constraints.is_empty() {
            return Err(disco_core::Error::Empty { what: "list of constraints".into() }.into());
        }
        check_distinct(constraints.iter().map(Constraint::name))?;
        let column = |name: &str| Ok::<_, Error>(measured.columns_of([name])?[0]);
        let columns = |constraint: &Constraint<C, X>| {
            let given = constraint.condition().map(|g| column(g.name())).transpose()?;
            Ok((column(constraint.feature().name())?, given))
        };
        let columns = constraints.iter().map(columns).collect::<Result<Vec<_>>>()?;
        let (constraints, asked) = (constraints.to_vec(), Vec::new());
        let mut problem = Self { measured, constraints, asked, columns, built: None, keys: None };
        problem.built = problem.build()?;
        Ok(problem)
    }

    /// Checks the values against what is known of the features, and computes those that are not measured columns.
    fn build(&self) -> Result<Option<Vec<Array2<f64>>>> {
        let plain = |one: &Constraint<C, X>| one.label_of().is_none() && one.condition().is_none();
        if self.constraints.iter().all(plain) {
            for (constraint, (column, _)) in self.constraints.iter().zip(&self.columns) {
                let (name, range) = (constraint.feature().name(), constraint.range());
                let mut values =
                    self.measured.contexts.iter().flat_map(|context| context.values.column(*column));
                values.try_for_each(|value| range.check(name, *value))?;
            }
            return Ok(None);
        }
        let count = self.constraints.len();
        let conditions = self.columns.iter().filter(|(_, given)| given.is_some()).count();
        let mut built = Vec::with_capacity(self.measured.contexts.len());
        for context in &self.measured.contexts {
            let mut values = Array2::zeros((context.values.nrows(), count + conditions));
            for (index, row) in context.values.rows().into_iter().enumerate() {
                let mut next = count;
                for (i, (constraint, &(column, given))) in
                    self.constraints.iter().zip(&self.columns).enumerate()
                {
                    let found = value(constraint, index, row[column])?;
                    let holds = condition(constraint, index, given.map(|given| row[given]))?;
                    values[[index, i]] = if holds { found } else { 0.0 };
                    if given.is_some() {
                        values[[index, next]] = f64::from(u8::from(holds));
                        next += 1;
                    }
                }
            }
            built.push(values);
        }
        Ok(Some(built))
    }

    fn keys_of_contexts(&self) -> Result<Option<Arc<Keys<C>>>> {
        let Some(key_of) = self.constraints.iter().find_map(|one| one.targets()).map(|one| one.key_of())
        else {
            return Ok(None);
        };
        let contexts = self.measured.contexts.iter().map(|context| key_of(&context.drawn.context));
        let keys = contexts.collect::<Result<Vec<_>>>()?;
        // Here, so that the positions in the error are those of the caller.
        ContextIndex::new(key_of, keys.clone())?;
        Ok(Some(Arc::new(Keys { key_of, keys })))
    }

    /// The demand of a constraint.
    fn resolve(&self, index: usize) -> Result<Asked> {
        let constraint = &self.constraints[index];
        let values = || (0..self.measured.contexts.len()).flat_map(|context| self.values(context, index));
        let not_binary = || values().find(|value| *value != 0.0 && *value != 1.0);
        if let Some(wanted) = constraint.kind().always() {
            match (not_binary(), constraint.kind()) {
                (None, _) => return Ok(Asked::Hard { wanted }),
                (Some(value), ConstraintKind::Pointwise { .. }) => {
                    return Err(Error::NotBinary { feature: constraint.feature().name().into(), value });
                }
                (Some(_), _) => {}
            }
        }
        let moment = |target: f64, tolerance: f64, values: &mut dyn Iterator<Item = f64>| {
            let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (f64::min(low, value), f64::max(high, value))
            });
            let offset = low.abs().max(high.abs()) > OFFSET * (high - low);
            let shift = if offset || constraint.condition().is_some() { target } else { 0.0 };
            Moment { target, tolerance, shift }
        };
        match (constraint.kind(), constraint.targets()) {
            (ConstraintKind::Fixed { coefficient }, _) => Ok(Asked::Fixed { coefficient }),
            (ConstraintKind::Moment { target, tolerance }, _) => {
                Ok(Asked::Shared(moment(target, tolerance, &mut values())))
            }
            (ConstraintKind::PerContext { tolerance }, Some(targets)) => {
                let binary = not_binary().is_none();
                let count = self.measured.contexts.len();
                let in_context = |(position, context): (usize, &crate::context_samples::Evaluated<C, X>)| {
                    let target =
                        targets.target(constraint.name(), position, count, &context.drawn.context)?;
                    match always(target, tolerance).filter(|_| binary) {
                        Some(wanted) => Ok(Err(wanted)),
                        None => Ok(Ok(moment(target, tolerance, &mut self.values(position, index)))),
                    }
                };
                let asked = self.measured.contexts.iter().enumerate().map(in_context);
                Ok(Asked::Each(asked.collect::<Result<_>>()?))
            }
            (ConstraintKind::PerContext { .. } | ConstraintKind::Pointwise { .. }, _) => {
                unreachable!(
                    "a pointwise constraint always asks for one value, and targets come with their kind"
                )
            }
        }
    }

    /// The values of a constraint in a context: 0 where its condition does not hold.
    pub(crate) fn values(&self, context: usize, constraint: usize) -> impl Iterator<Item = f64> + '_ {
        let column = self.column(constraint);
        (0..self.measured.contexts[context].values.nrows()).map(move |row| self.row(context, row)[column])
    }

    /// The values of a sample: those of constraint `i` are at [`column`](Self::column).
    pub(crate) fn row(&self, context: usize, row: usize) -> ArrayView1<'_, f64> {
        match &self.built {
            Some(built) => built[context].row(row),
            None => self.measured.contexts[context].values.row(row),
        }
    }

    /// The place of a constraint's value in a [`row`](Self::row).
    pub(crate) fn column(&self, constraint: usize) -> usize {
        if self.built.is_some() { constraint } else { self.columns[constraint].0 }
    }

    /// The place of a constraint's condition in a [`row`](Self::row), if it has one.
    pub(crate) fn condition_column(&self, constraint: usize) -> Option<usize> {
        self.columns[constraint].1?;
        let before = self.columns[..constraint].iter().filter(|(_, given)| given.is_some()).count();
        Some(self.constraints.len() + before)
    }

    /// The coordinate of the dual that belongs to a mean of `target`: the feature, or under a condition `g (phi - target)`.
    pub(crate) fn coordinate(&self, row: ArrayView1<'_, f64>, constraint: usize, target: f64) -> f64 {
        let value = row[self.column(constraint)];
        match self.condition_column(constraint) {
            None => value,
            Some(given) if row[given] == 1.0 => value - target,
            Some(_) => 0.0,
        }
    }

    /// The factor that a constraint has in a context whatever the coefficients are.
    pub(crate) fn known_factor(&self, constraint: usize, context: usize) -> Option<Factor> {
        match &self.asked[constraint] {
            Asked::Hard { wanted } => Some(Factor::Hard { wanted: *wanted }),
            Asked::Fixed { coefficient } => Some(Factor::Soft { coefficient: *coefficient, shift: 0.0 }),
            Asked::Shared(_) => None,
            Asked::Each(each) => each[context].err().map(|wanted| Factor::Hard { wanted }),
        }
    }

    /// The log-factors of a context's samples that do not depend on coefficients that are fitted.
    pub(crate) fn known_log_factors(&self, context: usize) -> Result<Vec<f64>> {
        let factors: Vec<(usize, Factor)> = (0..self.constraints.len())
            .filter_map(|i| self.known_factor(i, context).map(|factor| (i, factor)))
            .collect();
        let rows = self.measured.contexts[context].values.rows().into_iter().enumerate();
        let log_factor = |(index, row): (usize, ArrayView1<'_, f64>)| {
            factors.iter().try_fold(0.0, |sum, &(i, factor)| {
                let (column, given) = self.columns[i];
                let given = given.map(|given| row[given]);
                Ok(sum + factor.log(&self.constraints[i], index, row[column], given)?)
            })
        };
        rows.map(log_factor).collect()
    }

    /// The columns of measured values that a tilt of these constraints needs.
    pub(crate) fn tilt_columns(&self, tilt: &Tilt<C, X>) -> Result<Vec<usize>> {
        self.measured.columns_of(tilt.feature_names())
    }

    /// The factor with these coefficients: of the shared moments, and for each of these contexts of the moments there.
    pub(crate) fn tilt(&self, shared: &[f64], local: &[(usize, Vec<f64>)]) -> Result<Tilt<C, X>> {
        let mut shared = shared.iter().copied();
        let mut next: Vec<_> = local.iter().map(|(_, coefficients)| coefficients.iter().copied()).collect();
        let soft = |moment: &Moment, coefficients: &mut dyn Iterator<Item = f64>| Factor::Soft {
            coefficient: coefficients.next().expect("one coefficient for each moment"),
            shift: moment.shift,
        };
        let mut factors = Vec::with_capacity(self.constraints.len());
        for (constraint, asked) in self.constraints.iter().zip(&self.asked) {
            let of_constraint = match asked {
                Asked::Hard { wanted } => Factors::Shared(Factor::Hard { wanted: *wanted }),
                Asked::Fixed { coefficient } => {
                    Factors::Shared(Factor::Soft { coefficient: *coefficient, shift: 0.0 })
                }
                Asked::Shared(moment) => Factors::Shared(soft(moment, &mut shared)),
                Asked::Each(each) => {
                    let contexts =
                        local.iter().zip(&mut next).map(|((context, _), next)| match &each[*context] {
                            Ok(moment) => soft(moment, next),
                            Err(wanted) => Factor::Hard { wanted: *wanted },
                        });
                    Factors::Each(contexts.collect())
                }
            };
            factors.push((constraint.clone(), of_constraint));
        }
        let index = match self.keys.as_deref() {
            None => None,
            Some(Keys { key_of, keys }) => {
                let keys = local.iter().map(|(context, _)| keys[*context].clone()).collect();
                Some(Arc::new(ContextIndex::new(*key_of, keys)?))
            }
        };
        Tilt::with_factors(factors, index)
    }

    /// How a context is called in messages, where constraints are per context.
    pub(crate) fn context_name(&self, context: usize) -> String {
        self.keys.as_ref().map_or_else(String::new, |keys| keys.keys[context].shown())
    }

    pub(crate) fn is_exact(&self) -> bool {
        self.measured.exact
    }
}
