//! Errors of sampling and of diagnosing samplers.

/// A result whose error is disco-qrs's [`enum@Error`], unless another is named.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a sampler stopped, or a beta could not be chosen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A parameter, a score or a model that cannot be used. Errors of disco-core, such as its `Invalid`, are in this variant.
    #[error(transparent)]
    Core(#[from] disco_core::Error),
    /// A ratio is above the bound that was said to be known: samples that rest on it are not distributed as the target.
    /// Quasi-rejection sampling without a known bound takes the same number as its beta.
    #[error(
        "proposal {proposal} of context {context} has ln(P/q) = {log_ratio}, above its known bound {log_bound}: the bound is \
         wrong"
    )]
    BoundExceeded {
        /// The position of the context.
        context: usize,
        /// The number of the proposal, from 0.
        proposal: u64,
        /// Its `ln(P/q)`.
        log_ratio: f64,
        /// The logarithm of the bound.
        log_bound: f64,
    },
    /// No beta reaches the acceptance rate: too many proposals lie outside the target's support.
    #[error("no beta has an acceptance rate of {wanted}: at most {} of the proposals can be accepted", short(*most))]
    Unreachable {
        /// The acceptance rate that was asked for.
        wanted: f64,
        /// The share of proposals with P > 0.
        most: f64,
    },
}

/// A share with few digits where it is small.
fn short(share: f64) -> String {
    if share < 1e-3 { format!("{share:.2e}") } else { share.to_string() }
}
