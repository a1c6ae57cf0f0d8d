//! The settings of a run.

use disco_core::{Error, Result};
use disco_divergence::FDivergence;
use serde::{Deserialize, Serialize};

use crate::{Optimizer, Sampling, Schedule};

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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TunerConfig {
    /// What is minimised, `D_f(pi||p)`.
    pub divergence: FDivergence,
    /// How many steps the run has.
    pub steps: u64,
    /// How many samples a step draws, over all its contexts.
    pub samples_per_step: usize,
    /// How many contexts a step draws; never more than there are.
    pub contexts_per_step: usize,
    /// All randomness of the run comes from it.
    pub seed: u64,
    /// What samples are drawn from.
    pub sampling: Sampling,
    /// Where a context's normalising constant comes from.
    pub partition: Partition,
    /// What is subtracted from the derivatives `f'`.
    pub baseline: Baseline,
    /// Updates made from each step's samples; those after the first weight the samples by `pi / q`.
    pub epochs: usize,
    /// How many earlier steps' samples are used again, weighted by `pi / q`.
    pub replay: usize,
    /// How the samples of an update are cut for the policy. The result does not depend on it, only memory
    /// and time do.
    pub micro_batch: MicroBatch,
    /// The largest importance ratio `pi / q`; what is larger is cut, which biases the gradient. The mass cut
    /// off is a metric.
    pub max_importance_ratio: Option<f64>,
    /// The largest magnitude of `pi/q f'(pi/p)`; as above.
    pub max_pseudo_reward: Option<f64>,
    /// How the policy follows its gradient.
    pub optimizer: Optimizer,
    /// The step size, before the schedule.
    pub learning_rate: f64,
    /// How the step size changes.
    pub schedule: Schedule,
    /// The largest global L2 norm of a gradient; larger ones are scaled down to it.
    pub max_gradient_norm: Option<f64>,
    /// The interval, in steps, of full metrics; the last step always has them, unless the interval is 0.
    pub metrics_every: u64,
    /// After so many steps in a row without a sample in the target's support the run ends in an error.
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

/// Where a context's `Z_c` comes from. It is always the mean of `P/q` over *other* samples than the one it is
/// applied to.
///
/// The error of an estimated constant biases the gradient, by about its variance; that of total variation, whose
/// derivative jumps where policy and target agree, by more where they nearly do. With all samples so far it goes to zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Partition {
    /// From all samples drawn in the context since the run began.
    Running,
    /// From the samples of the same step.
    Step,
    /// It is 1: the target's log-scores are log-probabilities, as those of another model are.
    Normalised,
}

/// What is subtracted from `f'(pi/p)` to lower the variance of the gradient, whose mean stays the same.
///
/// With `r = f'(pi/p)` and the score `s = grad log pi`, subtracting `b` changes the variance of a sample's term by
///
/// ```text
/// b (b - 2 b*) E[|s|^2],   b* = E[r |s|^2] / E[|s|^2].
/// ```
///
/// So it falls for every `b` between 0 and `2 b*`, and most for `b*`, whose estimate would take a gradient of each sample's
/// own. Where no outcome has much of the probability all `|s|^2` are about the same, and `b*` is the mean `E[r]`: on 512
/// outcomes, to three digits. Estimating that mean from `m` other samples adds `(Var[r] E[|s|^2] + |E[r s]|^2) / m`. Near
/// the target this is all that a divergence with `f'(1) = 0` (`tv`, `js`, `hellinger`, `jeffreys`) gets of it: there 3%
/// more variance with 32 samples in a context, and a share `1/m` with fewer: take `none` where a context has few.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Baseline {
    /// Nothing: samples outside the target's support cost nothing where `f'(inf) = 0`.
    None,
    /// The mean of `f'` over the other samples of the context (beyond 16 samples: over those outside its sixteenth).
    LeaveOneOut,
    /// The exact mean -1 of forward KL's `f' = -p/pi`: weights `P/(Z q) - pi/q`. For that divergence only.
    ForwardKl,
}

/// How many samples the policy is given at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MicroBatch {
    /// At most so many samples; 16 by default, at least 1.
    pub samples: usize,
    /// At most so many tokens, counting each sample as long as the longest of its batch; a sample that alone
    /// is longer makes a batch of its own. Needs [`Problem::with_length`](crate::Problem::with_length).
    pub tokens: Option<usize>,
}

impl Default for MicroBatch {
    fn default() -> Self {
        Self { samples: 16, tokens: None }
    }
}

/// Measuring the policy on held-out contexts, always with the same random streams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// The interval in steps, at least 1.
    pub every: u64,
    /// Samples per held-out context, at least 2.
    pub samples: usize,
}

/// Ending a run whose metric no longer improves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// The metric that is to fall; see [`Metrics`](crate::Metrics) for the names.
    pub metric: String,
    /// The run ends after so many measurements in a row without improvement, at least 1.
    pub patience: u64,
    /// By how much it must fall to count as improved, at least 0; 0 by default.
    #[serde(default)]
    pub min_delta: f64,
}

impl TunerConfig {
    /// Checks every setting against its range, and those that depend on each other.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first setting outside it.
    pub fn validate(&self) -> Result<()> {
        at_least("steps", self.steps, 1)?;
        at_least("samples_per_step", self.samples_per_step as u64, 2)?;
        at_least("contexts_per_step", self.contexts_per_step as u64, 1)?;
        at_least("epochs", self.epochs as u64, 1)?;
        at_least("micro_batch.samples", self.micro_batch.samples as u64, 1)?;
        at_least("micro_batch.tokens", self.micro_batch.tokens.unwrap_or(1) as u64, 1)?;
        at_least("max_steps_without_success", self.max_steps_without_success, 1)?;
        positive("learning_rate", Some(self.learning_rate))?;
        positive("max_gradient_norm", self.max_gradient_norm)?;
        positive("max_importance_ratio", self.max_importance_ratio)?;
        positive("max_pseudo_reward", self.max_pseudo_reward)?;
        self.optimizer.validate()?;
        self.schedule.validate(self.steps)?;
        if let Sampling::Offline { z, every, .. } = self.sampling {
            not_negative("sampling.z", z)?;
            at_least("sampling.every", every, 1)?;
        }
        if let Some(validation) = &self.validation {
            at_least("validation.every", validation.every, 1)?;
            at_least("validation.samples", validation.samples as u64, 2)?;
        }
        if let Some(stopping) = &self.early_stopping {
            at_least("early_stopping.patience", stopping.patience, 1)?;
            not_negative("early_stopping.min_delta", stopping.min_delta)?;
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
