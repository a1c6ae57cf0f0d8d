//! What a run is asked to do, as a value.
//!
//! A [`Spec`] is read from TOML; everything in it has been checked, so that a run does not find out late.

pub(crate) mod allowed;
mod classifier;
mod features;
mod problem;
mod read;
mod reader;
mod source;

use disco_divergence::{Divergence, FDivergence};
use disco_tuner::{Decay, Optimizer};
use serde::{Deserialize, Serialize};

pub use classifier::{ClassifierSpec, LabelValue};
pub use features::{FeatureKind, FeatureSpec, LengthUnit, Target, Words};
pub use problem::{Problem, SpecError};
pub use read::read_spec;
pub(crate) use reader::Allowed;
pub use source::ModelSource;

use crate::{Backend, Error};

/// A whole run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spec {
    /// The heading of the report.
    pub title: String,
    /// The seed of every random draw.
    pub seed: u64,
    /// The backend that the model runs on.
    pub backend: Backend,
    /// The base distribution.
    pub model: ModelSpec,
    /// What the samples continue. Never empty.
    pub contexts: Vec<String>,
    /// What is measured and asked for. Never empty; names differ.
    pub features: Vec<FeatureSpec>,
    /// How the target is found.
    pub fit: FitSpec,
    /// How the policy is brought to it.
    pub tune: TuneSpec,
    /// What is kept of tuning, to go on from.
    pub checkpoints: CheckpointSpec,
    /// What is drawn in the end.
    pub sample: SampleSpec,
}

impl Spec {
    /// How many samples of `total` each context has: at least two, for there to be an error.
    pub fn per_context(&self, total: usize) -> usize {
        total.div_ceil(self.contexts.len()).max(2)
    }

    /// Whether some of its models may have to be fetched from a hub.
    pub(crate) fn asks_a_hub(&self) -> bool {
        let classifiers = self.features.iter().filter_map(|feature| match &feature.kind {
            FeatureKind::Classifier(asked) => Some(&asked.model),
            _ => None,
        });
        [&self.model.source]
            .into_iter()
            .chain(classifiers)
            .any(|source| matches!(source, ModelSource::Hub(_)))
    }

    /// Checks that the divergence can have the constraints.
    ///
    /// # Errors
    /// [`Error::HardConstraints`] for one that is infinite where the policy leaves the target's support, if a
    /// feature is always or never to hold.
    pub fn check_divergence(&self) -> crate::Result<()> {
        let divergence = self.tune.divergence;
        let hard = self.features.iter().find(|feature| !matches!(feature.target, Target::Mean(_)));
        match hard {
            Some(feature) if divergence.derivative_at_infinity() == f64::INFINITY => {
                Err(Error::HardConstraints {
                    divergence: divergence.to_string(),
                    feature: feature.name.clone(),
                })
            }
            _ => Ok(()),
        }
    }
}

/// Which language model, and how it is decoded: both are part of the base distribution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelSpec {
    /// Where it comes from.
    pub source: ModelSource,
    /// A sample is cut after this many tokens.
    pub max_new_tokens: usize,
    /// Logits are divided by this.
    pub temperature: f64,
    /// Only so many of the most probable tokens.
    pub top_k: Option<usize>,
    /// Only the most probable tokens that together have this probability.
    pub top_p: Option<f64>,
    /// Only tokens at least so many times as probable as the most probable one.
    pub min_p: Option<f64>,
    /// Only the tokens nearest to the expected log-probability that together have this probability.
    pub typical_p: Option<f64>,
    /// Logits of tokens that have occurred are made smaller by this factor, if it is above 1.
    pub repetition_penalty: f64,
    /// Whether tokens of the context count as having occurred.
    pub penalize_context: bool,
    /// No end before so many tokens.
    pub min_new_tokens: usize,
    /// Token ids that are never drawn.
    pub forbidden_tokens: Vec<u32>,
}

impl ModelSpec {
    /// A model as it is, with samples of the usual length.
    pub(crate) fn plain(source: ModelSource) -> Self {
        Self {
            source,
            max_new_tokens: 40,
            temperature: 1.0,
            top_k: None,
            top_p: None,
            min_p: None,
            typical_p: None,
            repetition_penalty: 1.0,
            penalize_context: true,
            min_new_tokens: 0,
            forbidden_tokens: Vec::new(),
        }
    }

    /// How the model is decoded, choice by choice, in words.
    pub fn decoding(&self) -> Vec<String> {
        let mut choices = vec![format!("temperature {}", self.temperature)];
        choices.extend(self.top_k.map(|k| format!("top-k {k}")));
        choices.extend(self.top_p.map(|p| format!("top-p {p}")));
        choices.extend(self.min_p.map(|p| format!("min-p {p}")));
        choices.extend(self.typical_p.map(|p| format!("typical {p}")));
        if self.repetition_penalty != 1.0 {
            let scope = if self.penalize_context { "" } else { " (not of the context)" };
            choices.push(format!("repetition penalty {}{scope}", self.repetition_penalty));
        }
        if self.min_new_tokens > 0 {
            choices.push(format!("at least {} tokens", self.min_new_tokens));
        }
        if !self.forbidden_tokens.is_empty() {
            choices.push(format!("{} forbidden tokens", self.forbidden_tokens.len()));
        }
        choices
    }

    /// Whether some texts cannot be drawn because of how the model is decoded.
    pub fn truncates(&self) -> bool {
        self.top_k.is_some()
            || self.top_p.is_some_and(|p| p < 1.0)
            || self.min_p.is_some_and(|p| p > 0.0)
            || self.typical_p.is_some_and(|p| p < 1.0)
            || self.min_new_tokens > 0
            || !self.forbidden_tokens.is_empty()
    }
}

/// How the target is found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FitSpec {
    /// How many samples of the base it is fitted on and measured with, in all contexts together.
    pub samples: usize,
    /// The share of them that is not fitted on, to check the fit with.
    pub held_out: f64,
}

/// How the policy is brought to the target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TuneSpec {
    /// What is minimised.
    pub divergence: FDivergence,
    /// How many updates.
    pub steps: usize,
    /// How many samples an update is made from, in all its contexts together.
    pub samples_per_step: usize,
    /// How many contexts they are divided over.
    pub contexts_per_step: usize,
    /// The step size.
    pub learning_rate: f64,
    /// The rate rises linearly over so many steps.
    pub warmup_steps: usize,
    /// How it falls after that.
    pub decay: Decay,
    /// The rule that follows the gradient.
    pub optimizer: Optimizer,
    /// The gradient is scaled down to this norm.
    pub max_gradient_norm: Option<f64>,
    /// How many samples are differentiated at once: a limit on memory that changes no result.
    pub micro_batch: usize,
    /// What is tuned in the place of all parameters: a low-rank adapter beside them.
    pub adapter: Option<AdapterSpec>,
}

/// A low-rank adapter (LoRA).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AdapterSpec {
    /// The rank of its products.
    pub rank: usize,
    /// They are multiplied by `alpha / rank`.
    pub alpha: f64,
    /// The modules that have one, by their Hugging Face names, or `all-linear` alone. Never empty.
    pub target_modules: Vec<String>,
}

/// What is kept of tuning, to go on from. An interrupt always leaves a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckpointSpec {
    /// One every so many steps.
    pub every: usize,
    /// The last so many are kept.
    pub keep: usize,
    /// And the one with the lowest value of this metric.
    pub best: Option<&'static str>,
}

/// What is drawn in the end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SampleSpec {
    /// How many samples of the tuned policy, and how many proposals for quasi-rejection sampling.
    pub count: usize,
    /// How many of each kind are shown in the report.
    pub shown: usize,
    /// How quasi-rejection sampling chooses its beta.
    pub qrs: QrsGoal,
}

/// How quasi-rejection sampling chooses its beta.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum QrsGoal {
    /// The one with this acceptance rate.
    AcceptanceRate(f64),
    /// The one with this total variation to the target.
    TotalVariation(f64),
    /// This one.
    LogBeta(f64),
}
