//! Errors of naming, checking and estimating divergences.

use crate::Property;

/// A result whose error is disco-divergence's [`enum@Error`], unless another is named.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a divergence could not be made, trusted or estimated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Samples, scores or a parameter that cannot be used. Errors of disco-core, such as its `Invalid`, are in this variant.
    #[error(transparent)]
    Core(#[from] disco_core::Error),
    /// No divergence has this name.
    #[error("no divergence is called `{given}`; allowed: {}", allowed.join(", "))]
    UnknownName {
        /// The name that was asked for.
        given: String,
        /// The known names.
        allowed: &'static [&'static str],
    },
    /// A [`Divergence`](crate::Divergence) lacks a property of f-divergences.
    #[error(
        "`{name}` is not an f-divergence in its form with f'(1) = 0: {property} at l = {l}: found {found}"
    )]
    Broken {
        /// The divergence.
        name: String,
        /// The property it lacks.
        property: Property,
        /// The log-ratio `ln(pi/p)` at which it fails.
        l: f64,
        /// The value found there.
        found: f64,
    },
    /// The samples of target and policy do not overlap, so that the ratio of their normalising constants cannot be estimated.
    #[error("the samples of target and policy do not overlap: the ratio of their Z cannot be estimated")]
    NoOverlap,
}
