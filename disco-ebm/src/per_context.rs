//! Constraints that hold in each context.
//!
//! These methods belong to [`Constraint`].

use std::sync::Arc;

use disco_core::Error as CoreError;
use serde::Serialize;

use crate::{
    Constraint, ConstraintKind, Error, Result,
    constraint_kind::check_target,
    targets::{PerContext, Targets},
};

impl<C: ?Sized, X: ?Sized> Constraint<C, X> {
    /// The mean holds in every context, each with a coefficient of its own. A context is known by its JSON.
    ///
    /// # Errors
    /// [`disco_core::Error::Invalid`] for a constraint that is not a mean.
    pub fn per_context(self) -> Result<Self>
    where
        C: Serialize,
    {
        match self.kind() {
            ConstraintKind::Moment { target, .. } => self.in_each(Targets::Same(target)),
            ConstraintKind::PerContext { .. } => Ok(self),
            _ => Err(self.no_mean()),
        }
    }

    /// As [`per_context`](Self::per_context), with a target for each context, in the order of the contexts that are fitted.
    ///
    /// # Errors
    /// [`disco_core::Error::Invalid`] for a target that is not finite, and for a constraint that is not a mean.
    pub fn with_targets(self, targets: Vec<f64>) -> Result<Self>
    where
        C: Serialize,
    {
        for (context, target) in targets.iter().enumerate() {
            check_target(|| format!("target of `{}` in context {context}", self.name()), *target)?;
        }
        self.in_each(Targets::Each(targets.into()))
    }

    /// As [`per_context`](Self::per_context), with a target that is a function of the context.
    ///
    /// # Errors
    /// [`disco_core::Error::Invalid`] for a constraint that is not a mean.
    pub fn with_targets_by(self, target: impl Fn(&C) -> f64 + Send + Sync + 'static) -> Result<Self>
    where
        C: Serialize,
    {
        self.in_each(Targets::By(Arc::new(target)))
    }

    fn in_each(self, targets: Targets<C>) -> Result<Self>
    where
        C: Serialize,
    {
        let tolerance = match self.kind() {
            ConstraintKind::Moment { tolerance, .. } | ConstraintKind::PerContext { tolerance } => tolerance,
            _ => return Err(self.no_mean()),
        };
        Ok(self.made_per_context(tolerance, PerContext::new(targets)))
    }

    fn no_mean(&self) -> Error {
        let field = format!("constraint on `{}`", self.name());
        CoreError::invalid(field, "per context", "a mean: it is pointwise, or has a given coefficient").into()
    }
}
