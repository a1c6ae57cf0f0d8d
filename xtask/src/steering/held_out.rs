//! The tuned policy on contexts that neither fit nor tuning saw.

use std::hash::Hash;

use disco_core::{Distribution, Estimate, Sampled, Scorer};
use disco_divergence::LogZ;
use disco_ebm::Fit;

use super::{
    BaseModel, RunPlan,
    drawn::{Drawn, draw},
    moments::{ContextValues, moments},
    scored::{Scored, feature_values, log_scores, mean, score},
};
use crate::{
    Progress, Result,
    contexts::TextContext,
    features::TextSample,
    results::{HeldOutRecord, TOTAL_VARIATION},
    spec::{ContextSpec, Spec},
};

/// Measures base and policy on the held-out contexts of the spec; `None` if there are none.
///
/// # Errors
/// The errors of the policy, the base and the features.
///
/// # Cost
/// `sample.count` samples of the proposal and of the policy, each scored by the base.
pub(super) fn held_out<X: TextSample + Eq + Hash>(
    plan: &RunPlan<'_>,
    model: &BaseModel<impl Scorer<TextContext, X>, impl Distribution<TextContext, X>, X>,
    fit: &Fit<TextContext, X>,
    policy: &impl Distribution<TextContext, X>,
) -> Result<Option<HeldOutRecord>> {
    let contexts = &plan.spec.contexts.held_out;
    if contexts.is_empty() {
        return Ok(None);
    }
    let own = ContextSpec {
        items: contexts.clone(),
        weights: None,
        held_out: Vec::new(),
        ..plan.spec.contexts.clone()
    };
    let spec = Spec { contexts: own, ..plan.spec.clone() };
    let plan = plan.on(&spec);
    let count = spec.per_context(spec.sample.count);
    let mut progress = Progress::new(plan.progress, "held out", "samples", 2 * count * contexts.len());
    // Coefficients of contexts are of those that were fitted: there is no target in others.
    let has_target = spec.features.iter().all(|feature| !feature.per_context);

    let drawn =
        |samples: Vec<Vec<Sampled<X>>>| -> Vec<Drawn<X>> { samples.into_iter().map(Drawn::new).collect() };
    let mut base =
        drawn(draw(&model.proposal, contexts, 0..count, plan.seeds.base, &mut progress, |_| Ok(()))?);
    model.origin.tell_of_base(&model.base, contexts, &mut base)?;
    let of_policy = drawn(draw(policy, contexts, 0..count, plan.seeds.sample, &mut progress, |_| Ok(()))?);
    drop(progress);
    let means = |drawn: &[Drawn<X>]| -> Result<Vec<Estimate>> {
        let values = feature_values(&plan.features, contexts, drawn)?;
        Ok(moments(&plan, &ContextValues::of_drawn(&values, drawn))?.all)
    };
    let (before, tuned) = (means(&base)?, means(&of_policy)?);
    let total_variation = if has_target {
        let mut progress = Progress::new(plan.progress, "score held out", "samples", count * contexts.len());
        let log_base = log_scores(&model.base, contexts, &of_policy, &mut progress)?;
        let scored = score(contexts, of_policy, log_base, fit.tilt())?;
        let of = |scored: &Scored<X>| Ok(scored.distances_to_target(LogZ::Known(0.0))?[TOTAL_VARIATION]);
        Some(mean(&scored.iter().map(of).collect::<Result<Vec<_>>>()?, &plan.shares))
    } else {
        None
    };
    Ok(Some(HeldOutRecord { contexts: contexts.len(), base: before, tuned, total_variation }))
}
