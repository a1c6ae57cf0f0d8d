//! The stage "diagnose": how far samples are from a target.

use disco_core::{Estimate, ImportanceWeights};
use disco_divergence::LogZ;
use disco_ebm::Tilt;

use super::{
    RunPlan,
    betas::Betas,
    drawn::Drawn,
    moments::{ContextValues, moments},
    scored::{Scored, feature_values, mean, means, score},
};
use crate::{
    Result,
    contexts::TextContext,
    features::TextSample,
    results::{
        DISTANCES, DiagnosedContext, DiagnosedDistance, DiagnosedFeature, Diagnosis, HeavySample,
        TOTAL_VARIATION,
    },
};

/// The number of heaviest samples that are told.
const HEAVIEST: usize = 10;

/// Samples of each context with their log-scores under the base.
pub(crate) struct SampledSet<X> {
    pub(crate) name: String,
    pub(crate) drawn: Vec<Drawn<X>>,
    pub(crate) log_base: Vec<Vec<f64>>,
}

/// Diagnoses samples of a normalised distribution, such as a base or a policy, beside a target.
///
/// # Errors
/// The errors of the features; [`disco_core::Error::ZeroWeights`] in a context in which all samples are forbidden.
///
/// # Cost
/// Each feature is computed twice for each sample.
pub(crate) fn diagnose<X: TextSample>(
    plan: &RunPlan<'_>,
    tilt: &Tilt<TextContext, X>,
    set: SampledSet<X>,
) -> Result<Diagnosis> {
    let contexts = &plan.spec.contexts.items;
    let values = feature_values(&plan.features, contexts, &set.drawn)?;
    let scored = score(contexts, set.drawn, set.log_base, tilt)?;
    let of_samples =
        moments(plan, &ContextValues::of_drawn(&values, scored.iter().map(|scored| &scored.drawn)))?;
    let of_target = moments(plan, &ContextValues::of_target(&values, &scored))?;
    let features = plan.measures.iter().zip(of_samples.all.into_iter().zip(of_target.all));
    let features = features.map(|(measure, (samples, target))| DiagnosedFeature {
        name: measure.name.clone(),
        samples,
        target,
    });
    let distances: Vec<Vec<Estimate>> =
        scored.iter().map(|scored| scored.distances_to_target(LogZ::Known(0.0))).collect::<Result<_>>()?;
    let kl = |scored: &Scored<X>| scored.kl_to_base(&scored.drawn.log_policy, LogZ::Known(0.0));
    let kls: Vec<Estimate> = scored.iter().map(kl).collect::<Result<_>>()?;
    let weights: Vec<ImportanceWeights> = scored
        .iter()
        .map(|scored| Ok(ImportanceWeights::from_log(scored.log_weights())?))
        .collect::<Result<_>>()?;
    let log_zs: Vec<Estimate> = weights.iter().map(ImportanceWeights::log_z).collect();
    let betas = Betas::choose(plan, &scored)?;
    Ok(Diagnosis {
        name: set.name,
        samples: scored.iter().map(|scored| scored.drawn.samples.len()).sum(),
        log_z: mean(&log_zs, &plan.shares),
        ess: weights.iter().map(ImportanceWeights::ess).sum(),
        features: features.collect(),
        distances: DISTANCES
            .iter()
            .zip(means(&distances, &plan.shares))
            .map(|(distance, estimate)| DiagnosedDistance {
                name: distance.name,
                formula: distance.formula,
                estimate,
            })
            .collect(),
        kl_from_base: mean(&kls, &plan.shares),
        curve: betas.curve,
        heaviest: heaviest(contexts, &scored, &weights),
        contexts: in_contexts(contexts, &weights, &distances),
        warnings: betas.warnings,
    })
}

/// The samples with the largest shares of the weights, over all contexts.
fn heaviest<X: TextSample>(
    contexts: &[TextContext],
    scored: &[Scored<X>],
    weights: &[ImportanceWeights],
) -> Vec<HeavySample> {
    let mut found: Vec<(usize, usize, f64)> = Vec::new();
    for (context, weights) in weights.iter().enumerate() {
        found
            .extend(weights.normalised().iter().enumerate().map(|(sample, share)| (context, sample, *share)));
    }
    found.sort_by(|(.., one), (.., other)| other.total_cmp(one));
    let sample = |&(context, sample, share): &(usize, usize, f64)| HeavySample {
        context: contexts[context].text().to_owned(),
        text: scored[context].drawn.samples[sample].text().to_owned(),
        share,
        log_weight: weights[context].log_weights()[sample],
    };
    found.iter().take(HEAVIEST).map(sample).collect()
}

/// The weights of each context, the farthest from the target first.
fn in_contexts(
    contexts: &[TextContext],
    weights: &[ImportanceWeights],
    distances: &[Vec<Estimate>],
) -> Vec<DiagnosedContext> {
    let each = contexts.iter().zip(weights).zip(distances);
    let of = |((context, weights), distances): ((&TextContext, &ImportanceWeights), &Vec<Estimate>)| {
        DiagnosedContext {
            context: context.text().to_owned(),
            samples: weights.log_weights().len(),
            log_z: weights.log_z(),
            ess: weights.ess(),
            largest_share: weights.largest_share(),
            pareto_k: weights.pareto_tail().map(|tail| tail.k),
            total_variation: distances[TOTAL_VARIATION],
        }
    };
    let mut found: Vec<DiagnosedContext> = each.map(of).collect();
    found.sort_by(|one, other| other.total_variation.value.total_cmp(&one.total_variation.value));
    found
}
