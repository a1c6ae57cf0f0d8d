//! A whole run: the composition of all stages, and nothing else.
//!
//! It knows no language model, only distributions over samples that have a text.

use std::hash::Hash;

use disco_core::{Distribution, Scorer};
use disco_ebm::Fit;
use disco_tuner::{Checkpointed, Policy};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    BaseModel, CheckpointFolder, Clock, Origin, RunPlan, fit, held_out::held_out, kept_samples::KeptSamples,
    measure::measure_drawn, reject, sample, tune,
};
use crate::{
    Error, Result,
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

/// Tunes `policy`, which starts as `base`, towards the target of the plan's spec, and samples from it.
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
    let spec = plan.spec;
    let mut record = RunRecord::new(spec, about);

    // The base's samples are dropped before tuning: the record keeps the reported part of them.
    let fitted = {
        let kept = match (checkpoints, &model.origin) {
            (Some(folder), Origin::Base | Origin::Proposal) => {
                Some(KeptSamples::new(folder.measured(), plan)?)
            }
            _ => None,
        };
        let earlier = match &kept {
            Some(kept) => kept.read(spec.contexts.items.len())?,
            None => None,
        };
        let is_kept = earlier.is_some();
        let measured = measure_drawn(plan, model, earlier)?;
        clock.lap("measure base", measured.record.samples.len(), tokens(&measured.record.samples));
        let fitted = match (fit(plan, &measured), &kept) {
            (Ok(fitted), _) => fitted,
            (Err(cause), Some(kept)) => {
                // The error of the fit is the one to report.
                return Err(match is_kept || kept.write(&measured.drawn).is_ok() {
                    true => Error::Unfit { cause: Box::new(cause), path: kept.path().into() },
                    false => cause,
                });
            }
            (Err(cause), None) => return Err(cause),
        };
        if let (Some(kept), true) = (&kept, is_kept) {
            kept.remove()?;
        }
        clock.lap("fit", 0, 0);
        record.base = Some(measured.record);
        fitted
    };

    let tuned = tune(plan, model, &fitted.fit, policy, checkpoints)?;
    let steps = &tuned.record.steps;
    // Samples, tokens and seconds are those of the same steps: of all, unless the log of an early version has no times.
    let (name, counted, earlier) = match tuned.earlier_seconds {
        Some(seconds) => ("tune", &steps[..], seconds),
        None => ("tune (resumed steps)", &steps[tuned.earlier..], 0.0),
    };
    let samples = counted.len() * spec.tune.samples_per_step;
    clock.lap_after(earlier, name, samples, counted.iter().map(|step| step.tokens).sum());

    let policy = policy.freeze()?;
    let samples = sample(plan, model, &fitted.fit, &policy)?;
    clock.lap("sample and score", samples.record.samples.len(), tokens(&samples.record.samples));

    record.held_out = held_out(plan, model, &fitted.fit, &policy)?;
    let qrs = reject(plan, &model.base, &fitted.fit, &policy, &samples)?;
    clock.lap("reject", qrs.proposals, 0);

    record.target = Some(fitted.record);
    record.tuning = Some(tuned.record);
    record.policy = Some(samples.record);
    record.qrs = Some(qrs);
    record.stages = clock.stages().to_vec();
    record.peak_memory_bytes = peak_bytes();
    Ok(Finished { record, fit: fitted.fit })
}

/// The number of tokens of all samples.
fn tokens(samples: &[SampleRecord]) -> usize {
    samples.iter().map(|sample| sample.tokens).sum()
}
