//! The factor that a fit multiplies the base with.

use std::{fmt, sync::Arc};

use disco_core::{Error as CoreError, Feature};
use ndarray::ArrayView2;

use crate::{
    Constraint, ConstraintKind, Error, Result,
    factor::{Factor, Factors},
    targets::ContextIndex,
};

/// The factor `prod_j b_j(x, c) exp(sum_i lambda_i phi_i(x, c))` that turns a base into a target.
///
/// It is a [`Scorer`](disco_core::Scorer) of its own: of log-score `lambda . (phi(x, c) - shift)`, or `-inf` where a
/// pointwise constraint forbids the sample. The shift is 0 unless [`with_shifts`](Self::with_shifts) sets it, as fits do for
/// features that vary little about a large number; for a conditional mean `m` it is `m`, and the term is `lambda g (phi - m)`.
/// A coefficient per context is that of the context that is scored; a context that has none is an error.
/// [`Ebm`](crate::Ebm) is its product with the base.
///
/// # Performance
/// Pointwise features are evaluated first, one after the other, each on the samples that no earlier one has forbidden;
/// the others only on samples that satisfy all of them, and not if their coefficient is 0. A feature that several
/// constraints share is evaluated once.
pub struct Tilt<C: ?Sized, X: ?Sized> {
    // Invariant: names are distinct, and all of them are needed.
    pub(crate) features: Vec<Arc<dyn Feature<C, X>>>,
    // Invariant: names are distinct; coefficients are finite.
    pub(crate) terms: Vec<Term<C, X>>,
    // Invariant: `Some` if and only if a term has factors per context.
    index: Option<Arc<ContextIndex<C>>>,
}

/// One constraint and its factor.
pub(crate) struct Term<C: ?Sized, X: ?Sized> {
    pub(crate) constraint: Constraint<C, X>,
    pub(crate) factors: Factors,
    /// The positions of its feature and of its condition among the features.
    pub(crate) column: usize,
    pub(crate) given: Option<usize>,
}

impl<C: ?Sized, X: ?Sized> Clone for Term<C, X> {
    fn clone(&self) -> Self {
        Self { constraint: self.constraint.clone(), factors: self.factors.clone(), ..*self }
    }
}

impl<C: ?Sized, X: ?Sized> Clone for Tilt<C, X> {
    fn clone(&self) -> Self {
        Self { features: self.features.clone(), terms: self.terms.clone(), index: self.index.clone() }
    }
}

impl<C: ?Sized, X: ?Sized> fmt::Debug for Tilt<C, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.terms.iter().map(|term| (&term.constraint, &term.factors))).finish()
    }
}

impl<C: ?Sized, X: ?Sized> Tilt<C, X> {
    /// The factor of these constraints, with a coefficient for each moment and `None` for pointwise ones. A fixed
    /// coefficient may be given or not.
    ///
    /// # Errors
    /// [`Error::DuplicateFeature`]; [`disco_core::Error::Invalid`] for a moment whose coefficient is missing or not
    /// finite, for a pointwise constraint with a coefficient, for a fixed coefficient that is another, and for a
    /// constraint per context: its coefficients come from a fit.
    pub fn new(terms: impl IntoIterator<Item = (Constraint<C, X>, Option<f64>)>) -> Result<Self> {
        let factors = |(constraint, coefficient): (Constraint<C, X>, Option<f64>)| {
            let factors = Self::shared_factors(&constraint, coefficient)?;
            Ok((constraint, factors))
        };
        Self::with_factors(terms.into_iter().map(factors).collect::<Result<_>>()?, None)
    }

    /// The factors of a constraint with a coefficient that all contexts share.
    pub(crate) fn shared_factors(constraint: &Constraint<C, X>, coefficient: Option<f64>) -> Result<Factors> {
        let shift = match (constraint.kind(), constraint.condition()) {
            (ConstraintKind::Moment { target, .. }, Some(_)) => target,
            _ => 0.0,
        };
        let soft = |coefficient: f64| Ok(Factors::Shared(Factor::Soft { coefficient, shift }));
        let allowed = match (constraint.kind(), coefficient) {
            (ConstraintKind::Pointwise { wanted }, None) => {
                return Ok(Factors::Shared(Factor::Hard { wanted }));
            }
            (ConstraintKind::Moment { .. }, Some(found)) if found.is_finite() => return soft(found),
            (ConstraintKind::Fixed { coefficient }, None) => return soft(coefficient),
            (ConstraintKind::Fixed { coefficient }, Some(found)) if found == coefficient => {
                return soft(found);
            }
            (ConstraintKind::Pointwise { .. }, _) => "none: it is pointwise".to_owned(),
            (ConstraintKind::Moment { .. }, _) => "a finite number".to_owned(),
            (ConstraintKind::Fixed { coefficient }, _) => coefficient.to_string(),
            (ConstraintKind::PerContext { .. }, _) => "those of a fit: one for each context".to_owned(),
        };
        let value = coefficient.map_or("missing".into(), |value| value.to_string());
        Err(CoreError::invalid(format!("coefficient of `{}`", constraint.name()), value, allowed).into())
    }

    /// Constraints with their factors; `index` has the contexts of those that have a factor for each.
    pub(crate) fn with_factors(
        terms: Vec<(Constraint<C, X>, Factors)>,
        index: Option<Arc<ContextIndex<C>>>,
    ) -> Result<Self> {
        check_distinct(terms.iter().map(|(constraint, _)| constraint.name()))?;
        let mut features: Vec<Arc<dyn Feature<C, X>>> = Vec::new();
        let mut place = |feature: &Arc<dyn Feature<C, X>>| {
            features.iter().position(|found| found.name() == feature.name()).unwrap_or_else(|| {
                features.push(Arc::clone(feature));
                features.len() - 1
            })
        };
        let term = |(constraint, factors): (Constraint<C, X>, Factors)| {
            let (column, given) = (place(constraint.feature()), constraint.condition().map(&mut place));
            Term { constraint, factors, column, given }
        };
        let terms = terms.into_iter().map(term).collect();
        Ok(Self { features, terms, index })
    }

    /// Subtracts a number from each feature: the factor of a moment becomes `exp(lambda (phi - shift))`.
    ///
    /// This changes `Z` alone, and keeps the digits of a feature that varies little about a large number: of `lambda phi`
    /// with `phi = 1e12 + 1`, four digits would be left. Pointwise constraints, conditional means and constraints per context
    /// have no use for a shift: theirs is 0 here.
    ///
    /// # Errors
    /// [`disco_core::Error`] for shifts of the wrong number, or not finite.
    pub fn with_shifts(mut self, shifts: &[f64]) -> Result<Self> {
        CoreError::check_length("shifts", self.terms.len(), shifts.len())?;
        for (term, new) in self.terms.iter_mut().zip(shifts) {
            if !new.is_finite() {
                let field = format!("shift of `{}`", term.constraint.name());
                return Err(CoreError::invalid(field, new, "finite").into());
            }
            if let (Factors::Shared(Factor::Soft { shift, .. }), None) = (&mut term.factors, term.given) {
                *shift = *new;
            }
        }
        Ok(self)
    }

    /// The number that is subtracted from each feature in its factor; 0, but for features that vary little about a large number.
    pub fn shifts(&self) -> impl Iterator<Item = f64> {
        self.terms.iter().map(|term| match (&term.factors, term.given) {
            (Factors::Shared(Factor::Soft { shift, .. }), None) => *shift,
            _ => 0.0,
        })
    }

    /// The names of the features that the factor is computed from, each once, in the order in which the constraints need
    /// them: that of the constraints, unless some share a feature or have a condition.
    pub fn feature_names(&self) -> impl Iterator<Item = &str> {
        self.features.iter().map(|feature| feature.name())
    }

    /// The constraints, as they were applied: a moment of 0 or 1 of a binary feature is pointwise.
    pub fn constraints(&self) -> impl Iterator<Item = &Constraint<C, X>> {
        self.terms.iter().map(|term| &term.constraint)
    }

    /// The coefficient `lambda` of each constraint; `None` for pointwise ones, and for those with a coefficient per context.
    pub fn coefficients(&self) -> impl Iterator<Item = Option<f64>> {
        self.terms.iter().map(|term| match term.factors {
            Factors::Shared(Factor::Soft { coefficient, .. }) => Some(coefficient),
            _ => None,
        })
    }

    /// The coefficient of each constraint in a context; `None` for those that are pointwise there.
    ///
    /// # Errors
    /// [`Error::UnknownContext`] for a context without coefficients of its own, where some constraint has them.
    pub fn coefficients_in(&self, context: &C) -> Result<Vec<Option<f64>>> {
        let position = self.position(context)?;
        let coefficient = |term: &Term<C, X>| match term.factors.at(position) {
            Factor::Soft { coefficient, .. } => Some(coefficient),
            Factor::Hard { .. } => None,
        };
        Ok(self.terms.iter().map(coefficient).collect())
    }

    /// The contexts that have coefficients of their own.
    pub(crate) fn index(&self) -> Option<&ContextIndex<C>> {
        self.index.as_deref()
    }

    /// The position of a context among those with coefficients of their own; `None` if no constraint has such.
    pub(crate) fn position(&self, context: &C) -> Result<Option<usize>> {
        self.index.as_ref().map(|index| index.position(context)).transpose()
    }

    /// The log-factors of samples of a context whose feature values are already known (nats).
    ///
    /// # Errors
    /// [`disco_core::Error::Length`] for a wrong number of columns; [`Error::NotBinary`], [`Error::ConditionNotBinary`],
    /// [`Error::NotALabel`], [`Error::OutOfRange`], [`Error::UnknownContext`]; an error for a value of a sample that is not
    /// finite.
    ///
    /// # Shapes
    /// - values: `[samples, features]`, in the order of [`feature_names`](Self::feature_names)
    /// - result: `[samples]`
    pub fn log_factors(&self, context: &C, values: ArrayView2<'_, f64>) -> Result<Vec<f64>> {
        CoreError::check_length("columns of feature values", self.features.len(), values.ncols())?;
        let columns: Vec<usize> = (0..self.features.len()).collect();
        self.log_factors_at(self.position(context)?, values, &columns)
    }

    /// As [`log_factors`](Self::log_factors), in the context at a position of the index, where feature `i` has the values of
    /// column `columns[i]`.
    pub(crate) fn log_factors_at(
        &self,
        position: Option<usize>,
        values: ArrayView2<'_, f64>,
        columns: &[usize],
    ) -> Result<Vec<f64>> {
        let terms: Vec<(&Term<C, X>, Factor)> = self
            .terms
            .iter()
            .map(|term| (term, term.factors.at(position)))
            .filter(|(_, factor)| factor.matters())
            .collect();
        // Row by row: the values of a sample lie together in memory.
        let mut log_factors = Vec::with_capacity(values.nrows());
        for (index, row) in values.rows().into_iter().enumerate() {
            let mut sum = 0.0;
            for &(term, factor) in &terms {
                let given = term.given.map(|given| row[columns[given]]);
                sum += factor.log(&term.constraint, index, row[columns[term.column]], given)?;
            }
            log_factors.push(sum);
        }
        Ok(log_factors)
    }
}

/// Names are distinct.
pub(crate) fn check_distinct<'a>(names: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(Error::DuplicateFeature { feature: name.into() });
        }
    }
    Ok(())
}
