//! The goals that beta can be chosen for.

use serde::{Deserialize, Serialize};

/// The goal that beta is chosen for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Goal {
    /// The largest beta that accepts this share of the proposals, in (0, 1].
    AcceptanceRate(f64),
    /// The smallest beta whose total variation from the target is at most this, in [0, 1].
    TotalVariation(f64),
    /// The largest ratio among the proposals: as far as they show, `p_beta` is the target.
    LargestRatio,
}
