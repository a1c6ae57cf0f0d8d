//! Why a command or workflow could not finish.

mod constructors;
mod spec_problem;
mod stage_error;
#[cfg(test)]
mod tests;

use std::{io, path::PathBuf};

pub use spec_problem::{Problem, SpecError};
pub use stage_error::StageError;

/// A result whose error is xtask's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a command or workflow could not finish.
///
/// Each message is complete: it contains the message of its cause, which is therefore not returned by
/// [`source`](std::error::Error::source) as well. The variants that wrap an error of another disco crate show that error as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A command could not be started.
    #[error("`{command}` could not be started: {cause}")]
    Start {
        /// The command.
        command: String,
        /// Why.
        cause: io::Error,
    },
    /// A command ended with another code than 0.
    #[error("`{command}` failed{}", code.map_or(" by a signal".into(), |code| format!(" with exit code {code}")))]
    Failed {
        /// The command.
        command: String,
        /// Its exit code; `None` if a signal ended it.
        code: Option<i32>,
    },
    /// A command did not answer as it is documented to.
    #[error("`{command}` gave no usable answer: {problem}")]
    Answer {
        /// The command.
        command: String,
        /// The problem with its answer.
        problem: String,
    },
    /// An argument of the command line has a value that is not allowed.
    #[error("`{flag}` {problem}; allowed: {allowed}")]
    Argument {
        /// The argument.
        flag: &'static str,
        /// Its value and the problem with it.
        problem: String,
        /// The values that are allowed.
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
        /// The places that were searched, and the problem with each.
        tried: String,
    },
    /// The program `disco` was built without something that the work needs.
    #[error(
        "this program was built without {}. From a checkout of disco, `cargo install --path xtask --bin disco --locked --features {}` installs one \
         that has it, and so does `pip install ./xtask --config-settings=build-args=--features={}`; `disco doctor` says what this one has",
        missing.join(" and "), missing.join(","), missing.join(",")
    )]
    Uncompiled {
        /// The Cargo features that it would need.
        missing: Vec<&'static str>,
    },
    /// The Python environment of torch and transformers could not be made.
    #[error(
        "{needed}: {cause}. To use a Python that has torch and transformers already, set DISCO_HF_PYTHON to it"
    )]
    Python {
        /// The requirement that is not met.
        needed: &'static str,
        /// The command that failed.
        cause: Box<Error>,
    },
    /// A step of `cargo xtask ci` failed.
    #[error("ci step `{step}` failed: {cause}")]
    Step {
        /// The step.
        step: String,
        /// Why.
        cause: Box<Error>,
    },
    /// The demo did not reach the means that its spec asks for.
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
    #[error("cannot {action} {}: {cause}", path.display())]
    File {
        /// The attempted action: "read" or "write".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        cause: io::Error,
    },
    /// The output folder holds something that is not the results of a run.
    #[error("{} is no folder of earlier results ({found}): name another one, or move it away", path.display())]
    Occupied {
        /// The folder.
        path: PathBuf,
        /// Something that is not of earlier results.
        found: String,
    },
    /// The folder of checkpoints holds something that no run wrote.
    #[error("{} holds what no run of this program wrote ({found}): move it away", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// The entry, and the problem with it.
        found: String,
    },
    /// The record of a run cannot be read from a folder.
    #[error("{} has no record of a run that can be shown: {problem}", path.display())]
    Record {
        /// The folder.
        path: PathBuf,
        /// The problem with it.
        problem: String,
    },
    /// Results cannot go to this place.
    #[error("results cannot go to {}: {reason}", path.display())]
    Place {
        /// The place.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Another run writes to the same place.
    #[error("{} is in use by {holder}: wait until that run has ended, or name another place with `--out`", path.display())]
    InUse {
        /// The place.
        path: PathBuf,
        /// The process of that run.
        holder: String,
    },
    /// The run is finished, and its results are not where they were to be.
    #[error(
        "{} was not replaced, because it holds what this run did not find there at its beginning ({found}); the finished \
         results are in {}",
        place.display(), results.display()
    )]
    KeptBeside {
        /// The results.
        results: PathBuf,
        /// The place that they were to have.
        place: PathBuf,
        /// The problem with what is there.
        found: String,
    },
    /// The reader of standard output has closed it. The command ends quietly.
    #[error("standard output is closed")]
    OutputClosed,
    /// Checkpoints of a run that was interrupted are in the way.
    #[error(
        "{} holds the checkpoints of a run that was interrupted: `--resume` continues from them, `--restart` removes them",
        path.display()
    )]
    Unfinished {
        /// Their folder.
        path: PathBuf,
    },
    /// The run was interrupted.
    #[error(
        "interrupted after step {step} of {steps}; the checkpoint is in {}: the same command with `--resume` continues from it",
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
    /// The server cannot listen.
    #[error("cannot serve at {address}: {cause}")]
    Serve {
        /// Its address.
        address: String,
        /// Why.
        cause: io::Error,
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
    /// Quasi-rejection sampling accepted nothing.
    #[error(
        "none of {proposals} proposals was accepted at ln beta = {log_beta:.4}: ask for a {advice}, or draw more with \
         `sample.proposals`"
    )]
    NothingAccepted {
        /// How many proposals there were.
        proposals: u64,
        /// `ln beta`.
        log_beta: f64,
        /// A setting that accepts more.
        advice: &'static str,
    },
    /// The mean that is asked of a feature is above every value that it can have in samples of the model.
    #[error(
        "`{feature}` is to have the mean {mean}, but its largest value in {tokens} tokens (max_new_tokens) is {most}"
    )]
    OutOfReach {
        /// The feature.
        feature: String,
        /// Its mean.
        mean: f64,
        /// An upper bound of its values.
        most: usize,
        /// The number of tokens that a sample can have.
        tokens: usize,
    },
    /// The `log_beta` of a spec is so large that no policy would have a proposal accepted. It is found when the target is fitted.
    #[error(
        "`sample.log_beta` is {log_beta}: at this ln beta not even one of {proposals} proposals would be accepted, whatever the \
         policy; allowed: at most {most:.3} by the fitted target, or a goal in its place (acceptance_rate, total_variation)"
    )]
    BetaTooLarge {
        /// `ln beta`.
        log_beta: f64,
        /// The number of proposals that the spec asks for.
        proposals: usize,
        /// The largest `ln beta` at which one proposal can be expected to be accepted.
        most: f64,
    },
    /// A feature's pattern cannot be compiled.
    #[error("a feature's pattern: {0}")]
    Pattern(regex::Error),
    /// The values of a feature come from a text scorer, such as a classifier, and this workflow was given none for it.
    #[error(
        "the feature `{feature}` needs a text scorer (its classifier, program or server), and the workflow was given none of that name"
    )]
    NoTextScorer {
        /// The feature.
        feature: String,
    },
    /// A program or server that gives the values of features failed.
    #[error("the scorer `{scorer}`: {problem}")]
    Scorer {
        /// The command, or the address of the server.
        scorer: String,
        /// The problem, with the batch and the sample where there is one.
        problem: String,
    },
    /// A server that runs the model cannot be used, or failed.
    #[error("the server {server}: {problem}")]
    Server {
        /// Its address.
        server: String,
        /// The problem.
        problem: String,
    },
    /// A feature is made of other features that cannot be found.
    #[error("the feature `{feature}` cannot be made of other features: {problem}")]
    Parts {
        /// The feature.
        feature: String,
        /// The problem.
        problem: String,
    },
    /// A stage could not finish.
    #[error(transparent)]
    Stage(#[from] StageError),
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
