//! What a fit says of itself.

use std::collections::BTreeMap;

use disco_core::Estimate;
use serde::{Deserialize, Serialize};

use crate::{ConstraintKind, Termination, Warning, interval::skewed_interval};

/// How a fit went, and how far it can be trusted.
///
/// The errors of the coefficients, `ln Z` and KL say how far they are from what infinitely many samples would
/// give. The error of an achieved moment says how far the true moment of the fitted target may be from it: on
/// the fit's own samples, it is the one that was asked for. It counts both their noise and that a fit follows it, which
/// makes the true moment miss the target on average too, by up to about (number of coefficients / ESS) standard
/// deviations of the feature. [`Measured::assess`](crate::Measured::assess), on
/// other samples, gives moments, `ln Z` and KL of the fitted target without that, its coefficients taken as they
/// are.
///
/// In JSON, an infinite error or effective sample size is `null`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FitReport {
    /// One entry per constraint, in order.
    pub constraints: Vec<ConstraintReport>,
    /// The mean over contexts of `ln Z_c` (nats).
    pub log_z: Estimate,
    /// The mean over contexts of `KL(p || base) = lambda . E_p[phi] - ln Z` (nats), pointwise constraints
    /// included.
    pub kl_from_base: Estimate,
    /// Kish's effective sample size of all samples under `p`; none where sums are exact.
    pub ess: Option<f64>,
    /// The least effective sample size of a context; none where sums are exact.
    pub least_context_ess: Option<f64>,
    /// The largest share of one sample in all weight.
    pub largest_share: f64,
    /// The largest Pareto shape `k` of a context's weights ([`disco_core::ParetoTail`]): above 0.7 the errors
    /// cannot be believed. None where sums are exact, or where no context has five different large weights.
    pub largest_pareto_k: Option<f64>,
    /// Contexts that the fit is a mean over.
    pub contexts: usize,
    /// Contexts left out because no sample satisfied the pointwise constraints.
    pub contexts_left_out: usize,
    /// Samples evaluated, in all contexts.
    pub samples: usize,
    /// Samples that are possible under the base and satisfy the pointwise constraints.
    pub samples_in_support: usize,
    /// How many samples each feature or scorer could not evaluate; they are left out everywhere.
    pub skipped: BTreeMap<String, usize>,
    /// Whether sums run over all of a finite space, so that there is no sampling error.
    pub exact: bool,
    /// Newton steps.
    pub iterations: usize,
    /// Why the solver stopped.
    pub termination: Termination,
    /// The largest distance of a moment from its target, beyond tolerance and ridge, in units of the
    /// feature's standard deviation under the base.
    pub residual: f64,
    /// The check on samples kept back.
    pub held_out: HeldOut,
}

impl FitReport {
    /// Why the report's errors should not be believed too much: none, one of each kind, and of skewed moments one
    /// each. They follow from the report's own numbers, and are not saved with it.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        if !self.exact && self.largest_share > Warning::DOMINANT_SHARE {
            warnings.push(Warning::DominantWeight { share: self.largest_share });
        }
        if let Some(ess) = self.ess.filter(|ess| *ess < Warning::FEW_EFFECTIVE) {
            warnings.push(Warning::FewEffective { ess });
        }
        if let Some(k) = self.largest_pareto_k.filter(|k| *k > Warning::HEAVY_TAIL) {
            warnings.push(Warning::HeavyTail { k });
        }
        for constraint in &self.constraints {
            let moments =
                [(false, constraint.base_skewness), (true, constraint.achieved_skewness)].into_iter();
            for (achieved, skewness) in moments {
                if let Some(skewness) = skewness.filter(|skewness| skewness.abs() > Warning::SKEWED) {
                    let feature = constraint.feature.clone();
                    warnings.push(Warning::SkewedMoment { feature, achieved, skewness });
                }
            }
        }
        warnings
    }
}

/// What was asked of a feature, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ConstraintReport {
    /// The name of the feature.
    pub feature: String,
    /// What was asked, as it was applied: a moment of 0 or 1 of a binary feature is pointwise.
    pub asked: ConstraintKind,
    /// `lambda`, none for a pointwise constraint.
    pub coefficient: Option<Estimate>,
    /// The mean under the base, without any constraint.
    pub base: Estimate,
    /// The skewness of `base` as an estimate, as for `achieved`.
    #[serde(default)]
    pub base_skewness: Option<f64>,
    /// The mean under the fitted target.
    pub achieved: Estimate,
    /// The skewness of `achieved` as an estimate: `sum_x T^3 / (sum_x T^2)^(3/2)`, with `T(x) = t W(x) (phi(x) - m)`,
    /// what each sample adds to it (`W` the normalised weights in a context, `m` the moment there and `t` the context's
    /// weight; for [`ContextErrors::Drawn`](crate::ContextErrors::Drawn), what each context adds). Without unit.
    ///
    /// For n samples of equal weight it is the skewness of the feature over `sqrt(n)`; for a feature that `k` of the
    /// samples have and many do not, `1 / sqrt(k)`. An interval of 1.96 standard errors covers less than 95% by about a
    /// quarter of its square ([`Warning::SKEWED`]).
    ///
    /// None where sums are exact, nothing varies, a single point has all the weight, or cubes leave `f64`, and in files
    /// from before it was there.
    #[serde(default)]
    pub achieved_skewness: Option<f64>,
    /// The mean on samples kept back, under the target fitted to the others, where there is one.
    pub held_out: Option<Estimate>,
}

impl ConstraintReport {
    /// The interval of `z` standard errors about the mean under the base, corrected for its skewness (Hall 1992, *On
    /// the removal of skewness by transformation*): it reaches further to the side on which few samples are. `z = 1.96`
    /// for 95%. Where the skewness is 0 or not known it is [`Estimate::interval`].
    ///
    /// There is none of [`achieved`](Self::achieved), for which the correction does not hold: the fit follows its
    /// samples. Other samples have one: [`Assessment::moment_intervals`](crate::Assessment::moment_intervals).
    pub fn base_interval(&self, z: f64) -> (f64, f64) {
        skewed_interval(self.base, self.base_skewness, z)
    }
}

/// The check on samples kept back: the moments that a fit to a part of the samples has on the rest.
///
/// They miss the targets by the errors of both parts, about `sqrt(1/(1 - share) + 1/share)` times what
/// all samples would give.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum HeldOut {
    /// None was asked for, or sums are exact and there is nothing to check.
    None,
    /// The moments are in [`ConstraintReport::held_out`].
    Measured {
        /// The share of the samples that was kept back.
        share: f64,
        /// Contexts in which both parts have samples that satisfy the pointwise constraints.
        contexts: usize,
        /// The effective sample size of the samples kept back.
        ess: f64,
    },
    /// The check could not be made.
    Unavailable {
        /// Why: the error of the fit to a part of the samples.
        reason: String,
    },
}
