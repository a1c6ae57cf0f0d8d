//! The settings of tuning and of its checkpoints, and the settings of the tuner that they become.

use disco_divergence::FDivergence;
use disco_tuner::{Decay, EarlyStopping, MicroBatch, Optimizer, Sampling, Schedule, TunerConfig};
use serde::{Deserialize, Deserializer, Serialize, de};

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
    /// The rule that follows the gradient.
    pub optimizer: Optimizer,
    /// The gradient is scaled down to this norm.
    pub max_gradient_norm: Option<f64>,
    /// The number of samples of a micro-batch: a limit on memory that changes no result.
    pub micro_batch: usize,
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

/// The metrics of which a checkpoint can be the best.
pub(super) const BEST_METRICS: [&str; 6] =
    ["kl_target_policy", "kl_policy_target", "tv_target_policy", "js_target_policy", "ess", "ess_share"];

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
            let known = BEST_METRICS.into_iter().find(|known| *known == name);
            known.ok_or_else(|| de::Error::unknown_variant(&name, &BEST_METRICS))
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
            sampling: if is_listed { Sampling::Enumerated } else { Sampling::Online },
            contexts_per_step: self.contexts_per_step,
            seed,
            micro_batch: MicroBatch { samples: self.micro_batch, tokens: None },
            optimizer: self.optimizer.clone(),
            learning_rate: self.learning_rate,
            schedule: Schedule { decay: self.decay, warmup_steps: self.warmup_steps as u64, floor: 0.0 },
            max_gradient_norm: self.max_gradient_norm,
            metrics_every: 1,
            // With this patience it never ends the run; it only decides which checkpoint is the best.
            early_stopping: best.map(|metric| EarlyStopping {
                metric: metric.into(),
                patience: u64::MAX,
                ..EarlyStopping::default()
            }),
            ..TunerConfig::default()
        }
    }
}
