//! Metrics: their type and names, and how they are estimated from samples.

mod diversity;
mod estimate;
mod names;
mod notes;
mod values;

use std::collections::BTreeMap;

use disco_core::Estimate;
use serde::{Deserialize, Serialize};

pub use diversity::{distinct_n, self_bleu};
pub(crate) use estimate::{MASS_TOLERANCE, Measured, Source, measure, weight_metrics};
pub(crate) use names::check_early_stopping;
pub(crate) use notes::Note;
pub(crate) use values::{SampleValues, statistics};

/// A number with its standard error, where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// The number. In JSON infinity is `"inf"` or `"-inf"`, and NaN is `null`.
    #[serde(serialize_with = "number", deserialize_with = "number_or_nan")]
    pub value: f64,
    /// Its standard error, given the contexts of the step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std_error: Option<f64>,
}

/// Writes a number to JSON: infinity as `"inf"` or `"-inf"`, NaN as `null`.
pub(crate) fn number<S: serde::Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.is_nan() {
        serializer.serialize_none()
    } else {
        disco_core::infinite::serialize(value, serializer)
    }
}

/// Reads a number that [`number`] wrote.
fn number_or_nan<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(disco_core::infinite::option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

impl From<f64> for Metric {
    fn from(value: f64) -> Self {
        Self { value, std_error: None }
    }
}

impl From<Estimate> for Metric {
    fn from(estimate: Estimate) -> Self {
        let std_error = estimate.std_error.is_finite().then_some(estimate.std_error);
        Self { value: estimate.value, std_error }
    }
}

/// Metrics by name; estimates are means over the contexts of the step that have samples to estimate from. `{a,b}` stands for
/// one name with each of the words, and `NAME` for the name of a feature, statistic or metric.
///
/// A sample that the target skips counts as one that it forbids: its weight is zero, and it is one of the `n` samples.
/// With the log-scores 0.3, 1.2, skipped and 2 of four outcomes, `Z = e^0.3 + e^1.2 + e^2`. Means of features are over the
/// samples that neither the feature nor the target skipped. A sample that the base skips has no probability under it.
///
/// With [`Sampling::Enumerated`](crate::Sampling::Enumerated) the samples are all outcomes, metrics are exact, and standard
/// errors 0. There are then no metrics of samples: `ess`, `ess_share`, `largest_weight_share`, `missing_mass`,
/// `log_z_running`, `pseudo_reward` and `advantage`.
///
/// Metrics are only shown. A metric that cannot be estimated, because a feature, base or statistic gave NaN or a ratio is
/// beyond `f64`, is NaN, and has a [warning](crate::StepReport::warnings).
///
/// | name | meaning |
/// |---|---|
/// | `{kl,tv,js}_target_policy`, `kl_policy_target` | divergences of target `p` and policy, nats; `kl_a_b` is KL(a‖b) |
/// | `{kl,tv,js}_target_proposal`, `kl_proposal_target` | divergences of target and frozen proposal; offline only |
/// | `{kl,tv,js}_policy_base`, `kl_base_policy` | divergences of policy and base |
/// | `moment/NAME/{policy,proposal,target}` | means of a feature |
/// | `entropy` | entropy of the policy, nats |
/// | `log_z`, `log_z_running` | `ln Z` from the step's samples; from all samples so far |
/// | `ess`, `ess_share`, `largest_weight_share` | effective sample size of the weights `P/q`, its share of the samples, and the share of the largest weight |
/// | `missing_mass` | 1 - mean of `p/q`, with `Z` from earlier samples: the target's mass that the step's samples miss |
/// | `outside_mass` | the policy's mass where `P = 0` or the target skips |
/// | `{pseudo_reward,advantage}/{mean,std,min,max}` | statistics of `-pi/q f'(pi/p)`, before and after subtracting the baseline |
/// | `cut_share` | the share of the weights' magnitude that limits clipped |
/// | `log_prob_gap` | the largest difference of a sample's log-probability between sampling and gradient |
/// | `length`, `statistic/NAME` | mean length of the samples; [statistics](crate::Problem::with_statistic) that the problem defines |
/// | `validation/NAME` | metrics of target, policy, base and features on held-out contexts, after the update |
pub type Metrics = BTreeMap<String, Metric>;
