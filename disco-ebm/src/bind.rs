//! Saved targets with their features again.
//!
//! These methods belong to [`SavedTarget`].

use std::sync::Arc;

use disco_core::{Error as CoreError, Feature};
use serde::Serialize;

use crate::{
    Constraint, ConstraintKind, Error, Fit, Result, SavedTarget, Tilt,
    constraint::Label,
    factor::{Factor, Factors},
    saved::{SavedFactor, SavedLabel, SavedTerm},
    targets::{ContextIndex, ContextKey},
    tilt::check_distinct,
};

impl SavedTarget {
    /// Gives the terms their features again, by name, in any order.
    ///
    /// # Errors
    /// [`Error::MissingFeature`], [`Error::UnknownFeature`], [`Error::DuplicateFeature`];
    /// [`disco_core::Error::Invalid`] for targets, tolerances or coefficients out of range, and for terms per context
    /// without contexts, or contexts without such terms;
    /// [`disco_core::Error::Length`] for a term that has not one factor for each context.
    pub fn bind<C: Serialize + ?Sized, X: ?Sized>(
        &self,
        features: impl IntoIterator<Item = Arc<dyn Feature<C, X>>>,
    ) -> Result<Fit<C, X>> {
        let features: Vec<_> = features.into_iter().collect();
        check_distinct(features.iter().map(|feature| feature.name()))?;
        if let Some(unknown) =
            features.iter().find(|feature| !self.feature_names().any(|name| name == feature.name()))
        {
            let known = self.feature_names().map(str::to_owned).collect();
            return Err(Error::UnknownFeature { feature: unknown.name().into(), known });
        }
        let named = |name: &str| {
            let found = features.iter().find(|feature| feature.name() == name).cloned();
            found.ok_or_else(|| Error::MissingFeature {
                feature: name.into(),
                given: features.iter().map(|feature| feature.name().to_owned()).collect(),
            })
        };
        // The factors of such a term are looked up by context.
        let own = self.terms.iter().find(|term| matches!(term.asked, ConstraintKind::PerContext { .. }));
        match (own, self.contexts.len()) {
            (Some(term), 0) => {
                let allowed = format!("one or more: `{}` has a factor for each", term.feature);
                return Err(CoreError::invalid("contexts of a saved target", 0, allowed).into());
            }
            (None, count @ 1..) => {
                let allowed = "none: no term has a factor for each";
                return Err(CoreError::invalid("contexts of a saved target", count, allowed).into());
            }
            _ => {}
        }
        let terms = self.terms.iter().enumerate().map(|(i, term)| self.term(i, term, &named));
        let terms = terms.collect::<Result<Vec<_>>>()?;
        let index = match self.contexts.is_empty() {
            true => None,
            false => {
                let keys = self.contexts.iter().cloned().map(ContextKey).collect();
                Some(Arc::new(ContextIndex::new(ContextKey::of::<C>, keys)?))
            }
        };
        let shifts: Vec<f64> = self.terms.iter().map(|term| term.shift).collect();
        Ok(Fit::new(Tilt::with_factors(terms, index)?.with_shifts(&shifts)?, self.report.clone()))
    }

    /// The constraint of a term, with its factors.
    fn term<C: Serialize + ?Sized, X: ?Sized>(
        &self,
        position: usize,
        term: &SavedTerm,
        named: &impl Fn(&str) -> Result<Arc<dyn Feature<C, X>>>,
    ) -> Result<(Constraint<C, X>, Factors)> {
        let per_context = matches!(term.asked, ConstraintKind::PerContext { .. });
        let kind = match term.asked {
            ConstraintKind::PerContext { tolerance } => ConstraintKind::Moment { target: 0.0, tolerance },
            kind => kind,
        };
        let mut constraint = Constraint::new(named(&term.feature)?, kind)?;
        match &term.label {
            Some(SavedLabel { labels, position }) if *position < labels.len() => {
                let (labels, position) = (labels.clone().into(), *position);
                constraint = constraint.on_label(Label { labels, position });
            }
            Some(SavedLabel { labels, position }) => {
                let (field, allowed) = ("position of a label", format!("below {}", labels.len()));
                return Err(CoreError::invalid(field, position, allowed).into());
            }
            None => {
                let (low, high) = (term.low.unwrap_or(f64::NEG_INFINITY), term.high.unwrap_or(f64::INFINITY));
                constraint = constraint.ranged(low, high)?;
            }
        }
        if let Some(given) = &term.given {
            constraint = constraint.given(named(given)?)?;
        }
        let expected = if per_context { self.contexts.len() } else { 0 };
        CoreError::check_length("factors of a term, one per context", expected, term.by_context.len())?;
        if !per_context {
            let factors = Tilt::shared_factors(&constraint, term.coefficient)?;
            return Ok((constraint, factors));
        }
        self.check_report(position, term)?;
        let pair = |one: &SavedFactor| match *one {
            SavedFactor::Pointwise { wanted } => (f64::from(u8::from(wanted)), Factor::Hard { wanted }),
            SavedFactor::Moment { target, coefficient, shift } => {
                (target, Factor::Soft { coefficient, shift })
            }
        };
        let (targets, factors) = term.by_context.iter().map(pair).unzip();
        Ok((constraint.with_targets(targets)?, Factors::Each(factors)))
    }

    /// Checks that the report says the same of each context as the term.
    fn check_report(&self, position: usize, term: &SavedTerm) -> Result<()> {
        let reports = &self.report.by_context;
        CoreError::check_length(
            "reports of a saved target, one per context",
            self.contexts.len(),
            reports.len(),
        )?;
        for (context, (factor, report)) in term.by_context.iter().zip(reports).enumerate() {
            let asked = report.constraints.get(position).and_then(|one| one.asked);
            let agrees = match (*factor, asked) {
                (SavedFactor::Pointwise { wanted }, Some(ConstraintKind::Pointwise { wanted: asked })) => {
                    wanted == asked
                }
                (SavedFactor::Moment { target, .. }, Some(ConstraintKind::Moment { target: asked, .. })) => {
                    target == asked
                }
                _ => false,
            };
            if !agrees {
                let field = format!("what is asked of `{}` in saved context {context}", term.feature);
                return Err(CoreError::invalid(
                    field,
                    format!("{asked:?} in the report"),
                    format!("{factor:?}"),
                )
                .into());
            }
        }
        Ok(())
    }
}
