//! The tuned policy on contexts that neither fit nor tuning saw.

use std::hash::Hash;

use disco_core::{Distribution, Estimate, Scorer};
use disco_divergence::LogZ;
use disco_ebm::Fit;

use super::{
    BaseModel, RunPlan,
    drawn::{Drawn, draw},
    moments::{ContextValues, moments},
    scored::{Scored, feature_values, log_scores, mean, score},
};
use crate::{
    Progress, ProgressTarget, Result,
    contexts::TextContext,
    features::TextSample,
    results::HeldOutRecord,
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

    let base = draw(&model.proposal, contexts, count, plan.seeds.base, &mut progress)?;
    let base: Vec<Drawn<X>> = base.into_iter().map(Drawn::new).collect();
    let of_policy = draw(policy, contexts, count, plan.seeds.sample, &mut progress)?;
    drop(progress);
    let of_policy: Vec<Drawn<X>> = of_policy.into_iter().map(Drawn::new).collect();
    let means = |drawn: &[Drawn<X>],
                 weights: &dyn Fn(usize) -> Result<Option<Vec<f64>>>|
     -> Result<Vec<Estimate>> {
        let pairs = |drawn: &'_ Drawn<X>| drawn.samples.iter().map(|sample| (sample.clone(), 0.0)).collect();
        let owned: Vec<Vec<(X, f64)>> = drawn.iter().map(pairs).collect();
        let pairs: Vec<Vec<(&X, f64)>> =
            owned.iter().map(|own| own.iter().map(|(sample, zero)| (sample, *zero)).collect()).collect();
        let values = feature_values(&plan.features, contexts, &pairs)?;
        let counted: Vec<ContextValues<'_>> = values
            .iter()
            .enumerate()
            .map(|(context, rows)| {
                Ok(ContextValues {
                    rows: rows.iter().collect(),
                    log_weights: weights(context)?,
                    exact: false,
                })
            })
            .collect::<Result<_>>()?;
        Ok(moments(&plan, &counted)?.all)
    };
    let of_base = |context: usize| -> Result<Option<Vec<f64>>> {
        let drawn = &base[context];
        let log_base = model.origin.log_base(&model.base, &contexts[context], drawn)?;
        let weights: Vec<f64> =
            log_base.iter().zip(&drawn.log_proposal).map(|(base, own)| base - own).collect();
        Ok(weights.iter().any(|weight| *weight != 0.0).then_some(weights))
    };
    let total_variation = match has_target {
        false => None,
        true => {
            let scores = |context: &TextContext, drawn: &Drawn<X>| {
                Ok(log_scores(&model.base, context, &drawn.samples.iter().collect::<Vec<_>>())?)
            };
            let mut hidden = Progress::new(ProgressTarget::Hidden, "", "", 0);
            let scored: Vec<Scored<X>> = score(contexts, of_policy.clone(), scores, fit.tilt(), &mut hidden)?;
            let of = |scored: &Scored<X>| Ok(scored.distances_to_target(LogZ::Known(0.0))?[2]);
            Some(mean(&scored.iter().map(of).collect::<Result<Vec<_>>>()?, &plan.shares))
        }
    };
    Ok(Some(HeldOutRecord {
        contexts: contexts.len(),
        base: means(&base, &of_base)?,
        tuned: means(&of_policy, &|_| Ok(None))?,
        total_variation,
    }))
}
