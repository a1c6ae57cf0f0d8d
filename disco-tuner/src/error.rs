//! What can go wrong in a tuning run.

use std::path::PathBuf;

/// A result whose error is disco-tuner's [`enum@Error`], unless another is named: that of an observer's methods, say.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a run could not start or go on.
///
/// A step that fails leaves the policy's parameters as they were before it; the one exception is
/// [`LaterEpoch`](Self::LaterEpoch).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is outside its range, or something outside a step failed.
    #[error(transparent)]
    Core(#[from] disco_core::Error),
    /// A divergence could not be estimated.
    #[error(transparent)]
    Divergence(#[from] disco_divergence::Error),
    /// A part of a step failed.
    #[error("step {step}, {stage}: {source}")]
    Step {
        /// The step, from 0.
        step: u64,
        /// What was being done.
        stage: Stage,
        /// Why it failed.
        source: disco_core::Error,
    },
    /// A part of a step failed in one context.
    #[error("step {step}, {stage}, context {context}: {source}")]
    Context {
        /// The step, from 0.
        step: u64,
        /// What was being done.
        stage: Stage,
        /// The position of the context in the list of contexts.
        context: usize,
        /// Why it failed; the index it may name is that of the sample among those of the context.
        source: disco_core::Error,
    },
    /// A gradient weight overflowed.
    #[error(
        "step {step}, context {context}, sample {sample}: the gradient weight is {value}; the policy gives the \
         sample {log_policy} nats and the target {log_target}: limit `max_pseudo_reward`, or take a divergence \
         with a bounded derivative (js, tv, hellinger)"
    )]
    Weight {
        /// The step, from 0.
        step: u64,
        /// The position of the context in the list of contexts.
        context: usize,
        /// The position of the sample among those of its context.
        sample: usize,
        /// The weight.
        value: f64,
        /// `ln pi(x|c)`.
        log_policy: f64,
        /// `ln P(x|c)`.
        log_target: f64,
    },
    /// An epoch after the first failed, and the policy cannot go back.
    #[error(
        "{source}; this was epoch {epoch}, from 0: {epoch} of the step's updates are made already, and the policy \
         gives no snapshot to go back to: go on from a checkpoint"
    )]
    LaterEpoch {
        /// The epoch, from 0: as many updates of the step were made before it.
        epoch: usize,
        /// What failed.
        source: Box<Error>,
    },
    /// The divergence is infinite wherever the policy leaves the target's support, and it does.
    #[error(
        "`{divergence}` is infinite for a target with hard constraints ({found}); these can have them: {able}"
    )]
    HardConstraints {
        /// The divergence.
        divergence: String,
        /// How the constraint was noticed.
        found: String,
        /// The divergences that can.
        able: String,
    },
    /// Step after step, no sample lay in the target's support.
    #[error(
        "none of the {samples} samples of the last {steps} steps lies in the target's support{}: raise \
         `samples_per_step`, start from a policy or offline proposal that meets the hard constraints now and \
         then, or replace a hard constraint by a moment below 1",
        skipped_as_well(*skipped)
    )]
    NoSuccess {
        /// How many steps in a row.
        steps: u64,
        /// How many samples they had.
        samples: u64,
        /// How many of the last step's the target could not score.
        skipped: u64,
    },
    /// An observer refused the run before its first step.
    #[error("an observer refused the run: {0}")]
    Observer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Early stopping is to follow a metric that the run will not have.
    #[error("there is no metric `{metric}`; there are: {available}")]
    Metric {
        /// The name that was asked for.
        metric: String,
        /// The names there are.
        available: String,
    },
    /// There is nothing to resume from.
    #[error("{}: no checkpoint", folder.display())]
    NoCheckpoint {
        /// Where one was looked for.
        folder: PathBuf,
    },
    /// A checkpoint is not as it was written.
    #[error("{}: damaged checkpoint: {difference}{}{remedy}", path.display(), if .remedy.is_empty() { "" } else { "; " })]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        difference: String,
        /// What can be done, where a run was to go on from it; else nothing.
        remedy: String,
    },
    /// A checkpoint is of a run with other settings.
    #[error("{}: the checkpoint is of other settings: {differences}", path.display())]
    OtherSettings {
        /// The checkpoint.
        path: PathBuf,
        /// Each setting that differs, with both values.
        differences: String,
    },
    /// A policy could not be saved into a checkpoint, or loaded from one.
    #[error("{}: the policy's files: {source}", path.display())]
    PolicyFiles {
        /// The checkpoint's folder of the policy.
        path: PathBuf,
        /// What the policy said.
        source: disco_core::Error,
    },
    /// A file could not be written or read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

fn skipped_as_well(skipped: u64) -> String {
    match skipped {
        0 => String::new(),
        skipped => format!(", {skipped} of the last step's because the target could not score them"),
    }
}

/// The parts of a step, as errors and timings name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Drawing samples.
    Sample,
    /// Scoring them under the target.
    Score,
    /// Their log-probabilities under a policy that did not draw them.
    LogProb,
    /// Accumulating the gradient.
    Gradient,
    /// Updating the policy.
    Update,
    /// Estimating metrics.
    Metrics,
    /// Measuring on held-out contexts.
    Validation,
}

impl Stage {
    /// All of them, in order.
    pub const ALL: [Self; 7] = [
        Self::Sample,
        Self::Score,
        Self::LogProb,
        Self::Gradient,
        Self::Update,
        Self::Metrics,
        Self::Validation,
    ];

    /// The name in metrics and errors.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sample => "sample",
            Self::Score => "score",
            Self::LogProb => "log_prob",
            Self::Gradient => "gradient",
            Self::Update => "update",
            Self::Metrics => "metrics",
            Self::Validation => "validation",
        }
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
