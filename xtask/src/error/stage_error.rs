//! Why a stage of a run could not finish, though its settings are right.

use std::path::PathBuf;

use super::Error;

/// Why a stage could not finish.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StageError {
    /// This process may not take as much memory as the work needs.
    #[error(
        "{model} needs at least {} MB of memory for this, and {limit} allows {} MB",
        needed.div_ceil(1_000_000), allowed / 1_000_000
    )]
    Memory {
        /// The model.
        model: String,
        /// The smallest number of bytes that it needs.
        needed: u64,
        /// The limit.
        limit: &'static str,
        /// Its bytes.
        allowed: u64,
    },
    /// The targets cannot be had on these samples of the base.
    #[error(
        "{cause}\nThe samples of the base are kept in {}: a run with the same model, contexts, seed and `fit.samples` fits them again \
         without drawing",
        path.display()
    )]
    Unfit {
        /// Why they cannot be had.
        cause: Box<Error>,
        /// The file of the samples.
        path: PathBuf,
    },
    /// The budget of proposals was spent.
    #[error(
        "{draws} of {asked} samples were drawn, from {proposals} proposals, which are as many as were allowed: allow more with \
         `--proposals`, or propose from a policy that is nearer to the target"
    )]
    TooFew {
        /// The number of samples that were asked for.
        asked: u64,
        /// The number of samples that were drawn.
        draws: u64,
        /// The number of proposals.
        proposals: u64,
    },
    /// Exact samples were asked for, and the proposals that are allowed do not suffice for them.
    #[error(
        "exact rejection accepts {:.3e} (error {:.1e}) of the proposals of the context {context:?}: {count} samples need about {:.0}, and \
         {proposals} are allowed. Allow more with `--proposals`, or leave out `--exact`: beta is then chosen from samples, and the distance \
         from the target estimated",
        rate.value, rate.std_error, *count as f64 / rate.value
    )]
    Inexact {
        /// The context in which the fewest are accepted.
        context: String,
        /// The acceptance rate there.
        rate: disco_core::Estimate,
        /// The number of samples that were asked for in each context.
        count: u64,
        /// The largest number of proposals in each context.
        proposals: u64,
    },
    /// The same samples were given twice.
    #[error("{} and {} have the same samples, which would count twice: give them once", first.display(), second.display())]
    Twice {
        /// A file.
        first: PathBuf,
        /// A file with the same content.
        second: PathBuf,
    },
    /// Files are not the shards of one run.
    #[error("these are not all shards of one run: {reason}")]
    Shards {
        /// The problem.
        reason: String,
    },
}
