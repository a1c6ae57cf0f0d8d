//! Samples of a target, as many as are asked for, from the proposals of a policy.

use std::hash::Hash;

use disco_core::{Distribution, Scorer};
use disco_ebm::Fit;
use disco_qrs::{
    Budget, ChainConfig, Draw, ImportanceResampling, IndependentMh, Qrs, ResamplingConfig, RunConfig,
    Sampler, Statistics,
};

use super::{Accept, BaseModel, RunPlan, SamplerKind, betas::Betas, sample};
use crate::{
    Progress, Result,
    contexts::TextContext,
    features::TextSample,
    results::{plain, plus_minus},
};

/// The number of proposals that are drawn and scored at once, in all contexts together.
const BATCH: usize = 256;

/// The end of sampling.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    /// The numbers of proposals and of samples.
    pub(crate) proposals: u64,
    pub(crate) draws: u64,
    /// Sentences on the quality of the samples.
    pub(crate) notes: Vec<String>,
}

/// Samples a target, and gives each sample to `take` as it comes.
///
/// For quasi-rejection sampling beta is chosen from `sample.count` samples of the policy, by the goal of the plan's spec, as a run
/// does; a policy that is the base and whose ratios have a known bound is sampled exactly.
///
/// # Errors
/// The errors of policy, base and features, and of `take`.
///
/// # Cost
/// The proposals that are needed, each scored by the base and the features once; before them the samples that choose beta.
pub(crate) fn accept<X: TextSample + Eq + Hash>(
    plan: &RunPlan<'_>,
    model: &BaseModel<impl Scorer<TextContext, X>, impl Distribution<TextContext, X>, X>,
    fit: &Fit<TextContext, X>,
    policy: &impl Distribution<TextContext, X>,
    asked: Accept,
    mut take: impl FnMut(&TextContext, &Draw<X>) -> Result<()>,
) -> Result<Accepted> {
    let contexts = &plan.spec.contexts.items;
    let config = RunConfig {
        seed: plan.seeds.reject,
        batch: BATCH.div_ceil(contexts.len()),
        budget: Budget { draws: Some(asked.count), proposals: Some(asked.proposals), ..Budget::default() },
    };
    let mut progress =
        Progress::new(plan.progress, "sample", "samples", asked.count as usize * contexts.len());
    let target = || fit.target(&model.base);
    let mut end = Accepted { proposals: 0, draws: 0, notes: Vec::new() };
    let mut drain = |sampler: &mut dyn Sampler<X, Item = disco_qrs::Result<Draw<X>>>,
                     first: Option<usize>| {
        for draw in &mut *sampler {
            let draw = draw?;
            progress.advance(1, String::new);
            take(&contexts[first.unwrap_or(draw.context)], &draw)?;
        }
        let Statistics { proposals, draws, .. } = sampler.statistics();
        (end.proposals, end.draws) = (end.proposals + proposals, end.draws + draws);
        Ok::<(), crate::Error>(())
    };
    match asked.sampler {
        SamplerKind::Rejection => {
            let bounds = match asked.is_base {
                true => contexts.iter().map(|context| fit.tilt().log_bound(context)).collect(),
                false => Ok(vec![None; contexts.len()]),
            };
            let bounds: Vec<Option<f64>> = bounds?;
            let (log_betas, notes) = match bounds.iter().copied().collect::<Option<Vec<f64>>>() {
                Some(bounds) => {
                    (bounds, vec!["A bound of the ratios is known: the samples are the target's.".into()])
                }
                None => chosen(plan, model, fit, policy)?,
            };
            let items = contexts.clone();
            let mut sampler = Qrs::each(policy, target(), items, log_betas, config)?.with_bounds(bounds)?;
            drain(&mut sampler, None)?;
            end.notes = notes;
        }
        SamplerKind::Sir => {
            for (index, context) in contexts.iter().enumerate() {
                let config = RunConfig { seed: plan.seeds.in_context(index), ..config };
                let pools = ResamplingConfig::default();
                let mut sampler =
                    ImportanceResampling::new(policy, target(), context.clone(), pools, config)?;
                drain(&mut sampler, Some(index))?;
            }
            end.notes.push("Resampling has a bias that falls with the pool of 100 proposals; there is no estimate of it.".into());
        }
        SamplerKind::Imh => {
            for (index, context) in contexts.iter().enumerate() {
                let config = RunConfig { seed: plan.seeds.in_context(index), ..config };
                let chain = ChainConfig::default();
                let mut sampler = IndependentMh::new(policy, target(), context.clone(), chain, config)?;
                drain(&mut sampler, Some(index))?;
            }
            end.notes.push("The states of a chain are dependent, and there is no estimate of their distance from the target.".into());
        }
    }
    Ok(end)
}

/// The betas that samples of the policy choose, with what they say of the accepted samples.
fn chosen<X: TextSample + Eq + Hash>(
    plan: &RunPlan<'_>,
    model: &BaseModel<impl Scorer<TextContext, X>, impl Distribution<TextContext, X>, X>,
    fit: &Fit<TextContext, X>,
    policy: &impl Distribution<TextContext, X>,
) -> Result<(Vec<f64>, Vec<String>)> {
    let samples = sample(plan, model, fit, policy)?;
    let betas = Betas::choose(plan, &samples.scored)?;
    let mut notes = vec![format!(
        "ln beta = {}: the accepted samples have a total variation of {} to the target.",
        plain(betas.mean_log_beta(&plan.shares)),
        plus_minus(&betas.total_variation)
    )];
    notes.extend(betas.warnings);
    Ok((betas.log_betas, notes))
}
