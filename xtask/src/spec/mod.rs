//! A spec file: the settings of a run, as a value.
//!
//! A [`Spec`] is read from TOML, and every value in it is checked at once, so that a run does not fail late.

pub(crate) mod allowed;
mod annotated;
mod backend;
mod bounds;
mod category;
mod changes;
mod checks;
mod classifier;
mod command;
mod console;
mod context_table;
mod contexts;
mod divergence;
mod document;
mod feature_tables;
mod features;
mod fields;
mod http;
mod items;
mod json;
mod json_path;
mod levels;
mod log;
mod measures;
mod names;
mod part_conflicts;
mod parts;
mod phrase;
mod reach;
mod read;
mod references;
mod rewards;
mod sample_space;
mod section;
mod sentences;
mod server;
mod source;
mod target;
mod tune_checks;
mod tune_tables;
mod tuning;
mod values;
mod words;
mod written;

use disco_divergence::Divergence;
use disco_ebm::FitConfig;
use disco_qrs::Goal;
use serde::{Deserialize, Serialize};

pub(crate) use annotated::annotated_fields;
pub use backend::Backend;
pub use category::{CategoryRule, CategorySpec};
pub(crate) use changes::Change;
pub use classifier::{ClassifierSpec, LabelValue};
pub(crate) use command::is_script;
pub use command::{CommandAsking, CommandSpec};
pub use console::ConsoleSpec;
pub use contexts::{ChatSpec, ContextSpec};
pub use features::{FeatureKind, FeatureSpec, LengthUnit};
pub use http::{Dialect, HttpAsking, HttpSpec};
pub(crate) use http::{check_url, resolved_headers};
pub use json::{JsonScalar, JsonSpec};
pub use json_path::JsonPath;
pub(crate) use json_path::Step;
pub use log::{LogSpec, MlflowSpec};
pub use measures::Measure;
pub(crate) use measures::measures;
pub(crate) use parts::{Part, evaluation_order, named_parts};
pub use phrase::{Phrase, Words};
pub use reach::LongestToken;
pub use read::read_spec;
pub(crate) use read::read_spec_with;
pub use rewards::RewardSpec;
pub use sample_space::{ChoicesSpec, GrammarSpec};
pub(crate) use section::Allowed;
pub use server::{ServerDialect, ServerSpec};
pub use source::{ModelSource, WEIGHTS};
pub use target::{Level, Share, Target};
pub use tuning::{AdapterSpec, CheckpointSpec, TuneSpec};
pub use words::{WordListSpec, WordValue};
pub(crate) use words::{entry_words, folded, words_in};

/// A whole run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// The heading of the report.
    pub title: String,
    /// The seed of every random draw.
    pub seed: u64,
    /// The backend that the model runs on.
    pub backend: Backend,
    /// The base distribution.
    pub model: ModelSpec,
    /// The contexts, which the samples continue.
    pub contexts: ContextSpec,
    /// The features and their targets. Never empty; names differ.
    pub features: Vec<FeatureSpec>,
    /// The rewards: features that the target has more of, without a mean that is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rewards: Vec<RewardSpec>,
    /// How the target is fitted.
    pub fit: FitSpec,
    /// How the policy is tuned.
    pub tune: TuneSpec,
    /// The checkpoints of tuning, from which a run can be resumed.
    pub checkpoints: CheckpointSpec,
    /// Where the steps of tuning are written.
    #[serde(default, skip_serializing_if = "LogSpec::is_empty")]
    pub log: LogSpec,
    /// The samples that are drawn from the tuned policy.
    pub sample: SampleSpec,
    /// The complete run file, as TOML: reading it from any folder gives this spec, with the paths of models absolute.
    #[serde(skip)]
    pub written: String,
}

impl Spec {
    /// The number of samples of each context, of `total` samples: at least two, which a standard error needs.
    pub fn per_context(&self, total: usize) -> usize {
        total.div_ceil(self.contexts.items.len()).max(2)
    }

    /// The number of samples that are drawn in all contexts together where `total` are asked for.
    pub(crate) fn in_all_contexts(&self, total: usize) -> usize {
        self.per_context(total) * self.contexts.items.len()
    }

    /// Whether some of its models may have to be downloaded from a hub.
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

    /// A feature that is to hold always or never, if the divergence is infinite where the policy does not keep to that.
    fn refused_hard_constraint(&self) -> Option<&FeatureSpec> {
        let is_tuned = self.tune.steps > 0;
        let is_infinite = is_tuned && self.tune.divergence.derivative_at_infinity() == f64::INFINITY;
        self.features.iter().find(|feature| is_infinite && feature.is_hard())
    }
}

/// Which language model, and how it is decoded: both are part of the base distribution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelSpec {
    /// The place of the model.
    pub source: ModelSource,
    /// A sample is cut after this many tokens.
    pub max_new_tokens: usize,
    /// Logits are divided by this.
    pub temperature: f64,
    /// Only this number of the most probable tokens are drawn.
    pub top_k: Option<usize>,
    /// Only the most probable tokens that together have this probability are drawn.
    pub top_p: Option<f64>,
    /// Only tokens whose probability is at least this fraction of the largest probability are drawn.
    pub min_p: Option<f64>,
    /// Only the tokens nearest to the expected log-probability that together have this probability are drawn.
    pub typical_p: Option<f64>,
    /// Logits of tokens that have occurred are made smaller by this factor, if it is above 1.
    pub repetition_penalty: f64,
    /// Whether tokens of the context count as having occurred.
    pub penalize_context: bool,
    /// No sample ends before this number of tokens.
    pub min_new_tokens: usize,
    /// Token ids that are never drawn.
    pub forbidden_tokens: Vec<u32>,
    /// The only texts that it may give, if they are listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choices: Option<ChoicesSpec>,
    /// Whether an end token follows each of these texts in their scores.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub choices_end: bool,
    /// The grammar of the texts that it may give.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grammar: Option<GrammarSpec>,
    /// How it is asked, if it runs on a server.
    #[serde(default, skip_serializing_if = "is_default")]
    pub server: ServerSpec,
}

fn is_default(server: &ServerSpec) -> bool {
    *server == ServerSpec::default()
}

/// The default of [`ModelSpec::choices_end`].
fn yes() -> bool {
    true
}

fn is_yes(choices_end: &bool) -> bool {
    *choices_end
}

impl ModelSpec {
    /// A model without truncation, with samples of at most 40 tokens.
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
            choices: None,
            choices_end: true,
            grammar: None,
            server: ServerSpec::default(),
        }
    }

    /// The decoding settings in words, one string per setting that differs from the default, and the temperature.
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

/// How the target is fitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FitSpec {
    /// The number of samples of the base, in all contexts together: features are measured and the target is fitted on them.
    pub samples: usize,
    /// The share of these samples that only checks the fit.
    pub held_out: f64,
    /// The weight of a penalty on the squares of the coefficients, which keeps them small where samples are few.
    pub ridge: f64,
}

impl FitSpec {
    /// The settings of the fit.
    pub(crate) fn config(&self) -> FitConfig {
        FitConfig { held_out: self.held_out, ridge: self.ridge, ..FitConfig::default() }
    }
}

/// The samples that are drawn from the tuned policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleSpec {
    /// The number of samples of the tuned policy.
    pub count: usize,
    /// The number of samples that quasi-rejection sampling is to accept, if it is not the number of proposals that ends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<usize>,
    /// The largest number of proposals of quasi-rejection sampling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proposals: Option<usize>,
    /// The number of samples of each kind in the report.
    pub shown: usize,
    /// How quasi-rejection sampling chooses its beta.
    pub qrs: QrsGoal,
}

impl SampleSpec {
    /// The largest number of proposals: by default `count`, or a hundred for each sample that is to be accepted.
    pub(crate) fn most_proposals(&self) -> usize {
        let default = self.accepted.map_or(self.count, |accepted| accepted.saturating_mul(100));
        self.proposals.unwrap_or(default)
    }
}

/// How quasi-rejection sampling chooses its beta.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QrsGoal {
    /// The beta with this acceptance rate.
    AcceptanceRate(f64),
    /// The beta with this total variation to the target.
    TotalVariation(f64),
    /// This `ln beta`.
    LogBeta(f64),
}

impl QrsGoal {
    /// The goal by which beta is chosen from ratios, or the `ln beta` that is given.
    ///
    /// # Errors
    /// The `ln beta` that is given.
    pub(crate) fn of_ratios(self) -> Result<Goal, f64> {
        match self {
            Self::AcceptanceRate(rate) => Ok(Goal::AcceptanceRate(rate)),
            Self::TotalVariation(distance) => Ok(Goal::TotalVariation(distance)),
            Self::LogBeta(log_beta) => Err(log_beta),
        }
    }
}
