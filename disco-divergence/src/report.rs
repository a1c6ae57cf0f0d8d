//! The results of estimating divergences.

use disco_core::{Error, Estimate};
use serde::{Deserialize, Serialize};

/// How a normalising constant `ln Z` (nats) is known.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LogZ {
    /// It has this value; 0 for log-probabilities.
    Known(f64),
    /// It is estimated from the same samples, and the standard errors account for that.
    Estimated,
}

impl LogZ {
    /// Refuses a known value that is not finite.
    pub(crate) fn validated(self, field: &'static str) -> Result<Self, Error> {
        match self {
            Self::Known(value) if !value.is_finite() => Err(Error::invalid(field, value, "finite")),
            _ => Ok(self),
        }
    }
}

/// One divergence, estimated from samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DivergenceEstimate {
    /// The divergence's name.
    pub name: String,
    /// `D_f(pi||p)` in nats (or as f has it), never negative for a divergence that passes
    /// [`check`](crate::check).
    ///
    /// It is `+inf`, with `std_error` 0 and `ess` 1, if one sample proves that (a sample with `P = 0` where `f'(inf)` is
    /// infinite, or one with `pi = 0` where `f(0)` is infinite), or if a contribution is beyond `f64`. Otherwise `ess` is the
    /// Kish size `(sum c)^2 / sum c^2` of the contributions `c` of the samples: how many of them the estimate rests on.
    pub estimate: Estimate,
    /// The largest contribution's share of the sum, between 1/n and 1: near 1, one sample decides, and the
    /// standard error is not reliable.
    pub largest_share: f64,
}

/// Divergences of a policy from a target, estimated in one pass over the same samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Comparison {
    /// The divergences, in the order they were asked for.
    pub divergences: Vec<DivergenceEstimate>,
    /// The target's `ln Z` (nats): as given, with `std_error` 0, or estimated.
    pub target_log_z: Estimate,
    /// The policy's `ln Z` (nats): as given, with `std_error` 0, or estimated.
    pub policy_log_z: Estimate,
    /// The target's mass, estimated from the samples: 1 by construction where its Z is estimated; where Z is known,
    /// a value below 1 by several errors says that the samples cannot reach all of the target.
    pub target_mass: Estimate,
    /// The policy's mass, estimated from the samples in the same way.
    pub policy_mass: Estimate,
    /// The policy's mass outside the target's support, estimated from the samples.
    pub policy_mass_outside: Estimate,
}
