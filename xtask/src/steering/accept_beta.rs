//! The choice between exact rejection and quasi-rejection, by the samples of a policy.

use std::hash::Hash;

use disco_core::{Distribution, Estimate, Scorer};
use disco_ebm::Fit;

use super::{Accept, BaseModel, RunPlan, Scored, betas::Betas, known_bound, sample};
use crate::{
    Error, Result, StageError,
    contexts::TextContext,
    features::TextSample,
    results::{plain, plus_minus},
    terminal::say,
};

/// The betas of quasi-rejection sampling.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    /// `ln beta` of each context.
    pub(super) log_betas: Vec<f64>,
    /// The known bounds of `ln P/q`.
    pub(super) bounds: Vec<Option<f64>>,
    /// The acceptance rate that is expected in the worst context, if it is known.
    pub(super) least_rate: Option<f64>,
    /// Sentences on the quality of the samples.
    pub(super) notes: Vec<String>,
}

/// Chooses the betas: the bounds of the ratios, where these are known and the proposals that are allowed suffice for so few samples; else
/// those of the goal of the plan's spec. Says at once where the proposals will not suffice.
///
/// # Errors
/// The errors of policy, base and features. If exact samples are asked for, [`Error::Argument`] without a bound in each context, and
/// [`StageError::Inexact`] where the proposals do not suffice.
pub(super) fn choose<X: TextSample + Eq + Hash>(
    plan: &RunPlan<'_>,
    model: &BaseModel<impl Scorer<TextContext, X>, impl Distribution<TextContext, X>, X>,
    fit: &Fit<TextContext, X>,
    policy: &impl Distribution<TextContext, X>,
    asked: Accept,
) -> Result<Chosen> {
    let contexts = &plan.spec.contexts.items;
    let in_context = |context: &TextContext| known_bound(fit.tilt(), context, &plan.spec.model);
    let bounds: Vec<Option<f64>> = match asked.is_base {
        true => contexts.iter().map(in_context).collect::<Result<_>>()?,
        false => vec![None; contexts.len()],
    };
    let known: Option<Vec<f64>> = bounds.iter().copied().collect();
    if asked.exact && known.is_none() {
        let problem = match asked.is_base {
            true => {
                "asks for samples of the target itself, and the features have no known range, so that no ratio is known to be the largest"
            }
            false => {
                "asks for samples of the target itself, and no bound of its ratio to a policy other than its base is known"
            }
        };
        let allowed = "a target whose features have a known range, with its base as `--model`".into();
        return Err(Error::Argument { flag: "--exact", problem: problem.into(), allowed });
    }
    let scored = sample(plan, model, fit, policy)?.scored;
    if let Some(log_betas) = known {
        let rates = exact_rates(&scored, &log_betas)?;
        let worst = rates.as_ref().and_then(|rates| worst(rates));
        match worst.filter(|(_, rate)| rate.value * (asked.proposals as f64) < asked.count as f64) {
            None => {
                let notes = vec!["A bound of the ratios is known: the samples are the target's.".into()];
                let least_rate = worst.map(|(_, rate)| rate.value);
                return Ok(Chosen { log_betas, bounds, least_rate, notes });
            }
            Some((context, rate)) if asked.exact => {
                let (count, proposals) = (asked.count, asked.proposals);
                let context = crate::terminal::cut(contexts[context].text(), 60);
                return Err(StageError::Inexact { context, rate, count, proposals }.into());
            }
            Some((_, rate)) => say(format_args!(
                "{:<16} exact rejection accepts {} of the proposals, which gives {} of {} samples from {} of them: beta is chosen from samples \
                 instead",
                "sample",
                plus_minus(&rate),
                plain(rate.value * asked.proposals as f64),
                asked.count,
                asked.proposals
            )),
        }
    }
    let betas = Betas::choose(plan, &scored)?;
    let rates = scored.iter().zip(&betas.log_betas);
    let rates = rates
        .map(|(scored, log_beta)| Ok(scored.ratios()?.acceptance_rate(*log_beta)?))
        .collect::<Result<Vec<_>>>()?;
    let worst = worst(&rates);
    if let Some((_, rate)) =
        worst.filter(|(_, rate)| rate.value * (asked.proposals as f64) < asked.count as f64)
    {
        say(format_args!(
            "{:<16} quasi-rejection accepts {} of the proposals at the chosen beta: {} proposals will hardly give {} samples",
            "sample",
            plus_minus(&rate),
            asked.proposals,
            asked.count
        ));
    }
    let mut notes = vec![format!(
        "ln beta = {}: the accepted samples have a total variation of {} to the target.",
        plain(betas.mean_log_beta(&plan.shares)),
        plus_minus(&betas.total_variation)
    )];
    notes.extend(betas.warnings);
    Ok(Chosen { log_betas: betas.log_betas, bounds, least_rate: worst.map(|(_, rate)| rate.value), notes })
}

/// The acceptance rate of exact rejection in each context; `None` if in one of them no sample tells it, since all are forbidden.
fn exact_rates<X>(scored: &[Scored<X>], bounds: &[f64]) -> Result<Option<Vec<Estimate>>> {
    let is_told =
        |scored: &Scored<X>| scored.log_target.iter().any(|log_target| *log_target > f64::NEG_INFINITY);
    if !scored.iter().all(is_told) {
        return Ok(None);
    }
    let rates = scored.iter().zip(bounds);
    rates.map(|(scored, bound)| Ok(scored.ratios()?.rejection_rate(*bound)?)).collect::<Result<_>>().map(Some)
}

/// The context with the least rate.
fn worst(rates: &[Estimate]) -> Option<(usize, Estimate)> {
    rates.iter().copied().enumerate().min_by(|(_, one), (_, other)| one.value.total_cmp(&other.value))
}
