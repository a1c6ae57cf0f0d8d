//! The samples of a target that are asked for.

use crate::Shard;

/// A way to turn proposals into samples of a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SamplerKind {
    /// Quasi-rejection sampling, whose distance from the target is estimated; it is rejection sampling where a bound of the ratios is
    /// known.
    #[default]
    Rejection,
    /// Sampling-importance-resampling: one of each 100 proposals.
    Sir,
    /// A Metropolis-Hastings chain with independent proposals.
    Imh,
}

/// The samples that are asked for.
#[cfg_attr(not(feature = "lm"), allow(dead_code, reason = "samples are drawn by a language model"))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accept {
    pub(crate) sampler: SamplerKind,
    /// Their number in each context.
    pub(crate) count: u64,
    /// The largest number of proposals in each context.
    pub(crate) proposals: u64,
    /// Whether the policy is the base, so that a known bound of the target's factor is one of the ratios.
    pub(crate) is_base: bool,
    /// Whether nothing but samples of the target itself will do.
    pub(crate) exact: bool,
    /// The part of the samples.
    pub(crate) shard: Shard,
}
