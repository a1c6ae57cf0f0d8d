//! The settings of a run.

mod early_stopping;
mod presets;
mod sampling;

use disco_core::{Error, Result};
use disco_divergence::FDivergence;
use serde::{Deserialize, Serialize};

use crate::optimizer::{Optimizer, Schedule};

pub use early_stopping::{Direction, EarlyStopping};
pub use presets::rlhf_target;
pub use sampling::Sampling;

/// The settings of a [`Tuner`](crate::Tuner).
///
/// | field | default | range |
/// |---|---|---|
/// | `divergence` | `"js"` | a name of [`FDivergence`] |
/// | `steps` | 1000 | at least 1 |
/// | `samples_per_step` | 256 | at least 2 per context |
/// | `contexts_per_step` | 8 | at least 1 |
/// | `seed` | 0 | any |
/// | `sampling` | online | [`Sampling`] |
/// | `partition` | running | [`Partition`] |
/// | `baseline` | leave-one-out | [`Baseline`] |
/// | `epochs` | 1 | at least 1 |
/// | `replay` | 0 | any |
/// | `micro_batch` | 16 samples | [`MicroBatch`] |
/// | `max_importance_ratio` | none | above 0 |
/// | `max_pseudo_reward` | none | above 0 |
/// | `optimizer` | Adam | [`Optimizer`] |
/// | `learning_rate` | 0.001 | above 0 |
/// | `schedule` | constant | [`Schedule`] |
/// | `max_gradient_norm` | none | above 0 |
/// | `metrics_every` | 10 | any; 0 is never |
/// | `max_steps_without_success` | 10 | at least 1 |
/// | `validation` | none | [`Validation`] |
/// | `early_stopping` | none | [`EarlyStopping`] |
///
/// All fields are public: write the settings that differ, and `..TunerConfig::default()` for the others.
///
/// ```
/// use disco_tuner::{Baseline, Tuner, TunerConfig};
/// let config = TunerConfig { steps: 200, learning_rate: 1e-4, baseline: Baseline::None, ..TunerConfig::default() };
/// config.validate()?;
/// // The settings as a file has them.
/// let read: TunerConfig =
///     serde_json::from_str(r#"{"steps": 200, "learning_rate": 0.0001, "baseline": "none"}"#).unwrap();
/// assert_eq!(read, config);
/// let refused = Tuner::new(TunerConfig { learning_rate: -1.0, ..config }).unwrap_err();
/// assert_eq!(refused.to_string(), "learning_rate is -1; allowed: positive and finite");
/// # Ok::<(), disco_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TunerConfig {
    /// The divergence `D_f(pi||p)` to minimise.
    pub divergence: FDivergence,
    /// Number of steps of the run.
    pub steps: u64,
    /// Number of samples that a step draws, over all its contexts.
    pub samples_per_step: usize,
    /// Number of contexts that a step draws; never more than there are.
    pub contexts_per_step: usize,
    /// Seed of all random numbers of the run.
    pub seed: u64,
    /// The distribution that samples are drawn from: the policy, or a frozen proposal; or none, if all outcomes are taken.
    pub sampling: Sampling,
    /// The samples that estimate the normalising constant `Z_c` of a context.
    pub partition: Partition,
    /// The baseline that is subtracted from the derivatives `f'`.
    pub baseline: Baseline,
    /// The number of updates made from each step's samples; those after the first weight the samples by `pi / q`.
    pub epochs: usize,
    /// Size of the replay buffer: the number of earlier steps whose samples are used again, weighted by `pi / q`.
    pub replay: usize,
    /// Limits of the micro-batches that the policy is given. They change memory and time; results differ by
    /// rounding alone.
    pub micro_batch: MicroBatch,
    /// The largest importance ratio `pi / q`; larger ratios are clipped, which biases the gradient. The metric
    /// `cut_share` says by how much.
    pub max_importance_ratio: Option<f64>,
    /// The largest magnitude of `pi/q f'(pi/p)`; larger ones are clipped, as above.
    pub max_pseudo_reward: Option<f64>,
    /// The rule by which the policy follows its gradient.
    pub optimizer: Optimizer,
    /// The step size, before the schedule.
    pub learning_rate: f64,
    /// The change of the step size over the run.
    pub schedule: Schedule,
    /// The largest global L2 norm of a gradient; larger ones are scaled down to it.
    pub max_gradient_norm: Option<f64>,
    /// The interval, in steps, of full metrics; the last step always has them, unless the interval is 0.
    pub metrics_every: u64,
    /// Number of steps in a row without a sample in the target's support after which the run ends in an error.
    pub max_steps_without_success: u64,
    /// Measuring on held-out contexts.
    pub validation: Option<Validation>,
    /// Ending the run when it no longer improves.
    pub early_stopping: Option<EarlyStopping>,
}

impl Default for TunerConfig {
    fn default() -> Self {
        Self {
            divergence: FDivergence::JensenShannon,
            steps: 1000,
            samples_per_step: 256,
            contexts_per_step: 8,
            seed: 0,
            sampling: Sampling::Online,
            partition: Partition::Running,
            baseline: Baseline::LeaveOneOut,
            epochs: 1,
            replay: 0,
            micro_batch: MicroBatch::default(),
            max_importance_ratio: None,
            max_pseudo_reward: None,
            optimizer: Optimizer::default(),
            learning_rate: 1e-3,
            schedule: Schedule::default(),
            max_gradient_norm: None,
            metrics_every: 10,
            max_steps_without_success: 10,
            validation: None,
            early_stopping: None,
        }
    }
}

/// The samples that estimate a context's normalising constant (partition function) `Z_c = sum_x P(x|c)`. The estimate is
/// always the mean of `P/q` over *other* samples than the one it is applied to.
///
/// The error of the estimate biases the gradient, by about its variance. The bias is larger for total variation where
/// policy and target nearly agree, because its derivative jumps there. With all samples so far (`Running`) the error,
/// and with it the bias, goes to zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Partition {
    /// From all samples drawn in the context since the run began.
    Running,
    /// From the samples of the same step.
    Step,
    /// `Z_c` is known to be 1: the target's log-scores are log-probabilities, for example of another model.
    Normalised,
}

/// The baseline that is subtracted from `f'(pi/p)` to lower the variance of the gradient, whose mean stays the same.
///
/// With `r = f'(pi/p)` and the score `s = grad log pi`, subtracting `b` changes the variance of a sample's term by
///
/// ```text
/// b (b - 2 b*) E[|s|^2],   b* = E[r |s|^2] / E[|s|^2].
/// ```
///
/// So the variance falls for every `b` between 0 and `2 b*`, and most for `b*`. Estimating `b*` would need one gradient
/// per sample. Where no outcome has much of the probability, all `|s|^2` are about the same, and `b*` is close to the mean
/// `E[r]` (on 512 outcomes, to three digits). Estimating that mean from `m` other samples adds
/// `(Var[r] E[|s|^2] + |E[r s]|^2) / m` to the variance. For a divergence with `f'(1) = 0` (`tv`, `js`, `hellinger`,
/// `jeffreys`) a baseline has no other effect near the target: it adds a share of `1/m`, which is 3% with 32 samples in
/// a context. Take `none` where a context has few samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Baseline {
    /// No baseline: samples outside the target's support cost nothing where `f'(inf) = 0`.
    None,
    /// The mean of `f'` over the other samples of the context. Beyond 16 samples the context's samples are cut into 16
    /// parts, and the mean is over the samples outside the part of the sample.
    LeaveOneOut,
    /// The exact mean -1 of forward KL's `f' = -p/pi`: weights `P/(Z q) - pi/q`. For that divergence only.
    ForwardKl,
}

/// How many samples the policy is given at once.
///
/// | field | default | range |
/// |---|---|---|
/// | `samples` | 16 | at least 1 |
/// | `tokens` | none | at least 1 |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MicroBatch {
    /// The largest number of samples.
    pub samples: usize,
    /// The largest number of tokens, where each sample counts as long as the longest of its micro-batch (padding).
    /// A sample that alone is longer makes a micro-batch of its own. Needs
    /// [`Problem::with_length`](crate::Problem::with_length).
    pub tokens: Option<usize>,
}

impl Default for MicroBatch {
    fn default() -> Self {
        Self { samples: 16, tokens: None }
    }
}

/// Measuring the policy on held-out contexts, with the same random streams each time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// The interval in steps, at least 1.
    pub every: u64,
    /// Samples per held-out context, at least 2.
    pub samples: usize,
}

impl MicroBatch {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first setting outside it.
    pub fn validate(&self) -> Result<()> {
        at_least("micro_batch.samples", self.samples as u64, 1)?;
        at_least("micro_batch.tokens", self.tokens.unwrap_or(1) as u64, 1)
    }
}

impl Validation {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first setting outside it.
    pub fn validate(&self) -> Result<()> {
        at_least("validation.every", self.every, 1)?;
        at_least("validation.samples", self.samples as u64, 2)
    }
}

impl TunerConfig {
    /// Checks every setting against its range, and settings that depend on each other.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first setting outside it.
    pub fn validate(&self) -> Result<()> {
        at_least("steps", self.steps, 1)?;
        at_least("samples_per_step", self.samples_per_step as u64, 2)?;
        at_least("contexts_per_step", self.contexts_per_step as u64, 1)?;
        at_least("epochs", self.epochs as u64, 1)?;
        self.micro_batch.validate()?;
        at_least("max_steps_without_success", self.max_steps_without_success, 1)?;
        positive("learning_rate", Some(self.learning_rate))?;
        positive("max_gradient_norm", self.max_gradient_norm)?;
        positive("max_importance_ratio", self.max_importance_ratio)?;
        positive("max_pseudo_reward", self.max_pseudo_reward)?;
        self.optimizer.validate()?;
        self.schedule.validate(self.steps)?;
        self.sampling.validate()?;
        self.validation.as_ref().map_or(Ok(()), Validation::validate)?;
        if let Some(stopping) = &self.early_stopping {
            stopping.validate()?;
            // A metric that is never measured would never stop the run.
            if stopping.metric.starts_with("validation/") {
                if self.validation.is_none() {
                    let allowed = "a metric of the training samples, or validation switched on";
                    return Err(Error::invalid("early_stopping.metric", &stopping.metric, allowed));
                }
            } else if self.metrics_every == 0 {
                let allowed = "at least 1, for early stopping to have its metric";
                return Err(Error::invalid("metrics_every", 0, allowed));
            }
        }
        if self.sampling == Sampling::Enumerated {
            if self.replay > 0 {
                let allowed = "0, where a step has all outcomes: there is no other sample to use again";
                return Err(Error::invalid("replay", self.replay, allowed));
            }
            if let Some(ratio) = self.max_importance_ratio {
                let allowed = "none, where a step has all outcomes: none of them was drawn from a proposal";
                return Err(Error::invalid("max_importance_ratio", ratio, allowed));
            }
        }
        if self.baseline == Baseline::ForwardKl && self.divergence != FDivergence::KlForward {
            let allowed = "another baseline, or the divergence forward KL, whose mean derivative it is";
            return Err(Error::invalid("baseline", "forward-kl", allowed));
        }
        Ok(())
    }
}

fn at_least(field: &'static str, value: u64, least: u64) -> Result<()> {
    if value >= least { Ok(()) } else { Err(Error::invalid(field, value, format!("at least {least}"))) }
}

fn positive(field: &'static str, value: Option<f64>) -> Result<()> {
    match value {
        Some(value) if !(value > 0.0 && value.is_finite()) => {
            Err(Error::invalid(field, value, "positive and finite"))
        }
        _ => Ok(()),
    }
}

fn not_negative(field: &'static str, value: f64) -> Result<()> {
    if value >= 0.0 && value.is_finite() {
        Ok(())
    } else {
        Err(Error::invalid(field, value, "zero or positive, finite"))
    }
}
