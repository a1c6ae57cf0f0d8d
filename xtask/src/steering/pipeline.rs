//! A whole run: the composition of all stages, and nothing else.
//!
//! It knows no language model, only distributions over samples that have a text.

use std::{hash::Hash, path::PathBuf};

use disco_core::{Distribution, Scorer};
use disco_ebm::Fit;
use disco_tuner::{Checkpointed, Policy};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    BaseModel, CheckpointFolder, Clock, Origin, RunPlan, Tuned, fit, held_out::held_out,
    kept_samples::KeptSamples, measure::measure_drawn, reject, sample, tune,
};
use crate::{
    Result, StageError,
    contexts::TextContext,
    features::TextSample,
    process::peak_bytes,
    results::{ModelRecord, RunRecord, SampleRecord},
};

/// A finished run.
#[derive(Debug)]
pub struct Finished<X> {
    /// Everything that was measured.
    pub record: RunRecord,
    /// The fitted target.
    pub fit: Fit<TextContext, X>,
}

/// Tunes `policy`, which starts as `base`, towards the target of the plan's spec, and samples from it. If the spec tunes nothing
/// (`tune.steps` is 0), this is [`run_untuned`].
///
/// Two runs of a spec give the same record but for seconds and memory, also if tuning is resumed from a checkpoint; the
/// stages before it are then computed again.
///
/// # Errors
/// The errors of the stages: [`measure`](crate::measure()), [`fit`](fit()), [`tune`](tune()), [`sample`](sample()), [`reject`](reject()).
///
/// # Cost
/// The sum of the stages': `fit.samples` samples of the base; `tune.steps * tune.samples_per_step` of the policy, scored by the base
/// and differentiated; twice `sample.count` of the tuned policy, scored by the base.
pub fn run_pipeline<X, B, Q, P>(
    plan: &RunPlan<'_>,
    about: ModelRecord,
    model: &BaseModel<B, Q, X>,
    policy: &mut P,
    clock: &mut Clock,
    checkpoints: Option<&CheckpointFolder>,
) -> Result<Finished<X>>
where
    X: TextSample + Eq + Hash + Serialize + DeserializeOwned,
    B: Scorer<TextContext, X>,
    Q: Distribution<TextContext, X>,
    P: Policy<TextContext, X> + Checkpointed,
{
    let kept = checkpoints.map(CheckpointFolder::measured);
    if plan.spec.tune.steps == 0 {
        return run_untuned(plan, about, model, clock, kept);
    }
    let (mut record, fit) = find_target(plan, about, model, clock, kept)?;
    let tuned = tune(plan, model, &fit, policy, checkpoints)?;
    tuning_lap(plan, &tuned, clock);
    record.tuning = Some(tuned.record);
    generate(plan, record, model, fit, &policy.freeze()?, clock)
}

/// Fits the target of the plan's spec, and samples from it with the base as proposal: a run without a policy.
///
/// Samples of the base whose targets cannot be had are kept in the file `kept`, if there is one, for the next run.
///
/// # Errors
/// The errors of the stages: [`measure`](crate::measure()), [`fit`](fit()), [`sample`](sample()), [`reject`](reject()).
///
/// # Cost
/// `fit.samples` samples of the base, and twice `sample.count`.
pub fn run_untuned<X, B, Q>(
    plan: &RunPlan<'_>,
    about: ModelRecord,
    model: &BaseModel<B, Q, X>,
    clock: &mut Clock,
    kept: Option<PathBuf>,
) -> Result<Finished<X>>
where
    X: TextSample + Eq + Hash + Serialize + DeserializeOwned,
    B: Scorer<TextContext, X>,
    Q: Distribution<TextContext, X>,
{
    let (record, fit) = find_target(plan, about, model, clock, kept)?;
    generate(plan, record, model, fit, &model.proposal, clock)
}

/// Measures the base and fits the target.
fn find_target<X, B, Q>(
    plan: &RunPlan<'_>,
    about: ModelRecord,
    model: &BaseModel<B, Q, X>,
    clock: &mut Clock,
    kept: Option<PathBuf>,
) -> Result<(RunRecord, Fit<TextContext, X>)>
where
    X: TextSample + Eq + Hash + Serialize + DeserializeOwned,
    B: Scorer<TextContext, X>,
    Q: Distribution<TextContext, X>,
{
    let mut record = RunRecord::new(plan.spec, about);
    let kept = match (kept, &model.origin) {
        (Some(path), Origin::Base | Origin::Proposal) => {
            Some(KeptSamples::new(path, plan.spec, 0..plan.spec.per_context(plan.spec.fit.samples))?)
        }
        _ => None,
    };
    let earlier = match &kept {
        Some(kept) => kept.read(plan.spec.contexts.items.len())?,
        None => None,
    };
    let is_kept = earlier.is_some();
    // The base's samples are dropped before tuning: the record keeps the reported part of them.
    let measured = measure_drawn(plan, model, earlier)?;
    clock.lap("measure base", measured.record.samples.len(), tokens(&measured.record.samples));
    let fitted = match (fit(plan, &measured), &kept) {
        (Ok(fitted), _) => fitted,
        (Err(cause), Some(kept)) => {
            // The error of the fit is the one to report.
            return Err(match is_kept || kept.write(&measured.drawn).is_ok() {
                true => StageError::Unfit { cause: Box::new(cause), path: kept.path().into() }.into(),
                false => cause,
            });
        }
        (Err(cause), None) => return Err(cause),
    };
    if let Some(kept) = &kept {
        // Also those that could not be used.
        kept.remove_if_there()?;
    }
    clock.lap("fit", 0, 0);
    record.base = Some(measured.record);
    record.target = Some(fitted.record);
    Ok((record, fitted.fit))
}

/// Samples from the policy and, by quasi-rejection sampling, from the target.
fn generate<X, B, Q>(
    plan: &RunPlan<'_>,
    mut record: RunRecord,
    model: &BaseModel<B, Q, X>,
    fit: Fit<TextContext, X>,
    policy: &impl Distribution<TextContext, X>,
    clock: &mut Clock,
) -> Result<Finished<X>>
where
    X: TextSample + Eq + Hash,
    B: Scorer<TextContext, X>,
    Q: Distribution<TextContext, X>,
{
    let samples = sample(plan, model, &fit, policy)?;
    clock.lap("sample and score", samples.record.samples.len(), tokens(&samples.record.samples));
    record.held_out = held_out(plan, model, &fit, policy)?;
    let qrs = reject(plan, &model.base, &fit, policy, &samples)?;
    clock.lap("reject", qrs.proposals, 0);

    record.policy = Some(samples.record);
    record.qrs = Some(qrs);
    record.stages = clock.stages().to_vec();
    record.peak_memory_bytes = peak_bytes();
    Ok(Finished { record, fit })
}

/// Ends the stage "tune".
pub(crate) fn tuning_lap(plan: &RunPlan<'_>, tuned: &Tuned, clock: &mut Clock) {
    let steps = &tuned.record.steps;
    // Samples, tokens and seconds are those of the same steps: of all, unless the log of an early version has no times.
    let (name, counted, earlier) = match tuned.earlier_seconds {
        Some(seconds) => ("tune", &steps[..], seconds),
        None => ("tune (resumed steps)", &steps[tuned.earlier..], 0.0),
    };
    let samples = counted.len() * plan.spec.tune.samples_per_step;
    clock.lap_after(earlier, name, samples, counted.iter().map(|step| step.tokens).sum());
}

/// The number of tokens of all samples.
fn tokens(samples: &[SampleRecord]) -> usize {
    samples.iter().map(|sample| sample.tokens).sum()
}
