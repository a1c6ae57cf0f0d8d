//! Everything that is known of a finished run, as plain data, in one part per stage.
//!
//! Each stage of a workflow fills its own part, and a workflow that runs only some stages leaves the other parts `None`. Report,
//! summary and the table on the terminal are functions of the record alone, and leave out the parts that are missing.
//! Numbers that do not exist (the standard error of one sample) are infinite here, and the string "inf" in JSON.

use std::{borrow::Cow, collections::BTreeMap};

use disco_core::{Estimate, infinite};
use disco_tuner::Metric;
use serde::{Deserialize, Serialize};

use super::{qrs_record::QrsRecord, unknown};
use crate::spec::Spec;

/// A finished run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The version of disco that made it.
    pub version: Cow<'static, str>,
    /// The settings of the run.
    pub spec: Spec,
    /// The model that was run.
    pub model: ModelRecord,
    /// Stage "measure": the base.
    pub base: Option<BaseRecord>,
    /// Stage "fit": the target.
    pub target: Option<TargetRecord>,
    /// Stage "tune": each step.
    pub tuning: Option<TuningRecord>,
    /// Stage "sample": the tuned policy.
    pub policy: Option<PolicyRecord>,
    /// The tuned policy on held-out contexts.
    pub held_out: Option<HeldOutRecord>,
    /// Stage "reject": quasi-rejection sampling from the tuned policy.
    pub qrs: Option<QrsRecord>,
    /// Wall times.
    pub stages: Vec<StageRecord>,
    /// The largest resident set of the process, in bytes, where the system reports it.
    pub peak_memory_bytes: Option<u64>,
}

impl RunRecord {
    /// A run of which no stage is finished.
    pub fn new(spec: &Spec, model: ModelRecord) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            spec: spec.clone(),
            model,
            base: None,
            target: None,
            tuning: None,
            policy: None,
            held_out: None,
            qrs: None,
            stages: Vec::new(),
            peak_memory_bytes: None,
        }
    }
}

/// The model of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRecord {
    /// Its name or folder.
    pub name: String,
    /// Facts for the report, such as architecture, parameters and vocabulary.
    pub facts: BTreeMap<String, String>,
}

/// The base, as measured on its own samples.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BaseRecord {
    /// The means of all measures of the spec under the base.
    #[serde(with = "unknown::list")]
    pub means: Vec<Estimate>,
    /// The same means in each context, in the order of the spec; `None` in a context without a sample that counts.
    pub by_context: Vec<Vec<Option<Estimate>>>,
    /// The distances of categories from the shares that were asked for.
    pub categories: Vec<CategoryDistance>,
    /// For a model under a grammar: how the masked model, which proposes, is to the model's own distribution among the texts.
    pub masking: Option<MaskingRecord>,
    /// The number of samples that a text scorer skipped.
    pub skipped: usize,
    /// All samples.
    #[serde(skip)]
    pub samples: Vec<SampleRecord>,
}

/// A model under a grammar.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MaskingRecord {
    /// The probability of the grammar's texts under the model as it is: the share of its samples that rejection accepts.
    pub probability: Estimate,
    /// KL (nats) from the model's own distribution among these texts to the masked model, which is what plain masking samples.
    pub kl: Estimate,
}

/// The fitted target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetRecord {
    /// How the fit went.
    pub fit: FitRecord,
    /// The measures of the spec under the target.
    pub features: Vec<FittedFeature>,
    /// Their means in each context, from all samples; `None` in a context without a sample that counts.
    pub by_context: Vec<Vec<Option<Estimate>>>,
    /// The coefficients that contexts have for themselves, context by context; empty if there are none.
    pub coefficients: Vec<Vec<Option<Estimate>>>,
    /// The share of the base's samples that exact rejection accepts, where the supremum of the target's factor is known.
    pub exact_rejection: Option<Estimate>,
    /// The distances of categories from the shares that were asked for.
    pub categories: Vec<CategoryDistance>,
    /// The divergences from the base to the target, in the order of the report: forward KL, reverse KL, total variation,
    /// Jensen-Shannon. Infinite where the base leaves the target's support and the divergence forbids it.
    pub base_distances: Vec<Estimate>,
    /// The samples with the largest importance weights, the largest first: at most ten. Empty where texts are listed, and
    /// each has the weight of its probability.
    #[serde(default)]
    pub heaviest: Vec<WeightRecord>,
}

/// The number of samples whose weights a record has.
pub(crate) const HEAVIEST: usize = 10;

/// A sample of the base and its importance weight under the target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightRecord {
    /// The share of its weight in the sum of all.
    pub share: f64,
    /// The sample.
    pub sample: SampleRecord,
}

/// How a fit went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FitRecord {
    /// The number of samples that the target was fitted on.
    pub samples: usize,
    /// `ln Z`, the mean over contexts, in nats.
    pub log_z: Estimate,
    /// `KL(p || base)` in nats.
    pub kl: Estimate,
    /// The effective sample size of the importance weights.
    #[serde(with = "infinite::size")]
    pub ess: f64,
    /// The share of the largest weight in the sum of all weights.
    pub largest_share: f64,
    /// The number of Newton steps.
    pub iterations: usize,
    /// Why the fit ended.
    pub reason: String,
    /// Reasons to doubt the fit.
    pub warnings: Vec<String>,
}

/// A measure under the fitted target.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedFeature {
    /// Its coefficient; `None` for one that is only measured, holds always or never, or has one for each context.
    pub coefficient: Option<Estimate>,
    /// Its mean under the target, from the samples that the target was fitted on.
    #[serde(with = "unknown")]
    pub fitted: Estimate,
    /// Its mean under the target, from the samples that were held out.
    pub held_out: Option<Estimate>,
}

/// How far the labels of a category are from the shares that were asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CategoryDistance {
    /// The name of the category.
    pub name: String,
    /// The total variation `sum_k |p_k - a_k| / 2` of its shares.
    #[serde(with = "unknown")]
    pub total_variation: Estimate,
    /// The Wasserstein-1 distance, in steps from a label to the next; `None` where the order of the labels is no scale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wasserstein: Option<Estimate>,
}

/// The course of tuning.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TuningRecord {
    /// Every step, from the first.
    pub steps: Vec<StepRecord>,
    /// The warnings of the tuner, each once, such as a metric that is NaN or the reason of the first skipped sample. A run that
    /// was resumed has those of its last part.
    pub warnings: Vec<String>,
}

/// One step of tuning, measured on its own samples before the update.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The number of the step, from 1.
    pub step: usize,
    /// The number of tokens of its samples.
    pub tokens: usize,
    /// The features' means under the policy, in the order of the spec; `None` where no sample could be evaluated.
    pub moments: Vec<Option<Metric>>,
    /// Divergences by name, in nats where they have a unit; fewer where no sample was in the target's support.
    pub divergences: BTreeMap<String, Metric>,
    /// The effective sample size of the target's importance weights.
    #[serde(with = "infinite::option")]
    pub ess: Option<f64>,
    /// The gradient's L2 norm before clipping.
    #[serde(with = "infinite")]
    pub gradient_norm: f64,
    /// The learning rate.
    pub learning_rate: f64,
}

/// The tuned policy, as measured on its own samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyRecord {
    /// The means of all measures of the spec under the policy.
    #[serde(with = "unknown::list")]
    pub means: Vec<Estimate>,
    /// The same means in each context, in the order of the spec; `None` in a context without a sample that counts.
    pub by_context: Vec<Vec<Option<Estimate>>>,
    /// The distances of categories from the shares that were asked for.
    pub categories: Vec<CategoryDistance>,
    /// The divergences from the policy to the target, in the order of [`TargetRecord::base_distances`].
    pub distances: Vec<Estimate>,
    /// `KL(policy || base)` in nats.
    pub kl_from_base: Estimate,
    /// The number of samples that a text scorer skipped.
    pub skipped: usize,
    /// All samples.
    #[serde(skip)]
    pub samples: Vec<SampleRecord>,
}

/// The tuned policy on contexts that neither fit nor tuning saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeldOutRecord {
    /// The number of contexts.
    pub contexts: usize,
    /// The means of all measures of the spec under the base, there.
    #[serde(with = "unknown::list")]
    pub base: Vec<Estimate>,
    /// The same under the tuned policy.
    #[serde(with = "unknown::list")]
    pub tuned: Vec<Estimate>,
    /// The total variation from the policy to the target; `None` where the target has coefficients of single contexts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_variation: Option<Estimate>,
}

/// One sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleRecord {
    /// The context that it continues.
    pub context: String,
    /// The text.
    pub text: String,
    /// Its log-probability (tuned, base) or log-score (QRS) under the distribution it was drawn from, in nats.
    #[serde(with = "infinite")]
    pub log_prob: f64,
    /// Its length in tokens.
    pub tokens: usize,
    /// Whether the model ended it.
    pub finished: bool,
    /// The features' values, in the order of the spec; `None` (`null` in JSON) where a text scorer skipped the sample.
    pub features: Vec<Option<f64>>,
}

/// The wall time of a stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageRecord {
    /// The name of the stage.
    pub name: Cow<'static, str>,
    /// The wall time in seconds, with that of an earlier process of which this one is the resumption.
    pub seconds: f64,
    /// The part of it that the earlier process took.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub earlier_seconds: f64,
    /// The number of samples that it drew.
    pub samples: usize,
    /// The number of tokens of these samples.
    pub tokens: usize,
}

fn is_zero(seconds: &f64) -> bool {
    *seconds == 0.0
}
