//! The reasons to doubt the errors of a fit.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A reason to doubt the errors of a fit: [`FitReport::warnings`](crate::FitReport::warnings).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Warning {
    /// One sample has so large a share of all weight that it decides: every error is underestimated.
    DominantWeight {
        /// The largest share.
        share: f64,
    },
    /// The effective sample size is small: the weighted samples tell as much as so few samples of the target.
    FewEffective {
        /// The effective sample size.
        ess: f64,
    },
    /// The effective sample size is small in contexts that have coefficients of their own, each of which is a fit of its own.
    FewEffectiveInContexts {
        /// The positions of the contexts.
        contexts: Vec<usize>,
        /// The least effective sample size.
        least: f64,
    },
    /// The weights have so heavy a tail that their errors mean nothing (Vehtari et al. 2024).
    HeavyTail {
        /// The Pareto shape.
        k: f64,
    },
    /// Constraints repeat each other: some follow from the others. This is no reason to doubt the fit: what follows has
    /// the coefficient 0, and the target is the same.
    Redundant {
        /// The features whose constraint follows from others.
        dropped: Vec<String>,
        /// The features from whose constraints it follows.
        others: Vec<String>,
    },
    /// A moment rests on few samples that are far from it, even if there are many others: its intervals cover less than
    /// they claim. More samples help. So does, for the moment under the base,
    /// [`ConstraintReport::base_interval`](crate::ConstraintReport::base_interval), and for the moment under the target
    /// [`Measured::assess`](crate::Measured::assess) on other samples with
    /// [`Assessment::moment_intervals`](crate::Assessment::moment_intervals).
    SkewedMoment {
        /// The name of the feature.
        feature: String,
        /// `true` for the moment under the fitted target, `false` for the moment under the base.
        achieved: bool,
        /// The skewness of the estimate.
        skewness: f64,
    },
}

impl Warning {
    /// The largest share above which there is a [`DominantWeight`](Self::DominantWeight).
    pub const DOMINANT_SHARE: f64 = 0.1;
    /// The effective sample size below which there is a [`FewEffective`](Self::FewEffective), or
    /// [`FewEffectiveInContexts`](Self::FewEffectiveInContexts).
    pub const FEW_EFFECTIVE: f64 = 100.0;
    /// The Pareto shape above which there is a [`HeavyTail`](Self::HeavyTail).
    pub const HEAVY_TAIL: f64 = 0.7;
    /// The absolute skewness of a moment's estimate above which there is a [`SkewedMoment`](Self::SkewedMoment).
    ///
    /// Of an estimate with skewness g, the interval of 1.96 estimated standard errors covers less than 95% by about
    /// `2 phi(z) z (z^4 + 2 z^2 - 3) / 18 g^2 = 0.25 g^2` at `z = 1.96`, with `phi` the normal density (the term of
    /// skewness in the second order of the Edgeworth expansion of a studentised mean: Hall 1992, *The Bootstrap and
    /// Edgeworth Expansion*; Johnson 1978): by 1% at 0.2, as for a rare feature that 25 samples have, and by 4% at 0.4.
    pub const SKEWED: f64 = 0.2;
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DominantWeight { share } => {
                write!(f, "one sample has {:.0}% of all weight: errors are underestimated", 100.0 * share)
            }
            Self::FewEffective { ess } => {
                write!(f, "the weights are worth only {ess:.1} samples of the target")
            }
            Self::FewEffectiveInContexts { contexts, least } => {
                let positions: Vec<String> = contexts.iter().map(usize::to_string).collect();
                write!(
                    f,
                    "in contexts {} the weights are worth few samples of the target (the least: {least:.1})",
                    positions.join(", ")
                )
            }
            Self::HeavyTail { k } => {
                write!(f, "the weights have a heavy tail (Pareto shape {k:.2}): errors mean nothing")
            }
            Self::Redundant { dropped, others } => {
                let list = |names: &[String]| {
                    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
                };
                write!(
                    f,
                    "constraints repeat each other: those on {} follow from those on {}, and have the coefficient 0",
                    list(dropped),
                    list(others)
                )
            }
            Self::SkewedMoment { feature, achieved, skewness } => {
                let of = if *achieved { "fitted target" } else { "base" };
                write!(
                    f,
                    "the mean of `{feature}` under the {of} rests on few samples (skewness {skewness:.2}): its \
                     interval covers less than it says"
                )
            }
        }
    }
}
