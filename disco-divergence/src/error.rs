//! What can go wrong when a divergence is named, checked or estimated.

use crate::Property;

/// A result whose error is disco-divergence's [`enum@Error`], unless another is named.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a divergence could not be made, trusted or estimated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Samples, scores or a parameter that cannot be used.
    #[error(transparent)]
    Core(#[from] disco_core::Error),
    /// No divergence has this name.
    #[error("no divergence is called `{given}`; allowed: {}", allowed.join(", "))]
    UnknownName {
        /// The name that was asked for.
        given: String,
        /// The names there are.
        allowed: &'static [&'static str],
    },
    /// A [`Divergence`](crate::Divergence) breaks what an f-divergence promises.
    #[error(
        "`{name}` is not an f-divergence in its form with f'(1) = 0: {property} at l = {l}: found {found}"
    )]
    Broken {
        /// The divergence.
        name: String,
        /// What it breaks.
        property: Property,
        /// The log-ratio `ln(pi/p)` where it does.
        l: f64,
        /// The value that gives it away.
        found: f64,
    },
    /// The ratio of two normalising constants cannot be estimated.
    #[error("the samples of target and policy do not overlap: the ratio of their Z cannot be estimated")]
    NoOverlap,
}
