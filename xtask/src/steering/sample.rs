//! Stage "sample": samples of the tuned policy, scored under base and target.

use std::hash::Hash;

use disco_core::{Distribution, Estimate, Scorer};
use disco_divergence::LogZ;
use disco_ebm::Fit;

use super::{
    BaseModel, RunPlan,
    categories::category_distances,
    moments::{ContextValues, moments},
    scored::{Scored, Values, feature_values, is_skipped, log_scores, mean, means, records, score},
};
use crate::{Progress, Result, contexts::TextContext, features::TextSample, results::PolicyRecord};

/// Samples of the tuned policy.
#[derive(Clone, Debug)]
pub struct PolicySamples<X> {
    /// The samples with their scores, by context.
    pub scored: Vec<Scored<X>>,
    /// The values of all measures for these samples.
    pub(super) values: Vec<Vec<Values>>,
    /// This stage's part of the record.
    pub record: PolicyRecord,
}

/// Draws `sample.count` samples of the tuned policy, and scores them under base and target.
///
/// # Errors
/// The errors of the policy, the base and the features.
///
/// # Cost
/// `sample.count` samples of the policy, scored by the base; text scorers score each sample twice.
pub fn sample<X: TextSample + Eq + Hash>(
    plan: &RunPlan<'_>,
    model: &BaseModel<impl Scorer<TextContext, X>, impl Distribution<TextContext, X>, X>,
    fit: &Fit<TextContext, X>,
    policy: &impl Distribution<TextContext, X>,
) -> Result<PolicySamples<X>> {
    let BaseModel { base, origin, .. } = model;
    let contexts = &plan.spec.contexts.items;
    let count = plan.spec.per_context(plan.spec.sample.count);
    let mut progress = Progress::new(plan.progress, "sample", "samples", count * contexts.len());
    let drawn = origin.samples(policy, contexts, 0..count, plan.seeds.sample, &mut progress)?;
    drop(progress);
    let mut progress = Progress::new(plan.progress, "score", "samples", count * contexts.len());
    let log_base = log_scores(base, contexts, &drawn, &mut progress)?;
    drop(progress);
    let scored = score(contexts, drawn, log_base, fit.tilt())?;

    let distances: Vec<Vec<Estimate>> =
        scored.iter().map(|scored| scored.distances_to_target(LogZ::Known(0.0))).collect::<Result<_>>()?;
    let kl = |scored: &Scored<X>| scored.kl_to_base(&scored.drawn.log_policy, LogZ::Known(0.0));
    let kl_from_base = mean(&scored.iter().map(kl).collect::<Result<Vec<_>>>()?, &plan.shares);
    let drawn = || scored.iter().map(|scored| &scored.drawn);
    let values = feature_values(&plan.features, contexts, drawn())?;
    let counted = ContextValues::of_drawn(&values, drawn());
    let moments = moments(plan, &counted)?;
    let record = PolicyRecord {
        means: moments.all,
        by_context: moments.by_context,
        categories: category_distances(plan, &counted)?,
        distances: means(&distances, &plan.shares),
        kl_from_base,
        skipped: values.iter().flatten().filter(|values| is_skipped(values)).count(),
        samples: records(contexts, drawn(), &values),
    };
    Ok(PolicySamples { scored, values, record })
}
