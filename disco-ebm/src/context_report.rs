//! The report of a fit on single contexts.

use disco_core::Estimate;
use serde::{Deserialize, Serialize};

use crate::ConstraintKind;

/// One context in a report. Errors of `ln Z`, KL, and of what is asked of this context alone are those of its samples and of the
/// coefficients; those of other moments are at fixed coefficients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ContextReport {
    /// The position of the context among those that were measured.
    pub context: usize,
    /// Its share in means over contexts.
    pub share: f64,
    /// Samples evaluated.
    pub samples: usize,
    /// Samples that are possible under the base and satisfy the pointwise constraints.
    pub samples_in_support: usize,
    /// Kish's effective sample size of its samples under the target; `None` where sums are exact.
    pub ess: Option<f64>,
    /// `ln Z_c` (nats).
    pub log_z: Estimate,
    /// `KL(p || base)` in this context (nats).
    pub kl_from_base: Estimate,
    /// One entry per constraint, in order.
    pub constraints: Vec<ContextConstraint>,
}

/// One constraint in one context.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ContextConstraint {
    /// The constraint in this context. `None` for a shared moment, which asks for a mean over contexts.
    pub asked: Option<ConstraintKind>,
    /// The coefficient of this context alone; `None` for one that all contexts share, and where the constraint is pointwise.
    pub coefficient: Option<Estimate>,
    /// The mean under the base; `None` for a conditional one whose condition never holds here.
    pub base: Option<Estimate>,
    /// The mean under the fitted target; `None` as for the base.
    pub achieved: Option<Estimate>,
    /// The mean on held-out samples; `None` without such a check, and as for the base.
    pub held_out: Option<Estimate>,
}
