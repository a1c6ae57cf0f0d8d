//! Everything that is known of a finished run, as plain data.
//!
//! The pipeline fills it; report, summary and the table on the terminal are functions of it alone.
//! Numbers that do not exist (the standard error of one sample) are infinite here and `null` in JSON.

use std::collections::BTreeMap;

use disco_core::Estimate;
use disco_tuner::Metric;
use serde::Serialize;

use crate::spec::Spec;

/// A finished run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunRecord {
    /// The version of disco that made it.
    pub version: &'static str,
    /// What was asked.
    pub spec: Spec,
    /// What the model is.
    pub model: ModelRecord,
    /// One entry per feature, in the order of the spec.
    pub features: Vec<FeatureRecord>,
    /// The fitted target.
    pub fit: FitRecord,
    /// What was measured at each step of tuning.
    pub steps: Vec<StepRecord>,
    /// How far base, tuned policy and quasi-rejection sampling are from the target.
    pub distances: Vec<DistanceRecord>,
    /// How far they and the target are from the base: KL to it, in nats.
    pub kl_from_base: FromBase,
    /// Quasi-rejection sampling from the tuned policy.
    pub qrs: QrsRecord,
    /// All samples that were drawn for it; in `samples.jsonl`, not in the summary.
    #[serde(skip)]
    pub samples: Samples,
    /// Wall time.
    pub stages: Vec<StageRecord>,
    /// The largest resident set of the process, in bytes, where the system tells.
    pub peak_memory_bytes: Option<u64>,
}

/// What the model is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelRecord {
    /// Its name or folder.
    pub name: String,
    /// Facts for the report, such as architecture, parameters and vocabulary.
    pub facts: BTreeMap<String, String>,
}

/// One feature, before and after.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FeatureRecord {
    /// Its name.
    pub name: String,
    /// The mean that was asked for.
    pub asked: f64,
    /// Its mean under the base.
    pub base: Estimate,
    /// Its mean under the tuned policy.
    pub tuned: Estimate,
    /// Its mean over accepted proposals.
    pub qrs: Estimate,
    /// Its coefficient in the target; none for a feature that always or never holds.
    pub coefficient: Option<Estimate>,
    /// Its mean under the target, from the samples that were fitted.
    pub fitted: Estimate,
    /// The same from the samples that were held out.
    pub held_out: Option<Estimate>,
}

/// The fitted target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FitRecord {
    /// How many samples it was fitted on.
    pub samples: usize,
    /// `ln Z`, the mean over contexts, in nats.
    pub log_z: Estimate,
    /// `KL(p || base)` in nats.
    pub kl: Estimate,
    /// The effective sample size of the importance weights.
    pub ess: f64,
    /// The largest weight's share of all.
    pub largest_share: f64,
    /// Newton steps.
    pub iterations: usize,
    /// Why the fit ended.
    pub reason: String,
    /// What the reader should know before she trusts it.
    pub warnings: Vec<String>,
}

/// One step of tuning, measured on its own samples before the update.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepRecord {
    /// From 1.
    pub step: usize,
    /// How many tokens its samples have.
    pub tokens: usize,
    /// The features' means under the policy, in the order of the spec; none where no sample could be evaluated.
    pub moments: Vec<Option<Metric>>,
    /// Divergences by name, in nats where they have a unit; fewer where no sample was in the target's support.
    pub divergences: BTreeMap<String, Metric>,
    /// The effective sample size of the target's importance weights.
    pub ess: Option<f64>,
    /// The gradient's L2 norm before clipping.
    pub gradient_norm: f64,
    /// The step size.
    pub learning_rate: f64,
}

/// The distance of base, tuned policy and quasi-rejection sampling to the target, by one divergence.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DistanceRecord {
    /// Its name.
    pub name: String,
    /// How it is written.
    pub formula: String,
    /// From the base; infinite where the base leaves the target's support and the divergence forbids it.
    pub base: Estimate,
    /// From the tuned policy.
    pub tuned: Estimate,
    /// From quasi-rejection sampling.
    pub qrs: Option<Estimate>,
}

/// KL divergences to the base, in nats.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FromBase {
    /// `KL(p || base)`.
    pub target: Estimate,
    /// `KL(policy || base)`.
    pub tuned: Estimate,
    /// `KL(p_beta || base)`.
    pub qrs: Option<Estimate>,
}

/// Quasi-rejection sampling with the tuned policy as proposal.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QrsRecord {
    /// `ln beta`.
    pub log_beta: f64,
    /// How many proposals were drawn.
    pub proposals: usize,
    /// How many were accepted.
    pub accepted: usize,
    /// The acceptance rate at beta.
    pub acceptance_rate: Estimate,
    /// The total variation to the target at beta.
    pub total_variation: Estimate,
    /// Both for other values of beta, by falling acceptance rate.
    pub curve: Vec<QrsPoint>,
    /// What the reader should know before she trusts it.
    pub warnings: Vec<String>,
}

/// One beta.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QrsPoint {
    /// `ln beta`.
    pub log_beta: f64,
    /// The share of proposals that are accepted.
    pub acceptance_rate: Estimate,
    /// The distance of what is accepted to the target.
    pub total_variation: Estimate,
}

/// Samples of each stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Samples {
    /// Of the base.
    pub base: Vec<SampleRecord>,
    /// Of the tuned policy.
    pub tuned: Vec<SampleRecord>,
    /// Accepted by quasi-rejection sampling.
    pub qrs: Vec<SampleRecord>,
}

/// One sample.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SampleRecord {
    /// What it continues.
    pub context: String,
    /// The sample.
    pub text: String,
    /// Its log-probability (tuned, base) or log-score (QRS) where it was drawn, in nats.
    pub log_prob: f64,
    /// Its length in tokens.
    pub tokens: usize,
    /// Whether the model ended it.
    pub finished: bool,
    /// The features' values, in the order of the spec.
    pub features: Vec<f64>,
}

/// The wall time of a stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageRecord {
    /// What was done.
    pub name: &'static str,
    /// How long it took.
    pub seconds: f64,
    /// How many samples it drew.
    pub samples: usize,
    /// How many tokens these have.
    pub tokens: usize,
}
