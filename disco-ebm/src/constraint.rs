//! Constraints on the target distribution.

use std::{fmt, sync::Arc};

use disco_core::{Error, Feature};
use serde::{Deserialize, Serialize};

/// The kind of a constraint: what it asks of its feature.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum ConstraintKind {
    /// A binary feature has the wanted value always: the factor `b(x, c)` in {0, 1}.
    Pointwise {
        /// `true` if the feature must be 1, `false` if it must be 0.
        wanted: bool,
    },
    /// The mean of the feature, over contexts and samples: the factor `exp(lambda phi(x, c))`.
    Moment {
        /// The target mean.
        target: f64,
        /// The mean may lie in `target -+ tolerance`; with 0 it must be the target itself.
        tolerance: f64,
    },
}

impl ConstraintKind {
    /// The value (true for 1) that the constraint asks of a binary feature in every sample; `None` if it allows both.
    pub(crate) fn always(self) -> Option<bool> {
        match self {
            Self::Pointwise { wanted } => Some(wanted),
            Self::Moment { target: 1.0, tolerance: 0.0 } => Some(true),
            Self::Moment { target: 0.0, tolerance: 0.0 } => Some(false),
            Self::Moment { .. } => None,
        }
    }
}

/// A feature, and the condition on it in the target.
///
/// ```
/// use disco_core::{feature, predicate};
/// use disco_ebm::Constraint;
/// let constraints = [
///     Constraint::pointwise(predicate("short", |_: &(), text: &String| text.len() < 100)),
///     Constraint::moment(predicate("rain", |_: &(), text: &String| text.contains("rain")), 0.5)?,
///     Constraint::moment(feature("length", |_: &(), text: &String| text.len() as f64), 40.0)?.within(2.0)?,
/// ];
/// assert_eq!(constraints[1].name(), "rain");
/// assert!(constraints[0].clone().within(0.1).is_err());
/// # Ok::<(), disco_ebm::Error>(())
/// ```
pub struct Constraint<C: ?Sized, X: ?Sized> {
    feature: Arc<dyn Feature<C, X>>,
    // Invariant: target and tolerance are finite, and the tolerance is not negative.
    kind: ConstraintKind,
}

impl<C: ?Sized, X: ?Sized> Constraint<C, X> {
    /// The feature has the mean `target`.
    ///
    /// If the target is 0 or 1 and the feature has no other values than 0 and 1 on the samples, it becomes a pointwise constraint.
    ///
    /// # Errors
    /// [`disco_core::Error::Invalid`] for a target that is not finite.
    pub fn moment(feature: impl Feature<C, X> + 'static, target: f64) -> crate::Result<Self> {
        let constraint =
            Self { feature: Arc::new(feature), kind: ConstraintKind::Moment { target, tolerance: 0.0 } };
        constraint.validated()
    }

    /// The binary feature is 1 in every sample of the target.
    pub fn pointwise(feature: impl Feature<C, X> + 'static) -> Self {
        Self { feature: Arc::new(feature), kind: ConstraintKind::Pointwise { wanted: true } }
    }

    /// The binary feature is 0 in every sample of the target.
    pub fn never(feature: impl Feature<C, X> + 'static) -> Self {
        Self { feature: Arc::new(feature), kind: ConstraintKind::Pointwise { wanted: false } }
    }

    /// A constraint of this kind.
    ///
    /// # Errors
    /// [`disco_core::Error::Invalid`] for a target or tolerance that is not finite, or a negative tolerance.
    pub fn new(feature: Arc<dyn Feature<C, X>>, kind: ConstraintKind) -> crate::Result<Self> {
        Self { feature, kind }.validated()
    }

    /// The moment may lie anywhere in `target -+ tolerance`: box constraints (Dudík, Phillips and Schapire
    /// 2004), which put a penalty `tolerance * |lambda|` on the coefficient in the dual.
    ///
    /// # Errors
    /// [`disco_core::Error::Invalid`] for a tolerance that is negative or not finite, and for a pointwise
    /// constraint.
    pub fn within(self, tolerance: f64) -> crate::Result<Self> {
        match self.kind {
            ConstraintKind::Moment { target, .. } => {
                Self { feature: self.feature, kind: ConstraintKind::Moment { target, tolerance } }.validated()
            }
            ConstraintKind::Pointwise { .. } => {
                let field = format!("tolerance of `{}`", self.name());
                Err(Error::invalid(field, tolerance, "none: the constraint is pointwise").into())
            }
        }
    }

    /// The feature.
    pub fn feature(&self) -> &Arc<dyn Feature<C, X>> {
        &self.feature
    }

    /// The name of the feature.
    pub fn name(&self) -> &str {
        self.feature.name()
    }

    /// The kind of the constraint.
    pub fn kind(&self) -> ConstraintKind {
        self.kind
    }

    fn validated(self) -> crate::Result<Self> {
        if let ConstraintKind::Moment { target, tolerance } = self.kind {
            if !target.is_finite() {
                return Err(Error::invalid(format!("target of `{}`", self.name()), target, "finite").into());
            }
            if !(tolerance >= 0.0 && tolerance.is_finite()) {
                let field = format!("tolerance of `{}`", self.name());
                return Err(Error::invalid(field, tolerance, "0 or more, and finite").into());
            }
        }
        Ok(self)
    }
}

impl<C: ?Sized, X: ?Sized> Clone for Constraint<C, X> {
    fn clone(&self) -> Self {
        Self { feature: Arc::clone(&self.feature), kind: self.kind }
    }
}

impl<C: ?Sized, X: ?Sized> fmt::Debug for Constraint<C, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Constraint").field("feature", &self.name()).field("kind", &self.kind).finish()
    }
}

/// The features of constraints, in order, as [`Measured`](crate::Measured) takes them.
pub fn features<C: ?Sized, X: ?Sized>(constraints: &[Constraint<C, X>]) -> Vec<Arc<dyn Feature<C, X>>> {
    constraints.iter().map(|constraint| Arc::clone(&constraint.feature)).collect()
}
