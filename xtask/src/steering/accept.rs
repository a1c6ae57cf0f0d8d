//! Samples of a target, as many as are asked for, from the proposals of a policy.

use std::hash::Hash;

use disco_core::{Distribution, Scorer, StreamRng};
use disco_ebm::Fit;
use disco_qrs::{
    Budget, ChainConfig, Draw, ImportanceResampling, IndependentMh, Qrs, ResamplingConfig, RunConfig,
    Sampler, Statistics,
};
use rand::Rng;

use super::{
    Accept, BaseModel, RunPlan, SamplerKind,
    accept_beta::{Chosen, choose},
    accept_blocks::{Block, blocks},
};
use crate::{Progress, Result, contexts::TextContext, features::TextSample};

/// The most proposals that are drawn and scored at once, in all contexts together.
const BATCH: usize = 256;
/// The least in each context.
const LEAST: f64 = 4.0;

/// The end of sampling.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    /// The number of samples that were asked for, of this shard.
    pub(crate) asked: u64,
    /// The numbers of proposals and of samples.
    pub(crate) proposals: u64,
    pub(crate) draws: u64,
    /// Sentences on the quality of the samples.
    pub(crate) notes: Vec<String>,
}

/// Samples a target, and gives each sample to `take` as it comes.
///
/// The samples of a context are cut into numbered blocks. A block has random streams of its own and its share of the proposals
/// that are allowed, so that a block is the same whichever process draws it: the samples of all shards, one after the other, are those of
/// one process.
///
/// For quasi-rejection sampling `sample.count` samples of the policy tell the acceptance rate. A policy that is the base and whose
/// ratios have a known bound is sampled exactly, if the proposals that are allowed suffice for that; else beta is chosen by the goal of the
/// plan's spec, as a run does.
///
/// # Errors
/// The errors of policy, base and features, and of `take`. Where exact samples are asked for, [`crate::StageError::Inexact`] before
/// any is drawn.
///
/// # Cost
/// The proposals that are needed, each scored by the base and the features once; before them the samples that choose beta, in each
/// shard.
pub(crate) fn accept<X: TextSample + Eq + Hash>(
    plan: &RunPlan<'_>,
    model: &BaseModel<impl Scorer<TextContext, X>, impl Distribution<TextContext, X>, X>,
    fit: &Fit<TextContext, X>,
    policy: &impl Distribution<TextContext, X>,
    asked: Accept,
    mut take: impl FnMut(&TextContext, &Draw<X>) -> Result<()>,
) -> Result<Accepted> {
    let contexts = &plan.spec.contexts.items;
    let chosen = match asked.sampler {
        SamplerKind::Rejection => Some(choose(plan, model, fit, policy, asked)?),
        SamplerKind::Sir | SamplerKind::Imh => None,
    };
    let all = blocks(asked, chosen.as_ref().and_then(|chosen| chosen.least_rate));
    let own = &all[asked.shard.range(all.len())];
    let count = own.iter().map(|block| block.draws).sum::<u64>() * contexts.len() as u64;
    let mut end = Accepted { asked: count, proposals: 0, draws: 0, notes: notes(asked.sampler, &chosen) };
    let mut progress = Progress::new(plan.progress, "sample", "samples", count as usize);
    let mut drain = |sampler: &mut dyn Sampler<X, Item = disco_qrs::Result<Draw<X>>>, only: Option<usize>| {
        for draw in &mut *sampler {
            let draw = draw?;
            progress.advance(1, String::new);
            take(&contexts[only.unwrap_or(draw.context)], &draw)?;
        }
        let Statistics { proposals, draws, .. } = sampler.statistics();
        (end.proposals, end.draws) = (end.proposals + proposals, end.draws + draws);
        Ok::<(), crate::Error>(())
    };
    // A block may have no proposal, where fewer are allowed than samples asked for.
    for block in own.iter().filter(|block| block.proposals > 0) {
        let config = config(plan, block, contexts.len(), chosen.as_ref());
        let in_context = |index: usize| {
            let seed = StreamRng::of_stream(config.seed, index as u64).next_u64();
            (contexts[index].clone(), RunConfig { seed, ..config })
        };
        if let Some(Chosen { log_betas, bounds, .. }) = &chosen {
            let (items, betas) = (contexts.clone(), log_betas.clone());
            let sampler = Qrs::each(policy, fit.target(&model.base), items, betas, config)?;
            drain(&mut sampler.with_bounds(bounds.clone())?, None)?;
            continue;
        }
        for index in 0..contexts.len() {
            let (context, config) = in_context(index);
            let target = fit.target(&model.base);
            if asked.sampler == SamplerKind::Sir {
                let pools = ResamplingConfig::default();
                drain(&mut ImportanceResampling::new(policy, target, context, pools, config)?, Some(index))?;
            } else {
                let chain = ChainConfig::default();
                drain(&mut IndependentMh::new(policy, target, context, chain, config)?, Some(index))?;
            }
        }
    }
    Ok(end)
}

/// The configuration of a block. The size of a batch changes no sample.
fn config(plan: &RunPlan<'_>, block: &Block, contexts: usize, chosen: Option<&Chosen>) -> RunConfig {
    let most = BATCH.div_ceil(contexts);
    let rate = chosen.and_then(|chosen| chosen.least_rate);
    let half = rate.map_or(f64::INFINITY, |rate| (block.draws as f64 / rate / 2.0).max(LEAST));
    RunConfig {
        seed: StreamRng::of_stream(plan.seeds.reject, block.number).next_u64(),
        batch: most.min(half.ceil() as usize),
        budget: Budget { draws: Some(block.draws), proposals: Some(block.proposals), ..Budget::default() },
    }
}

/// Sentences on the quality of the samples.
fn notes(sampler: SamplerKind, chosen: &Option<Chosen>) -> Vec<String> {
    match (sampler, chosen) {
        (_, Some(chosen)) => chosen.notes.clone(),
        (SamplerKind::Sir, None) => {
            vec!["Resampling has a bias that falls with the pool of 100 proposals; there is no estimate of it.".into()]
        }
        (_, None) => vec![
            "The states of a chain are dependent, and there is no estimate of their distance from the target."
                .into(),
        ],
    }
}
