//! Why a workflow stopped.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{ModelSource, SpecError};

/// A result whose error is xtask's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a command or workflow could not finish.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A command could not be started.
    #[error("`{command}` could not be started: {source}")]
    Start {
        /// The command.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// A command ended with another code than 0.
    #[error("`{command}` failed{}", code.map_or(" by a signal".into(), |code| format!(" with exit code {code}")))]
    Failed {
        /// The command.
        command: String,
        /// Its exit code; none if a signal ended it.
        code: Option<i32>,
    },
    /// A command did not answer as it is documented to.
    #[error("`{command}` gave no usable answer: {problem}")]
    Answer {
        /// The command.
        command: String,
        /// What is wrong with its answer.
        problem: String,
    },
    /// What an argument of the command line names will not do.
    #[error("`{flag}` {problem}; allowed: {allowed}")]
    Argument {
        /// The argument.
        flag: &'static str,
        /// Its value and what is wrong with it.
        problem: String,
        /// What would do.
        allowed: String,
    },
    /// No libtorch of the right version was found.
    #[error(
        "libtorch 2.9.0, which the backend tch needs, was not found ({tried}). Get it with `python3 -m venv target/python \
         && target/python/bin/pip install torch==2.9.0` (7 GB on Linux: PyPI has no build without CUDA for x86), where it \
         is found by itself; or set LIBTORCH to the folder of an unpacked libtorch 2.9.0, or DISCO_TORCH_PYTHON to a \
         Python that has torch 2.9.0"
    )]
    Libtorch {
        /// Where it was looked for, and what was there.
        tried: String,
    },
    /// The Python environment of torch and transformers could not be made.
    #[error(
        "{needed}: {source}. To use a Python that has torch and transformers already, set DISCO_HF_PYTHON to it"
    )]
    Python {
        /// What is needed.
        needed: &'static str,
        /// What failed.
        source: Box<Error>,
    },
    /// A step of `cargo xtask ci` failed.
    #[error("ci step `{step}` failed: {source}")]
    Step {
        /// The step.
        step: String,
        /// Why.
        source: Box<Error>,
    },
    /// The demo did not come where it was asked to.
    #[error("feature {feature}: {stage} {reached}, asked {asked}, allowed distance {tolerance}")]
    Missed {
        /// The feature.
        feature: String,
        /// Tuned, or sampled by quasi-rejection.
        stage: &'static str,
        /// The moment that was asked for.
        asked: f64,
        /// The moment that was reached.
        reached: f64,
        /// How far they may be from each other.
        tolerance: f64,
    },
    /// The repository is not tidy.
    #[error("{findings} findings, see above")]
    Untidy {
        /// How many.
        findings: usize,
    },
    /// A file or folder could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The output folder holds something that is not the results of a run.
    #[error("{} is no folder of earlier results: name another one, or move it away", path.display())]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
    /// Checkpoints of a run that was interrupted are in the way.
    #[error(
        "{} holds the checkpoints of a run that was interrupted: `--resume` goes on from them, `--restart` removes them",
        path.display()
    )]
    Unfinished {
        /// Their folder.
        path: PathBuf,
    },
    /// The run was interrupted.
    #[error(
        "interrupted after step {step} of {steps}; what was done is in {}: the same command with `--resume` goes on",
        path.display()
    )]
    Interrupted {
        /// How many steps are done.
        step: u64,
        /// How many there are.
        steps: u64,
        /// The folder of the checkpoints.
        path: PathBuf,
    },
    /// The log of the steps could not be written.
    #[error("{}, step {step}: {failure}", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// The step.
        step: u64,
        /// Why.
        failure: String,
    },
    /// Signals cannot be handled.
    #[error("cannot handle SIGINT and SIGTERM: {0}")]
    Signals(io::Error),
    /// A spec file has problems.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The language model failed.
    #[cfg(feature = "lm")]
    #[error(transparent)]
    Model(#[from] disco_lm::Error),
    /// A divergence that must not leave the target's support, and a target that has less support than the base.
    #[error(
        "the divergence `{divergence}` is infinite, since `{feature}` is to hold always or never and the policy \
         cannot keep to that from the start: choose forward-kl, js, tv or another that is finite, or ask for a mean"
    )]
    HardConstraints {
        /// The divergence.
        divergence: String,
        /// The feature that always or never is to hold.
        feature: String,
    },
    /// Quasi-rejection sampling accepted nothing.
    #[error(
        "none of {proposals} proposals was accepted at ln beta = {log_beta}: ask for a larger `acceptance_rate`, or \
         draw more with `sample.count`"
    )]
    NothingAccepted {
        /// How many proposals there were.
        proposals: u64,
        /// `ln beta`.
        log_beta: f64,
    },
    /// A feature's pattern cannot be compiled.
    #[error("a feature's pattern: {0}")]
    Pattern(#[from] regex::Error),
    /// A feature of a classifier, in a workflow that has not loaded it.
    #[error("the feature `{feature}` is a classifier's, which has not been loaded")]
    NoJudge {
        /// The feature.
        feature: String,
    },
    /// A distribution, feature or estimate failed.
    #[error(transparent)]
    Core(#[from] disco_core::Error),
    /// The target could not be fitted.
    #[error(transparent)]
    Fit(#[from] disco_ebm::Error),
    /// A divergence could not be estimated.
    #[error(transparent)]
    Divergence(#[from] disco_divergence::Error),
    /// Tuning failed.
    #[error(transparent)]
    Tune(#[from] disco_tuner::Error),
    /// Quasi-rejection sampling failed.
    #[error(transparent)]
    Reject(#[from] disco_qrs::Error),
    /// A value cannot be written as JSON.
    #[error("cannot write as JSON: {0}")]
    Json(serde_json::Error),
}

impl Error {
    /// An [`Error::File`] of reading.
    pub fn read(path: &Path, source: io::Error) -> Self {
        Self::File { action: "read", path: path.into(), source }
    }

    /// An [`Error::File`] of writing.
    pub fn write(path: &Path, source: io::Error) -> Self {
        Self::File { action: "write", path: path.into(), source }
    }

    /// An [`Error::Argument`] of a model that was not found, for the reason that `found` gives.
    pub(crate) fn argument(
        flag: &'static str,
        value: &str,
        found: Result<ModelSource, String>,
    ) -> Result<ModelSource> {
        let allowed = ModelSource::ALLOWED.into();
        found.map_err(|problem| Self::Argument { flag, problem: format!("\"{value}\" {problem}"), allowed })
    }

    /// An [`Error::Answer`].
    pub(crate) fn answer(command: &str, problem: &str) -> Self {
        Self::Answer { command: command.into(), problem: problem.into() }
    }
}
