//! The demand of a constraint on its feature, as numbers.

use disco_core::Error;
use serde::{Deserialize, Serialize};

use crate::Result;

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
    /// The mean of the feature in every context: the factor `exp(lambda_c phi(x, c))`, with a coefficient for each
    /// context. The targets are those of [`Constraint::with_targets`](crate::Constraint::with_targets).
    PerContext {
        /// The mean of each context may lie in `target -+ tolerance`.
        tolerance: f64,
    },
    /// Nothing is asked: the coefficient is given, and the factor is `exp(coefficient phi(x, c))`. A reward.
    Fixed {
        /// The coefficient: of a reward, `1 / beta`.
        coefficient: f64,
    },
}

impl ConstraintKind {
    /// The value (true for 1) that the constraint asks of a binary feature in every sample; `None` if it allows both.
    pub(crate) fn always(self) -> Option<bool> {
        match self {
            Self::Pointwise { wanted } => Some(wanted),
            Self::Moment { target, tolerance } => always(target, tolerance),
            Self::PerContext { .. } | Self::Fixed { .. } => None,
        }
    }

    /// Checks the numbers; `name` is that of the constraint.
    pub(crate) fn validate(self, name: &str) -> Result<()> {
        let tolerance = |tolerance: f64| {
            if tolerance >= 0.0 && tolerance.is_finite() {
                return Ok(());
            }
            let field = format!("tolerance of `{name}`");
            Err(Error::invalid(field, tolerance, "0 or more, and finite").into())
        };
        match self {
            Self::Pointwise { .. } => Ok(()),
            Self::Moment { target, tolerance: allowed } => {
                check_target(|| format!("target of `{name}`"), target)?;
                tolerance(allowed)
            }
            Self::PerContext { tolerance: allowed } => tolerance(allowed),
            Self::Fixed { coefficient } if coefficient.is_finite() => Ok(()),
            Self::Fixed { coefficient } => {
                Err(Error::invalid(format!("coefficient of `{name}`"), coefficient, "finite").into())
            }
        }
    }
}

/// The value that a mean of 0 or 1 asks of a binary feature in every sample.
pub(crate) fn always(target: f64, tolerance: f64) -> Option<bool> {
    match (target, tolerance) {
        (1.0, 0.0) => Some(true),
        (0.0, 0.0) => Some(false),
        _ => None,
    }
}

/// Refuses a target that is not finite.
pub(crate) fn check_target(field: impl FnOnce() -> String, target: f64) -> Result<()> {
    if target.is_finite() { Ok(()) } else { Err(Error::invalid(field(), target, "finite").into()) }
}
