//! The settings of tuning and of its checkpoints, and the settings of the tuner that they become.

use disco_divergence::FDivergence;
use disco_tuner::{
    Baseline, Decay, EarlyStopping, MicroBatch, Optimizer, Partition, Sampling, Schedule, TunerConfig,
    Validation,
};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::tune_tables::METRICS;

/// How the policy is tuned towards the target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TuneSpec {
    /// The divergence that is minimised.
    pub divergence: FDivergence,
    /// The number of updates; 0 where nothing is tuned, and the base itself is the policy.
    pub steps: usize,
    /// The number of samples of an update, in all its contexts together.
    pub samples_per_step: usize,
    /// The number of contexts of an update, which share its samples equally.
    pub contexts_per_step: usize,
    /// The step size.
    pub learning_rate: f64,
    /// The number of steps over which the learning rate rises linearly.
    pub warmup_steps: usize,
    /// How the learning rate falls after that.
    pub decay: Decay,
    /// The share of the learning rate to which it falls.
    pub floor: f64,
    /// The rule that follows the gradient.
    pub optimizer: Optimizer,
    /// The gradient is scaled down to this norm.
    pub max_gradient_norm: Option<f64>,
    /// The number of samples of a micro-batch: a limit on memory that changes no result.
    pub micro_batch: usize,
    /// The number of tokens of a micro-batch, with padding.
    pub micro_batch_tokens: Option<usize>,
    /// The distribution that samples are drawn from. It has no effect where the texts of the model are listed.
    pub sampling: Sampling,
    /// The samples that estimate the normalising constant of a context.
    pub partition: Partition,
    /// The baseline that is subtracted from the derivatives of the divergence.
    pub baseline: Baseline,
    /// The number of updates with the samples of a step.
    pub epochs: usize,
    /// The number of earlier steps whose samples are used again.
    pub replay: usize,
    /// Larger importance ratios are clipped.
    pub max_importance_ratio: Option<f64>,
    /// Larger pseudo-rewards are clipped.
    pub max_pseudo_reward: Option<f64>,
    /// The number of steps in a row without a sample in the target's support after which the run ends in an error.
    pub max_steps_without_success: usize,
    /// The number of steps between measurements.
    pub metrics_every: usize,
    /// Measuring the policy on held-out contexts while it is tuned.
    pub validation: Option<Validation>,
    /// Ending the run when it no longer improves.
    pub early_stopping: Option<EarlyStopping>,
    /// The low-rank adapter that is tuned instead of all parameters, if there is one.
    pub adapter: Option<AdapterSpec>,
}

/// A low-rank adapter (LoRA).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdapterSpec {
    /// The rank of its low-rank updates.
    pub rank: usize,
    /// The updates are multiplied by `alpha / rank`.
    pub alpha: f64,
    /// The modules that have one, by their Hugging Face names, or `all-linear` alone. Never empty.
    pub target_modules: Vec<String>,
}

/// The checkpoints of tuning, from which a run can be resumed. An interrupt always leaves a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckpointSpec {
    /// The number of steps between checkpoints.
    pub every: usize,
    /// The number of latest checkpoints that are kept.
    pub keep: usize,
    /// The metric whose best checkpoint is kept as well: the lowest divergence, or the highest effective sample size.
    pub best: Option<&'static str>,
}

/// Checkpoints as they are written, with the name of any metric.
#[derive(Deserialize)]
struct Written {
    every: usize,
    keep: usize,
    best: Option<String>,
}

// Derived, it could only be read from what lives as long as the program, as the name of the metric does.
impl<'de> Deserialize<'de> for CheckpointSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Written { every, keep, best } = Written::deserialize(deserializer)?;
        let find = |name: String| {
            let known = METRICS.into_iter().find(|known| *known == name);
            known.ok_or_else(|| de::Error::unknown_variant(&name, &METRICS))
        };
        Ok(Self { every, keep, best: best.map(find).transpose()? })
    }
}

impl TuneSpec {
    /// The settings of the tuner, with `best` the metric that decides which checkpoint is the best, and whether the texts of the model are listed.
    pub(crate) fn tuner_config(&self, best: Option<&str>, is_listed: bool, seed: u64) -> TunerConfig {
        TunerConfig {
            divergence: self.divergence,
            steps: self.steps as u64,
            samples_per_step: self.samples_per_step,
            sampling: if is_listed { Sampling::Enumerated } else { self.sampling.clone() },
            partition: self.partition,
            baseline: self.baseline,
            epochs: self.epochs,
            replay: self.replay,
            max_importance_ratio: self.max_importance_ratio,
            max_pseudo_reward: self.max_pseudo_reward,
            max_steps_without_success: self.max_steps_without_success as u64,
            contexts_per_step: self.contexts_per_step,
            seed,
            micro_batch: MicroBatch { samples: self.micro_batch, tokens: self.micro_batch_tokens },
            optimizer: self.optimizer.clone(),
            learning_rate: self.learning_rate,
            schedule: Schedule {
                decay: self.decay,
                warmup_steps: self.warmup_steps as u64,
                floor: self.floor,
            },
            max_gradient_norm: self.max_gradient_norm,
            metrics_every: self.metrics_every as u64,
            validation: self.validation.clone(),
            // With the patience of `only_best` it never ends the run; it only decides which checkpoint is the best.
            early_stopping: self.early_stopping.clone().or_else(|| best.map(only_best)),
        }
    }
}

fn only_best(metric: &str) -> EarlyStopping {
    EarlyStopping { metric: metric.into(), patience: u64::MAX, ..EarlyStopping::default() }
}
