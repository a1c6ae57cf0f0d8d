//! Errors of a tuning run.

use std::path::PathBuf;

/// A result whose error is disco-tuner's [`enum@Error`], unless another is named.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a run could not start, or a step failed.
///
/// A step that fails leaves the policy's parameters as they were before it; the one exception is
/// [`LaterEpoch`](Self::LaterEpoch).
///
/// The message of an error is complete: it contains the message of its cause. So that no reporter prints that twice,
/// [`source`](std::error::Error::source) does not give the cause, which is in the field `cause`.
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
    #[error("step {step}, {stage}: {cause}")]
    Step {
        /// The step, from 0.
        step: u64,
        /// The part of the step.
        stage: Stage,
        /// Why it failed.
        cause: disco_core::Error,
    },
    /// A part of a step failed in one context.
    #[error("step {step}, {stage}, context {context}: {cause}")]
    Context {
        /// The step, from 0.
        step: u64,
        /// The part of the step.
        stage: Stage,
        /// The position of the context in the list of contexts.
        context: usize,
        /// Why it failed. An index in it is the number of the sample among the samples of the context.
        cause: disco_core::Error,
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
        /// The number of the sample among the samples of its context.
        sample: usize,
        /// The weight.
        value: f64,
        /// `ln pi(x|c)`.
        log_policy: f64,
        /// `ln P(x|c)`.
        log_target: f64,
    },
    /// An epoch after the first failed, and the policy has no snapshot from which to undo the earlier ones.
    #[error(
        "{cause}; this was epoch {epoch}, from 0: {epoch} of the step's updates are made already, and the policy \
         gives no snapshot to go back to: go on from a checkpoint"
    )]
    LaterEpoch {
        /// The epoch, from 0, which is also the number of updates that the step made before.
        epoch: usize,
        /// The failure.
        cause: Box<Error>,
    },
    /// The divergence is infinite for a policy that leaves the target's support, and the policy does: the target forbids or
    /// skipped one of its samples.
    #[error(
        "`{divergence}` is infinite for a target with hard constraints ({found}); these can have them: {}",
        .alternatives.join(", ")
    )]
    HardConstraints {
        /// The divergence.
        divergence: String,
        /// How the constraint was noticed.
        found: String,
        /// The divergences that are finite for such a target.
        alternatives: Vec<String>,
    },
    /// No sample of several steps in a row lies in the target's support.
    #[error(
        "none of the {samples} samples of the last {steps} steps lies in the target's support{}: {}raise \
         `samples_per_step`, start from a policy or offline proposal that meets the hard constraints now and \
         then, or replace a hard constraint by a moment below 1",
        skipped_as_well(*skipped, first_skip.as_deref()),
        if *skipped > 0 { "make the target score them, " } else { "" }
    )]
    NoSuccess {
        /// Number of steps in a row.
        steps: u64,
        /// Number of their samples.
        samples: u64,
        /// Number of samples of the last step that the target could not score.
        skipped: u64,
        /// The first of these: its context and number, the scorer that skipped it, and the scorer's reason.
        first_skip: Option<String>,
    },
    /// An observer refused the run before its first step.
    #[error("an observer refused the run: {0}")]
    Observer(Box<dyn std::error::Error + Send + Sync>),
    /// The run will never have the metric of early stopping.
    #[error("there is no metric `{metric}`; there are: {}", .available.join(", "))]
    Metric {
        /// The name in the settings.
        metric: String,
        /// The names of all metrics of the run.
        available: Vec<String>,
    },
    /// There is no checkpoint to resume from.
    #[error("{}: no checkpoint", directory.display())]
    NoCheckpoint {
        /// The directory that was searched.
        directory: PathBuf,
    },
    /// A checkpoint differs from what was written.
    #[error("{}: damaged checkpoint: {difference}{}{remedy}", path.display(), if .remedy.is_empty() { "" } else { "; " })]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The difference.
        difference: String,
        /// How the run can resume nevertheless; empty if no run was about to resume.
        remedy: String,
    },
    /// A checkpoint is of a run with other settings.
    #[error("{}: the checkpoint is of other settings: {}", path.display(), .differences.join("; "))]
    OtherSettings {
        /// The checkpoint.
        path: PathBuf,
        /// Each setting, context or score that differs, with both values.
        differences: Vec<String>,
    },
    /// A policy could not be saved into a checkpoint, or loaded from one.
    #[error("{}: the policy's files: {cause}", path.display())]
    PolicyFiles {
        /// The directory of the policy in the checkpoint.
        path: PathBuf,
        /// The policy's error.
        cause: disco_core::Error,
    },
    /// Another process holds a lock, such as that of a run on its directory of checkpoints.
    #[error("{}: locked by {holder}: wait until it has ended, or use another directory", path.display())]
    InUse {
        /// The lock file.
        path: PathBuf,
        /// The process that holds it: its number, machine, beginning and command.
        holder: String,
    },
    /// A file could not be written or read.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// A collective operation of the workers that share a run failed.
    #[error("workers that share the run: {cause}")]
    Workers {
        /// Why.
        cause: disco_core::Error,
    },
    /// Another worker that shares the run failed, which ends the run on all of them.
    #[error("worker {rank}: {message}")]
    OtherWorker {
        /// The lowest rank that failed.
        rank: usize,
        /// The message of its error.
        message: String,
    },
}

fn skipped_as_well(skipped: u64, first: Option<&str>) -> String {
    let first = first.map(|first| format!(" ({first})")).unwrap_or_default();
    match skipped {
        0 => String::new(),
        skipped => format!(", {skipped} of the last step's because the target could not score them{first}"),
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
    /// Computing their log-probabilities under a policy that did not draw them.
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

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::{Error, Stage};

    #[test]
    fn a_message_holds_its_cause_and_no_chain_repeats_it() {
        let cause = || disco_core::Error::Empty { what: "batch".into() };
        let step = Error::Step { step: 3, stage: Stage::Update, cause: cause() };
        let later = Error::LaterEpoch { epoch: 1, cause: Box::new(step) };
        let errors = [
            Error::Context { step: 3, stage: Stage::Score, context: 2, cause: cause() },
            Error::PolicyFiles { path: "step-3".into(), cause: cause() },
            Error::Io { path: "step-3".into(), cause: std::io::Error::other("batch is empty") },
            Error::Workers { cause: cause() },
            Error::Observer("batch is empty".into()),
            Error::Core(cause()),
            later,
        ];
        for error in errors {
            assert!(error.to_string().contains("batch is empty") && error.source().is_none(), "{error:?}");
        }
    }
}
