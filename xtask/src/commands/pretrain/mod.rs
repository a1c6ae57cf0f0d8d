//! `cargo xtask pretrain`: the command by which the embedded model was made.

#[cfg(feature = "lm")]
mod train;

use std::{fs, path::PathBuf};

use crate::{
    Backend, Error, Result,
    launch::{Requirements, with_language_model},
    process::model_in_workspace,
};

/// The arguments of `cargo xtask pretrain`.
#[derive(Clone, Debug, clap::Args)]
#[cfg_attr(
    not(feature = "lm"),
    allow(dead_code, reason = "a launcher only looks at the corpus and the backend")
)]
pub(crate) struct PretrainArguments {
    /// The text to learn from. Passages are separated by blank lines.
    #[arg(long)]
    corpus: PathBuf,
    /// The folder that receives the model; of `cargo xtask`, by default that of the embedded model.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Seed of the initial weights, the examples and the dropout.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Number of training steps; by default that of the embedded model.
    #[arg(long)]
    steps: Option<usize>,
    /// The backend that computes.
    #[arg(long, value_enum, default_value_t)]
    backend: Backend,
}

/// Trains a model.
///
/// # Errors
/// [`Error::File`] for the corpus, and [`Error::Argument`] for a folder that is not named, before anything is built; those of training.
#[cfg_attr(not(feature = "lm"), allow(unused_variables, reason = "a launcher trains nothing"))]
pub(crate) fn run(arguments: &PretrainArguments) -> Result<()> {
    fs::File::open(&arguments.corpus).map_err(|cause| Error::read(&arguments.corpus, cause))?;
    let folder = arguments.out.clone().or_else(model_in_workspace).ok_or_else(|| Error::Argument {
        flag: "--out",
        problem: "is missing".into(),
        allowed: "the folder that receives the model".into(),
    })?;
    with_language_model(Requirements::of(arguments.backend), || {
        #[cfg(feature = "lm")]
        train::train(arguments, &folder)?;
        Ok(())
    })
}
