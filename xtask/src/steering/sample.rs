//! Stage "sample": samples of the tuned policy, scored under base and target.

use disco_core::{Distribution, Estimate};
use disco_divergence::LogZ;
use disco_ebm::Fit;

use super::{
    RunPlan,
    scored::{Scored, Values, draw, feature_means, feature_values, is_skipped, mean, means, records, score},
};
use crate::{Progress, Result, contexts::TextContext, features::TextSample, results::PolicyRecord};

/// Samples of the tuned policy.
#[derive(Clone, Debug)]
pub struct PolicySamples<X> {
    /// The samples with their scores, by context.
    pub scored: Vec<Scored<X>>,
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
pub fn sample<X: TextSample>(
    plan: &RunPlan<'_>,
    base: &impl Distribution<TextContext, X>,
    fit: &Fit<TextContext, X>,
    policy: &impl Distribution<TextContext, X>,
) -> Result<PolicySamples<X>> {
    let contexts = &plan.spec.contexts.items;
    let count = plan.spec.per_context(plan.spec.sample.count);
    let mut progress = Progress::new(plan.progress, "sample", "samples", count * contexts.len());
    let drawn = draw(policy, contexts, count, plan.seeds.sample, &mut progress)?;
    drop(progress);
    let mut progress = Progress::new(plan.progress, "score", "samples", count * contexts.len());
    let of_base = |context: &TextContext, samples: &[&X], _: &[f64]| base.log_probs(context, samples);
    let scored = score(contexts, drawn, of_base, fit.tilt(), &mut progress)?;
    drop(progress);

    let distances: Vec<Vec<Estimate>> =
        scored.iter().map(Scored::distances_to_target).collect::<Result<_>>()?;
    let kl = |scored: &Scored<X>| scored.kl_to_base(&scored.log_prob, LogZ::Known(0.0));
    let kl_from_base = mean(&scored.iter().map(kl).collect::<Result<Vec<_>>>()?, &plan.shares);
    let pairs: Vec<Vec<(&X, f64)>> = scored.iter().map(Scored::pairs).collect();
    let values = feature_values(&plan.features, contexts, &pairs)?;
    let rows: Vec<Vec<&Values>> = values.iter().map(|rows| rows.iter().collect()).collect();
    let record = PolicyRecord {
        means: feature_means(plan.features.len(), &rows, &plan.shares),
        distances: means(&distances, &plan.shares),
        kl_from_base,
        skipped: values.iter().flatten().filter(|values| is_skipped(values)).count(),
        samples: records(contexts, &pairs, &values),
    };
    Ok(PolicySamples { scored, record })
}
