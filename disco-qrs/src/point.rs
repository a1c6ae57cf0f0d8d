//! The diagnostics at one beta, and warnings about the weights as a whole.

use std::{fmt, mem};

use disco_core::{Error, Estimate};
use serde::{Deserialize, Serialize};

use crate::Result;

/// Fidelity and efficiency of quasi-rejection sampling at one beta.
///
/// Each estimate has its standard error; [`Estimate::interval`] gives an interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Point {
    /// `ln beta`; the mean where contexts have their own.
    pub log_beta: f64,
    /// The acceptance rate `Z_beta / beta`.
    pub acceptance_rate: Estimate,
    /// `ln Z_beta`, `Z_beta = sum_x min(P(x), beta q(x))` (nats).
    pub log_z_beta: Estimate,
    /// The total variation between `p` and `p_beta`.
    pub total_variation: Estimate,
    /// KL(p||p_beta) (nats): the forward KL, with `p_beta` as the policy.
    pub forward_kl: Estimate,
    /// KL(p_beta||p) (nats).
    pub reverse_kl: Estimate,
    /// The Jensen-Shannon divergence of `p` and `p_beta` (nats, weights of one half).
    pub jensen_shannon: Estimate,
    /// The mean of each feature under `p_beta`, in the order in which they were added.
    pub features: Vec<Estimate>,
    /// The number of proposals with a ratio above beta: all divergences rest on them.
    pub above: usize,
    /// With 95% confidence, at most this share of all proposals has a ratio above beta (Clopper and Pearson
    /// 1934); about 3/n where no proposal of n has. Exact where the whole space was given.
    pub above_at_most: f64,
    /// With 95% confidence, at most this share of all proposals has a ratio below beta, P = 0 included (Clopper and
    /// Pearson 1934); about 3/n where none of n has. Proposals not below beta are always accepted, so that the
    /// acceptance rate falls short of 1, and `Z_beta` of beta, by at most this share: a bound where no proposal is
    /// below beta, where the standard error of 0 tells nothing. Exact where the whole space was given; 1, which
    /// bounds nothing, in files that were written before this field existed.
    #[serde(default = "anything")]
    pub below_at_most: f64,
    /// Whether beta is at least a known bound of P/q ([`Ratios::with_bound`](crate::Ratios::with_bound)), in every context:
    /// `p_beta` is the target, and all divergences are 0 without error. `false` in files that were written before this field
    /// existed.
    #[serde(default)]
    pub certified: bool,
    /// The reasons to doubt the estimates at this beta.
    pub warnings: Vec<Warning>,
}

impl Point {
    /// The mean over contexts of their own diagnostics, each context with the same weight.
    ///
    /// Errors refer to the mean over *these* contexts: they do not include the spread between contexts.
    /// `above` is the sum, `above_at_most` and `below_at_most` are the means of the bounds; of each kind of warning,
    /// the worst remains.
    ///
    /// # Errors
    /// [`Error::Empty`]; [`Error::Length`] where the numbers of features differ.
    pub fn mean(points: &[Self]) -> Result<Self> {
        let Some(first) = points.first() else {
            return Err(Error::Empty { what: "diagnostics to average".into() }.into());
        };
        for point in points {
            Error::check_length("features in each context", first.features.len(), point.features.len())?;
        }
        let mean = |of: fn(&Self) -> Estimate| mean_of(points.iter().map(of));
        let features = (0..first.features.len())
            .map(|feature| mean_of(points.iter().map(|point| point.features[feature])))
            .collect();
        let warnings = Warning::worst(points.iter().flat_map(|point| &point.warnings));
        let count = points.len() as f64;
        Ok(Self {
            log_beta: points.iter().map(|point| point.log_beta).sum::<f64>() / count,
            acceptance_rate: mean(|point| point.acceptance_rate),
            log_z_beta: mean(|point| point.log_z_beta),
            total_variation: mean(|point| point.total_variation),
            forward_kl: mean(|point| point.forward_kl),
            reverse_kl: mean(|point| point.reverse_kl),
            jensen_shannon: mean(|point| point.jensen_shannon),
            features,
            above: points.iter().map(|point| point.above).sum(),
            above_at_most: points.iter().map(|point| point.above_at_most).sum::<f64>() / count,
            below_at_most: points.iter().map(|point| point.below_at_most).sum::<f64>() / count,
            certified: points.iter().all(|point| point.certified),
            warnings,
        })
    }
}

/// The bound of 1, which holds for every share.
fn anything() -> f64 {
    1.0
}

/// The mean of independent estimates; the effective sizes add up.
pub(crate) fn mean_of(estimates: impl ExactSizeIterator<Item = Estimate>) -> Estimate {
    let count = estimates.len() as f64;
    let (mut value, mut variance, mut ess) = (0.0, 0.0, 0.0);
    for estimate in estimates {
        value += estimate.value;
        variance += estimate.std_error.powi(2);
        ess += estimate.ess;
    }
    Estimate { value: value / count, std_error: variance.sqrt() / count, ess }
}

/// A reason to doubt estimates from these proposals.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Warning {
    /// One weight is so large a share of all that its proposal decides: every error is underestimated.
    DominantWeight {
        /// The largest weight's share.
        share: f64,
    },
    /// The effective sample size is small: the weighted proposals tell as much as so few samples of the target.
    FewEffective {
        /// The effective sample size.
        ess: f64,
    },
    /// Few proposals lie above beta, so that the errors of the divergences are rough.
    FewAbove {
        /// The number of such proposals.
        above: usize,
    },
    /// No proposal lies above beta: every divergence is 0 as far as these proposals show, and its error is
    /// unknown.
    NoneAbove,
    /// Few proposals lie below beta, those with P = 0 included, so that the errors of the acceptance rate and of
    /// `Z_beta` are rough: the distance of the rate from 1 is a sum over so few.
    FewBelow {
        /// The number of such proposals.
        below: usize,
    },
    /// No proposal lies below beta: the acceptance rate is 1 as far as these proposals show. Its error, and the
    /// error of `Z_beta`, show as 0 and are unknown; [`Point::below_at_most`] bounds it.
    NoneBelow,
    /// All ratios are equal: the target is the proposal as far as these proposals show. Every error, except for
    /// features, shows as 0 and is unknown.
    EqualRatios,
}

impl Warning {
    /// The largest weight's share above which there is a [`DominantWeight`](Self::DominantWeight).
    pub const DOMINANT_SHARE: f64 = 0.1;
    /// The effective sample size below which there is a [`FewEffective`](Self::FewEffective).
    pub const FEW_EFFECTIVE: f64 = 100.0;
    /// With fewer proposals above beta than this, but not none, there is a [`FewAbove`](Self::FewAbove).
    pub const FEW_ABOVE: usize = 10;
    /// With fewer proposals below beta than this, but not none, there is a [`FewBelow`](Self::FewBelow).
    pub const FEW_BELOW: usize = 10;
    /// The largest difference of `ln(P/q)` (nats) that counts as [`EqualRatios`](Self::EqualRatios): rounding alone stays below it.
    pub const EQUAL_RATIOS: f64 = 1e-9;

    /// The severity among warnings of one kind: the larger, the worse.
    fn severity(self) -> f64 {
        match self {
            Self::DominantWeight { share } => share,
            Self::FewEffective { ess } => -ess,
            Self::FewAbove { above: few } | Self::FewBelow { below: few } => -(few as f64),
            Self::NoneAbove | Self::NoneBelow | Self::EqualRatios => 0.0,
        }
    }

    /// The worst warning of each kind, in the order in which the kinds first occur.
    pub fn worst<'a>(warnings: impl Iterator<Item = &'a Self>) -> Vec<Self> {
        let mut worst: Vec<Self> = Vec::new();
        for &warning in warnings {
            match worst.iter_mut().find(|other| mem::discriminant(*other) == mem::discriminant(&warning)) {
                Some(other) if warning.severity() > other.severity() => *other = warning,
                Some(_) => {}
                None => worst.push(warning),
            }
        }
        worst
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DominantWeight { share } => {
                write!(
                    f,
                    "one proposal has {:.0}% of all importance weight: errors are underestimated",
                    100.0 * share
                )
            }
            Self::FewEffective { ess } => {
                write!(f, "the weights are worth only {ess:.1} samples of the target")
            }
            Self::FewAbove { above } => write!(f, "only {above} proposals have a ratio above beta"),
            Self::NoneAbove => f.write_str("no proposal has a ratio above beta: divergences show as 0"),
            Self::FewBelow { below } => {
                write!(
                    f,
                    "only {below} proposals have a ratio below beta: what the acceptance rate lacks to 1 is rough"
                )
            }
            Self::NoneBelow => {
                f.write_str("no proposal has a ratio below beta: the acceptance rate shows as 1")
            }
            Self::EqualRatios => f.write_str("all proposals have the same ratio: errors show as 0"),
        }
    }
}
