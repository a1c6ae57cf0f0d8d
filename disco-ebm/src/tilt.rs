//! The factor that a fit multiplies the base with.

use std::fmt;

use disco_core::{Error as CoreError, Feature, Score, Scorer};
use ndarray::ArrayView2;

use crate::{Constraint, ConstraintKind, Error, Result};

/// The factor `prod_j b_j(x, c) exp(sum_i lambda_i phi_i(x, c))` that turns a base into a target.
///
/// It is a [`Scorer`] of its own: of log-score `lambda . (phi(x, c) - shift)`, or `-inf` where a pointwise constraint
/// forbids the sample. The shift is 0 unless [`with_shifts`](Self::with_shifts) sets it, as fits do for features that
/// vary little about a large number. [`Ebm`](crate::Ebm) is its product with the base.
///
/// # Performance
/// Pointwise features are evaluated first, one after the other, each on the samples that no earlier one has forbidden;
/// the others only on samples that satisfy all of them, and not if their coefficient is 0.
pub struct Tilt<C: ?Sized, X: ?Sized> {
    // Invariant: names are distinct; moments have finite coefficients, pointwise constraints have `None`.
    terms: Vec<Term<C, X>>,
}

/// One factor.
pub(crate) struct Term<C: ?Sized, X: ?Sized> {
    pub(crate) constraint: Constraint<C, X>,
    pub(crate) coefficient: Option<f64>,
    pub(crate) shift: f64,
}

impl<C: ?Sized, X: ?Sized> Clone for Term<C, X> {
    fn clone(&self) -> Self {
        Self { constraint: self.constraint.clone(), coefficient: self.coefficient, shift: self.shift }
    }
}

impl<C: ?Sized, X: ?Sized> Clone for Tilt<C, X> {
    fn clone(&self) -> Self {
        Self { terms: self.terms.clone() }
    }
}

impl<C: ?Sized, X: ?Sized> fmt::Debug for Tilt<C, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.terms.iter().map(|term| (&term.constraint, term.coefficient))).finish()
    }
}

impl<C: ?Sized, X: ?Sized> Tilt<C, X> {
    /// The factor of these constraints, with a coefficient for each moment and `None` for pointwise ones.
    ///
    /// # Errors
    /// [`Error::DuplicateFeature`]; [`disco_core::Error::Invalid`] for a moment whose coefficient is missing or not
    /// finite, and for a pointwise constraint with a coefficient.
    pub fn new(terms: impl IntoIterator<Item = (Constraint<C, X>, Option<f64>)>) -> Result<Self> {
        let term = |(constraint, coefficient)| Term { constraint, coefficient, shift: 0.0 };
        let terms: Vec<_> = terms.into_iter().map(term).collect();
        check_distinct(terms.iter().map(|term| term.constraint.name()))?;
        for Term { constraint, coefficient, .. } in &terms {
            let (fits, allowed) = match constraint.kind() {
                ConstraintKind::Pointwise { .. } => (coefficient.is_none(), "none: it is pointwise"),
                ConstraintKind::Moment { .. } => (coefficient.is_some_and(f64::is_finite), "a finite number"),
            };
            if !fits {
                let value = coefficient.map_or("missing".into(), |value| value.to_string());
                let field = format!("coefficient of `{}`", constraint.name());
                return Err(CoreError::invalid(field, value, allowed).into());
            }
        }
        Ok(Self { terms })
    }

    /// Subtracts a number from each feature: the factor of a moment becomes `exp(lambda (phi - shift))`.
    ///
    /// This changes `Z` alone, and keeps the digits of a feature that varies little about a large number: of `lambda phi`
    /// with `phi = 1e12 + 1`, four digits would be left. Pointwise constraints have no use for a shift.
    ///
    /// # Errors
    /// [`disco_core::Error`] for shifts of the wrong number, or not finite.
    pub fn with_shifts(mut self, shifts: &[f64]) -> Result<Self> {
        CoreError::check_length("shifts", self.terms.len(), shifts.len())?;
        for (term, shift) in self.terms.iter_mut().zip(shifts) {
            if !shift.is_finite() {
                let field = format!("shift of `{}`", term.constraint.name());
                return Err(CoreError::invalid(field, shift, "finite").into());
            }
            term.shift = *shift;
        }
        Ok(self)
    }

    /// The number that is subtracted from each feature in its factor; 0, but for features that vary little about a large number.
    pub fn shifts(&self) -> impl Iterator<Item = f64> {
        self.terms.iter().map(|term| term.shift)
    }

    /// The names of the features, in the order of the constraints.
    pub fn feature_names(&self) -> impl Iterator<Item = &str> {
        self.terms.iter().map(|term| term.constraint.name())
    }

    /// The constraints, as they were applied: a moment of 0 or 1 of a binary feature is pointwise.
    pub fn constraints(&self) -> impl Iterator<Item = &Constraint<C, X>> {
        self.terms.iter().map(|term| &term.constraint)
    }

    /// The coefficient `lambda` of each constraint; `None` for pointwise ones.
    pub fn coefficients(&self) -> impl Iterator<Item = Option<f64>> {
        self.terms.iter().map(|term| term.coefficient)
    }

    /// The log-factors of samples whose feature values are already known (nats).
    ///
    /// # Errors
    /// [`disco_core::Error::Length`] for a wrong number of columns; [`Error::NotBinary`]; an error for a
    /// value of a sample that is not finite.
    ///
    /// # Shapes
    /// - values: `[samples, features]`, in the order of [`feature_names`](Self::feature_names)
    /// - result: `[samples]`
    pub fn log_factors(&self, values: ArrayView2<'_, f64>) -> Result<Vec<f64>> {
        CoreError::check_length("columns of feature values", self.terms.len(), values.ncols())?;
        let columns: Vec<usize> = (0..self.terms.len()).collect();
        self.log_factors_of(values, &columns)
    }

    /// As [`log_factors`](Self::log_factors), where term `i` has the values of column `columns[i]`.
    pub(crate) fn log_factors_of(&self, values: ArrayView2<'_, f64>, columns: &[usize]) -> Result<Vec<f64>> {
        let terms: Vec<(&Term<C, X>, usize)> =
            self.terms.iter().zip(columns.iter().copied()).filter(|(term, _)| term.matters()).collect();
        // Row by row: the values of a sample lie together in memory.
        let mut log_factors = Vec::with_capacity(values.nrows());
        for (index, row) in values.rows().into_iter().enumerate() {
            let mut sum = 0.0;
            for &(term, column) in &terms {
                sum += term.log_factor(index, row[column])?;
            }
            log_factors.push(sum);
        }
        Ok(log_factors)
    }
}

impl<C: ?Sized, X: ?Sized> Term<C, X> {
    fn log_factor(&self, index: usize, value: f64) -> Result<f64> {
        if !value.is_finite() {
            return Err(CoreError::NotANumber { by: self.constraint.name().into(), index, value }.into());
        }
        match (self.constraint.kind(), self.coefficient) {
            (ConstraintKind::Pointwise { wanted }, _) => match (value == 1.0, value == 0.0) {
                (false, false) => Err(Error::NotBinary { feature: self.constraint.name().into(), value }),
                (one, _) => Ok(if one == wanted { 0.0 } else { f64::NEG_INFINITY }),
            },
            (ConstraintKind::Moment { .. }, coefficient) => {
                Ok(coefficient.unwrap_or(0.0) * (value - self.shift))
            }
        }
    }

    /// Whether the term changes any score.
    fn matters(&self) -> bool {
        self.coefficient != Some(0.0)
    }
}

impl<C: ?Sized, X: ?Sized> Scorer<C, X> for Tilt<C, X> {
    fn log_scores(&self, context: &C, samples: &[&X]) -> disco_core::Result<Vec<Score>> {
        let mut scores: Vec<Score> = vec![Ok(0.0); samples.len()];
        let mut alive: Vec<usize> = (0..samples.len()).collect();
        let (hard, soft): (Vec<_>, Vec<_>) =
            self.terms.iter().filter(|term| term.matters()).partition(|term| term.coefficient.is_none());
        let count = hard.len();
        for (position, term) in hard.into_iter().chain(soft).enumerate() {
            // As in a product of scorers, a sample that one constraint forbids is forbidden, also if another one
            // skips it.
            let pointwise = position < count;
            alive.retain(|&index| match scores[index] {
                Ok(score) => score > f64::NEG_INFINITY,
                Err(_) => pointwise,
            });
            if alive.is_empty() {
                break;
            }
            let name = term.constraint.name();
            let left: Vec<&X> = alive.iter().map(|&index| samples[index]).collect();
            let values = term.constraint.feature().values(context, &left)?;
            if values.len() != left.len() {
                let what = format!("values of feature `{name}`").into();
                return Err(CoreError::Length { what, expected: left.len(), actual: values.len() });
            }
            for (&index, value) in alive.iter().zip(values) {
                let added = value.map(|value| term.log_factor(index, value));
                scores[index] = match (std::mem::replace(&mut scores[index], Ok(0.0)), added) {
                    (_, Ok(Err(Error::Core(error)))) => return Err(error),
                    (_, Ok(Err(error))) => return Err(CoreError::failed(name, error)),
                    (Ok(score), Ok(Ok(added))) => Ok(score + added),
                    (Err(_), Ok(Ok(f64::NEG_INFINITY))) => Ok(f64::NEG_INFINITY),
                    (Err(skipped), _) | (_, Err(skipped)) => Err(skipped),
                };
            }
        }
        Ok(scores)
    }

    fn has_hard_constraints(&self) -> bool {
        self.terms.iter().any(|term| term.coefficient.is_none())
    }
}

disco_core::impl_product!([C: ?Sized, X: ?Sized] Tilt<C, X>);

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
