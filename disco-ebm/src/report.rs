//! The report of a fit.

use std::collections::BTreeMap;

use disco_core::Estimate;
use serde::{Deserialize, Serialize};

use crate::{
    CategoryReport, ConstraintKind, ContextReport, Redundant, Termination, Warning, interval::skewed_interval,
};

/// The results of a fit, with their errors and diagnostics.
///
/// The standard errors of the coefficients, `ln Z` and KL refer to their values for infinitely many samples. The error
/// of an achieved moment refers to the true moment of the fitted target: on the fit's own samples the moment is always
/// the one that was asked for. It includes sampling noise and overfitting, which makes the true moment miss the target
/// on average, by up to about (number of coefficients / ESS) standard deviations of the feature.
/// [`Measured::assess`](crate::Measured::assess) on other samples gives moments, `ln Z` and KL of the fitted target
/// without overfitting, for fixed coefficients.
///
/// In JSON, an infinite error or effective sample size is `null`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FitReport {
    /// One entry per constraint, in order.
    pub constraints: Vec<ConstraintReport>,
    /// The mean over contexts of `ln Z_c` (nats), of the factor as it is: with its [shifts](crate::Tilt::shifts).
    pub log_z: Estimate,
    /// The mean over contexts of `KL(p || base) = lambda . E_p[phi] - ln Z` (nats), pointwise constraints
    /// included.
    pub kl_from_base: Estimate,
    /// Kish's effective sample size of all samples under `p`; `None` where sums are exact.
    pub ess: Option<f64>,
    /// The least effective sample size of a context; `None` where sums are exact.
    pub least_context_ess: Option<f64>,
    /// The largest share that one sample has of the weight of all samples.
    pub largest_share: f64,
    /// The largest Pareto shape `k` of a context's weights ([`disco_core::ParetoTail`]): above 0.7 the errors
    /// are not reliable. `None` where sums are exact, or where no context has five different large weights.
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
    /// Whether sums run over a whole finite space, so that there is no sampling error.
    pub exact: bool,
    /// Newton steps.
    pub iterations: usize,
    /// Why the solver stopped.
    pub termination: Termination,
    /// The largest distance of a moment from its target, beyond tolerance and ridge, in units of the
    /// feature's standard deviation under the target.
    pub residual: f64,
    /// The features whose constraint follows from those on other features: their coefficient is 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redundant: Vec<Redundant>,
    /// The check on held-out samples.
    pub held_out: HeldOut,
    /// One entry per context that was fitted, in order; empty in files that were written before this field existed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_context: Vec<ContextReport>,
    /// One entry per category that the constraints ask the shares of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<CategoryReport>,
}

impl FitReport {
    /// The reasons to doubt the report's errors: at most one of each kind, and one per skewed moment. They follow from
    /// the report's own numbers, and are not saved with it.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        if !self.exact && self.largest_share > Warning::DOMINANT_SHARE {
            warnings.push(Warning::DominantWeight { share: self.largest_share });
        }
        if let Some(ess) = self.ess.filter(|ess| *ess < Warning::FEW_EFFECTIVE) {
            warnings.push(Warning::FewEffective { ess });
        }
        let own = |one: &ConstraintReport| matches!(one.asked, ConstraintKind::PerContext { .. });
        if self.constraints.iter().any(own) {
            let few = |context: &&ContextReport| context.ess.is_some_and(|ess| ess < Warning::FEW_EFFECTIVE);
            let few: Vec<&ContextReport> = self.by_context.iter().filter(few).collect();
            if !few.is_empty() {
                let least = few.iter().filter_map(|context| context.ess).fold(f64::INFINITY, f64::min);
                let contexts = few.iter().map(|context| context.context).collect();
                warnings.push(Warning::FewEffectiveInContexts { contexts, least });
            }
        }
        if let Some(k) = self.largest_pareto_k.filter(|k| *k > Warning::HEAVY_TAIL) {
            warnings.push(Warning::HeavyTail { k });
        }
        let redundant: Vec<&Redundant> =
            self.redundant.iter().filter(|one| !self.is_of_one_category(one)).collect();
        if !redundant.is_empty() {
            let dropped: Vec<String> = redundant.iter().map(|one| one.feature.clone()).collect();
            let follows = |name: &String| dropped.contains(name);
            let mut others: Vec<String> = Vec::new();
            for (name, _) in redundant.iter().flat_map(|one| &one.equals) {
                if !follows(name) && !others.contains(name) {
                    others.push(name.clone());
                }
            }
            warnings.push(Warning::Redundant { dropped, others });
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

    /// Whether a share follows from the other shares of its category, as one always does.
    fn is_of_one_category(&self, redundant: &Redundant) -> bool {
        let category = |name: &str| {
            let found = self.constraints.iter().find(|one| one.feature == name);
            found.and_then(|one| one.category.as_deref())
        };
        let own = category(&redundant.feature);
        own.is_some() && redundant.equals.iter().all(|(name, _)| category(name) == own)
    }
}

/// One constraint in a report: the target, the coefficient and the moments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ConstraintReport {
    /// The name of the feature.
    pub feature: String,
    /// The constraint as it was applied: a moment of 0 or 1 of a binary feature is pointwise.
    pub asked: ConstraintKind,
    /// `lambda`; `None` for a pointwise constraint, and for one that has a coefficient [per
    /// context](FitReport::by_context). A fixed coefficient has no error.
    pub coefficient: Option<Estimate>,
    /// The category whose label the constraint is on, if it is on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// The mean under the base, without any constraint. Of a conditional mean this and the following are the ratio `E[g phi]
    /// / E[g]`, with errors by the delta method.
    pub base: Estimate,
    /// The skewness of `base` as an estimate, as for `achieved`.
    #[serde(default)]
    pub base_skewness: Option<f64>,
    /// The mean under the fitted target.
    pub achieved: Estimate,
    /// The skewness of `achieved` as an estimate: `sum_x T^3 / (sum_x T^2)^(3/2)`, with `T(x) = t W(x) (phi(x) - m)`,
    /// the contribution of each sample (`W` the normalised weights in a context, `m` the moment there and `t` the
    /// context's weight; for [`ContextErrors::Drawn`](crate::ContextErrors::Drawn), the contribution of each context).
    /// Without unit.
    ///
    /// For n samples of equal weight it is the skewness of the feature over `sqrt(n)`; for a feature that `k` of the
    /// samples have and many do not, `1 / sqrt(k)`. An interval of 1.96 standard errors covers less than 95% by about a
    /// quarter of its square ([`Warning::SKEWED`]).
    ///
    /// `None` where sums are exact, nothing varies, a single point has all the weight, or cubes leave `f64`, and in
    /// files that were written before this field existed.
    #[serde(default)]
    pub achieved_skewness: Option<f64>,
    /// The mean on held-out samples, under the target fitted to the others; `None` without such a check.
    pub held_out: Option<Estimate>,
}

impl ConstraintReport {
    /// The interval of `z` standard errors about the mean under the base, corrected for its skewness (Hall 1992, *On
    /// the removal of skewness by transformation*): it reaches further to the side with few samples. `z = 1.96`
    /// for 95%. Where the skewness is 0 or unknown, it is [`Estimate::interval`].
    ///
    /// [`achieved`](Self::achieved) has no such interval: the fit follows its samples, so that the correction does not
    /// hold. Use [`Assessment::moment_intervals`](crate::Assessment::moment_intervals) on other samples.
    pub fn base_interval(&self, z: f64) -> (f64, f64) {
        skewed_interval(self.base, self.base_skewness, z)
    }
}

/// The check on held-out samples: the moments that a fit to the other samples has on them.
///
/// They miss the targets by the errors of both splits, about `sqrt(1/(1 - share) + 1/share)` times the error of a
/// fit to all samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum HeldOut {
    /// No check was asked for, or sums are exact and there is nothing to check.
    None,
    /// The moments are in [`ConstraintReport::held_out`].
    Measured {
        /// The share of the samples that was held out.
        share: f64,
        /// Contexts in which both splits have samples that satisfy the pointwise constraints.
        contexts: usize,
        /// The effective sample size of the held-out samples.
        ess: f64,
    },
    /// The check could not be made.
    Unavailable {
        /// The error of the fit to the other samples.
        reason: String,
    },
}
