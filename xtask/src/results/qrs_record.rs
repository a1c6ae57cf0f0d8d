//! The part of a record that quasi-rejection sampling fills.

use disco_core::{Estimate, infinite};
use serde::{Deserialize, Serialize};

use super::{
    record::{CategoryDistance, SampleRecord},
    unknown,
};

/// Quasi-rejection sampling with the tuned policy as proposal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QrsRecord {
    /// `ln beta`; the mean over contexts, where each has its own.
    #[serde(with = "infinite")]
    pub log_beta: f64,
    /// `ln beta` of each context, where they differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log_betas: Vec<f64>,
    /// The number of proposals.
    pub proposals: usize,
    /// The number of accepted proposals.
    pub accepted: usize,
    /// The counts of each context, in the order of the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_context_counts: Vec<QrsCount>,
    /// The acceptance rate at beta, found by these proposals.
    #[serde(with = "unknown")]
    pub acceptance_rate: Estimate,
    /// The same, predicted by the samples that chose beta.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted_rate: Option<Estimate>,
    /// The means of all measures of the spec, predicted by the samples that chose beta; empty if nothing was predicted.
    #[serde(default, with = "unknown::list")]
    pub predicted_means: Vec<Estimate>,
    /// The total variation to the target at beta, predicted by the samples that chose beta.
    pub total_variation: Estimate,
    /// Acceptance rate and total variation for other values of beta, by falling acceptance rate.
    pub curve: Vec<QrsPoint>,
    /// Reasons to doubt these numbers.
    pub warnings: Vec<String>,
    /// The means of all measures of the spec over accepted proposals.
    #[serde(with = "unknown::list")]
    pub means: Vec<Estimate>,
    /// The same means in each context; `None` in a context without a sample that counts.
    pub by_context: Vec<Vec<Option<Estimate>>>,
    /// The distances of categories from the shares that were asked for.
    pub categories: Vec<CategoryDistance>,
    /// The divergences from the accepted samples to the target, in the order of
    /// [`TargetRecord::base_distances`](super::TargetRecord::base_distances).
    pub distances: Vec<Estimate>,
    /// `KL(p_beta || base)` in nats.
    pub kl_from_base: Estimate,
    /// The number of proposals that a text scorer skipped. They are rejected.
    pub skipped: usize,
    /// The accepted samples.
    #[serde(skip)]
    pub samples: Vec<SampleRecord>,
}

/// The proposals of one context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QrsCount {
    /// The number of proposals.
    pub proposals: usize,
    /// The number of accepted proposals.
    pub accepted: usize,
}

/// One value of beta.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QrsPoint {
    /// `ln beta`.
    #[serde(with = "infinite")]
    pub log_beta: f64,
    /// The share of proposals that are accepted.
    pub acceptance_rate: Estimate,
    /// The total variation from the accepted samples to the target.
    pub total_variation: Estimate,
}
