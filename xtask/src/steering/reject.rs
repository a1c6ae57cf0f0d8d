//! Stage "reject": quasi-rejection sampling, with the tuned policy as proposal.

use std::ops::ControlFlow;

use disco_core::{Distribution, Scorer};
use disco_ebm::Fit;
use disco_qrs::{Budget, Draw, Qrs, RunConfig, Statistics};

use super::{
    PolicySamples, RunPlan,
    betas::Betas,
    categories::category_distances,
    moments::{ContextValues, moments},
    scored::{Values, mean_of_known, record, values},
};
use crate::{
    Error, Progress, Result,
    contexts::TextContext,
    features::TextSample,
    results::{QrsCount, QrsRecord},
    spec::QrsGoal,
};

/// The number of proposals that are drawn and scored at once.
const BATCH: usize = 256;

/// Chooses beta from the samples of the policy, and draws as many new proposals as the spec says, or until enough are accepted.
///
/// # Errors
/// The errors of policy, base and features; [`Error::NothingAccepted`].
///
/// # Cost
/// At most `sample.proposals` samples of the policy (by default `sample.count`), scored by the base; text scorers score each proposal once, and accepted ones twice.
pub fn reject<X: TextSample>(
    plan: &RunPlan<'_>,
    base: &impl Scorer<TextContext, X>,
    fit: &Fit<TextContext, X>,
    policy: &impl Distribution<TextContext, X>,
    samples: &PolicySamples<X>,
) -> Result<QrsRecord> {
    let mut betas = Betas::choose(plan, &samples.scored)?;
    let log_beta = betas.mean_log_beta(&plan.shares);
    let (draws, statistics) = draw(plan, base, fit, policy, &betas.log_betas)?;
    if draws.is_empty() {
        return Err(Error::NothingAccepted {
            proposals: statistics.iter().map(|statistics| statistics.proposals).sum(),
            log_beta,
            advice: match plan.spec.sample.qrs {
                QrsGoal::AcceptanceRate(_) => "larger `acceptance_rate`",
                QrsGoal::TotalVariation(_) => "larger `total_variation`",
                QrsGoal::LogBeta(_) => "smaller `log_beta`",
            },
        });
    }
    let predicted_means = betas.predicted_means(plan, samples)?;
    if let Some(wanted) = plan.spec.sample.accepted.map(|count| plan.spec.in_all_contexts(count))
        && draws.len() < wanted
    {
        betas.warnings.push(format!(
            "Only {} of {wanted} samples were accepted (`sample.accepted`) before the proposals were used up (`sample.proposals`).",
            draws.len()
        ));
    }
    let rates = statistics.iter().map(Statistics::acceptance_rate);

    let contexts = &plan.spec.contexts.items;
    let values = values_of(plan, &draws)?;
    let mut accepted: Vec<ContextValues<'_>> = contexts.iter().map(|_| ContextValues::default()).collect();
    draws.iter().zip(&values).for_each(|(draw, values)| accepted[draw.context].rows.push(values));
    let moments = moments(plan, &accepted)?;
    let count = |of: fn(&Statistics) -> u64| statistics.iter().map(of).sum::<u64>() as usize;
    let is_common = betas.log_betas.windows(2).all(|pair| pair[0] == pair[1]);
    let count_of = |statistics: &Statistics| QrsCount {
        proposals: statistics.proposals as usize,
        accepted: statistics.accepted as usize,
    };
    Ok(QrsRecord {
        log_beta,
        log_betas: if is_common { Vec::new() } else { betas.log_betas },
        proposals: count(|statistics| statistics.proposals),
        accepted: draws.len(),
        by_context_counts: statistics.iter().map(count_of).collect(),
        acceptance_rate: mean_of_known(rates, &plan.shares),
        predicted_rate: Some(betas.acceptance_rate),
        predicted_means,
        total_variation: betas.total_variation,
        curve: betas.curve,
        warnings: betas.warnings,
        means: moments.all,
        by_context: moments.by_context,
        categories: category_distances(plan, &accepted)?,
        distances: betas.distances,
        kl_from_base: betas.kl_to_base,
        skipped: count(|statistics| statistics.skipped),
        samples: draws
            .iter()
            .zip(values)
            .map(|(draw, values)| record(&contexts[draw.context], &draw.value, draw.log_score, values))
            .collect(),
    })
}

/// The values of all features for accepted samples, in their order.
fn values_of<X: TextSample>(plan: &RunPlan<'_>, draws: &[Draw<X>]) -> Result<Vec<Values>> {
    let mut found: Vec<Values> = vec![Values::new(); draws.len()];
    for (index, context) in plan.spec.contexts.items.iter().enumerate() {
        let own: Vec<usize> = (0..draws.len()).filter(|&draw| draws[draw].context == index).collect();
        let samples: Vec<&X> = own.iter().map(|&draw| &draws[draw].value).collect();
        for (draw, values) in own.into_iter().zip(values(&plan.features, context, &samples)?) {
            found[draw] = values;
        }
    }
    Ok(found)
}

/// Draws as many proposals as the spec says; returns the accepted ones, and the counts of each context.
fn draw<X: TextSample>(
    plan: &RunPlan<'_>,
    base: &impl Scorer<TextContext, X>,
    fit: &Fit<TextContext, X>,
    policy: &impl Distribution<TextContext, X>,
    log_betas: &[f64],
) -> Result<(Vec<Draw<X>>, Vec<Statistics>)> {
    let contexts = plan.spec.contexts.items.clone();
    let count = contexts.len();
    let spec = plan.spec;
    let per_context = spec.per_context(spec.sample.most_proposals());
    let wanted = spec.sample.accepted.map(|accepted| spec.per_context(accepted));
    let unit = if wanted.is_some() { "accepted" } else { "proposals" };
    let total = wanted.unwrap_or(per_context) * contexts.len();
    let mut progress = Progress::new(plan.progress, "reject", unit, total);
    let mut seen = 0;
    let config = RunConfig {
        seed: plan.seeds.reject,
        batch: BATCH.div_ceil(contexts.len()),
        budget: Budget { draws: wanted.map(|count| count as u64), ..Budget::proposals(per_context as u64) },
    };
    let mut sampler = Qrs::each(policy, fit.target(base), contexts, log_betas.to_vec(), config)?.on_batch(
        move |statistics| {
            let now = if wanted.is_some() { statistics.accepted } else { statistics.proposals };
            progress.advance((now - seen) as usize, || {
                format!("{} of {} accepted", statistics.accepted, statistics.proposals)
            });
            seen = now;
            ControlFlow::Continue(())
        },
    );
    let draws: Vec<Draw<X>> = sampler.by_ref().collect::<std::result::Result<_, _>>()?;
    let statistics = (0..count).filter_map(|context| sampler.statistics_of(context)).collect();
    Ok((draws, statistics))
}
