//! A run from beginning to end: the folder of its results, the model, the pipeline, the results.

use std::{
    hash::Hash,
    path::{Path, PathBuf},
};

use disco_core::{Distribution, Scorer};
use disco_tuner::{Checkpointed, Optimizer, Policy};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    BaseModel, CheckpointFolder, Clock, Finished, RunControl, RunPlan, logs::check_logs, run_pipeline,
    run_untuned,
};
use crate::{
    Error, Result,
    contexts::TextContext,
    features::{TextSample, TextScorers},
    process::peak_bytes,
    results::{ModelRecord, OutputFolder, RunRecord, keep_apart, write_outputs},
    scorers::external_scorers,
    spec::{Spec, WEIGHTS},
};

/// A model, ready to be tuned.
#[derive(Debug)]
pub struct Loaded<B, Q, X, P> {
    /// The base distribution.
    pub base: BaseModel<B, Q, X>,
    /// The policy that is tuned; it starts as the base.
    pub policy: P,
    /// The text scorers of the spec's classifiers. Those of its programs and servers are added by [`run_workflow`].
    pub scorers: TextScorers,
    /// The description of the model for the report.
    pub record: ModelRecord,
}

/// The bytes that a model's weights take in f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WeightBytes {
    /// At least.
    pub least: u64,
    /// At most.
    pub most: u64,
}

/// Runs a spec, and writes the results to the folder `out`; returns the folder and the record.
///
/// `weights` says how many bytes `save` and checkpoints will write, so that a full disk is found before anything is computed.
///
/// # Errors
/// As [`OutputFolder::prepare`] and [`CheckpointFolder::prepare`], before anything is computed; those of `load`, of
/// [`run_pipeline`] and of `save`. After any error, earlier results are still there, and the run has left nothing but the policy's
/// checkpoints, in the folder `OUT.checkpoints`, from which [`StartMode::Resume`](crate::StartMode::Resume) continues.
pub fn run_workflow<X, B, Q, P>(
    spec: &Spec,
    out: &Path,
    weights: WeightBytes,
    control: &RunControl,
    load: impl FnOnce() -> Result<Loaded<B, Q, X, P>>,
    save: impl FnOnce(&P, &Path) -> Result<()>,
) -> Result<(PathBuf, RunRecord)>
where
    X: TextSample + Eq + Hash + Serialize + DeserializeOwned,
    B: Scorer<TextContext, X>,
    Q: Distribution<TextContext, X>,
    P: Policy<TextContext, X> + Checkpointed,
{
    in_results(spec, out, weights, control, load, save, |work| {
        let Work { plan, model, base, policy, clock, checkpoints, .. } = work;
        run_pipeline(plan, model, base, policy, clock, Some(checkpoints))
    })
}

/// The parts of a run, for the stages.
pub(crate) struct Work<'a, B, Q, X, P> {
    pub(crate) plan: &'a RunPlan<'a>,
    /// The description of the model.
    pub(crate) model: ModelRecord,
    pub(crate) base: &'a BaseModel<B, Q, X>,
    pub(crate) policy: &'a mut P,
    pub(crate) clock: &'a mut Clock,
    pub(crate) checkpoints: &'a CheckpointFolder,
    /// The folder of the results, before it gets its name.
    #[cfg_attr(not(feature = "lm"), expect(dead_code, reason = "a whole run writes nothing of its own"))]
    pub(crate) folder: &'a OutputFolder,
}

/// Does `work` with a model and a policy, and writes the results to the folder `out`; returns the folder and the record.
///
/// # Errors
/// As [`run_workflow`], with those of `work` in the place of the pipeline's.
pub(crate) fn in_results<X, B, Q, P>(
    spec: &Spec,
    out: &Path,
    weights: WeightBytes,
    control: &RunControl,
    load: impl FnOnce() -> Result<Loaded<B, Q, X, P>>,
    save: impl FnOnce(&P, &Path) -> Result<()>,
    work: impl FnOnce(Work<'_, B, Q, X, P>) -> Result<Finished<X>>,
) -> Result<(PathBuf, RunRecord)>
where
    X: TextSample,
{
    let run = |clock: &mut Clock, programs, checkpoints: &CheckpointFolder, folder: &OutputFolder| {
        let Loaded { base, mut policy, mut scorers, record: model } = load()?;
        scorers.extend(programs);
        clock.lap("load", 0, 0);
        let plan = RunPlan::new(spec, &scorers, control.progress)?;
        let policy_then = &mut policy;
        let finished =
            work(Work { plan: &plan, model, base: &base, policy: policy_then, clock, checkpoints, folder })?;
        Ok((policy, finished))
    };
    in_folder(spec, out, weights, control, run, save)
}

/// A model that only samples and scores.
#[derive(Debug)]
pub struct Untuned<B, Q, X> {
    /// The base distribution.
    pub base: BaseModel<B, Q, X>,
    /// The text scorers of the spec's classifiers. Those of its programs and servers are added by [`run_untuned_workflow`].
    pub scorers: TextScorers,
    /// The description of the model for the report.
    pub record: ModelRecord,
}

/// As [`run_workflow`], for a spec that tunes nothing: it needs no policy, and saves no weights.
///
/// # Errors
/// As [`run_workflow`].
pub fn run_untuned_workflow<X, B, Q>(
    spec: &Spec,
    out: &Path,
    control: &RunControl,
    load: impl FnOnce() -> Result<Untuned<B, Q, X>>,
) -> Result<(PathBuf, RunRecord)>
where
    X: TextSample + Eq + Hash + Serialize + DeserializeOwned,
    B: Scorer<TextContext, X>,
    Q: Distribution<TextContext, X>,
{
    let run = |clock: &mut Clock, programs, checkpoints: &CheckpointFolder, _: &OutputFolder| {
        let Untuned { base, mut scorers, record: model } = load()?;
        scorers.extend(programs);
        clock.lap("load", 0, 0);
        let plan = RunPlan::new(spec, &scorers, control.progress)?;
        Ok(((), run_untuned(&plan, model, &base, clock, Some(checkpoints.measured()))?))
    };
    in_folder(spec, out, WeightBytes::default(), control, run, |&(), _| Ok(()))
}

/// Runs a spec by `run`, which is given the text scorers of its programs and servers, and writes the results, with what `save` makes of
/// the policy if there is a tuned one.
fn in_folder<X: TextSample, P>(
    spec: &Spec,
    out: &Path,
    weights: WeightBytes,
    control: &RunControl,
    run: impl FnOnce(&mut Clock, TextScorers, &CheckpointFolder, &OutputFolder) -> Result<(P, Finished<X>)>,
    save: impl FnOnce(&P, &Path) -> Result<()>,
) -> Result<(PathBuf, RunRecord)> {
    let interrupt = &control.interrupt;
    keep_apart(out, spec)?;
    // A run that tunes nothing saves no weights.
    let saved = if spec.tune.steps == 0 { 0 } else { weights.most };
    let folder = interrupt.begin(|| OutputFolder::prepare(out, saved), OutputFolder::temporary)?;
    let checkpoints = CheckpointFolder::prepare(out, control)?;
    let room = folder.reserve_room(checkpoint_bytes(spec, weights.least)).inspect_err(|_| {
        // The error of the run is the one to report.
        let _ = checkpoints.remove_if_empty();
    })?;
    let checkpoints = checkpoints.with_room(room);
    let mut clock = Clock::default();
    let tuned = || -> Result<_> {
        if spec.tune.steps > 0 {
            check_logs(&spec.log)?;
        }
        // Programs are started before the model is loaded, so that one that cannot run is found first.
        run(&mut clock, external_scorers(&spec.features)?, &checkpoints, &folder)
    };
    let (policy, mut finished) = match tuned() {
        Ok(tuned) => tuned,
        Err(error) => {
            // The error of the run is the one to report.
            let _ = checkpoints.remove_if_empty();
            return Err(error);
        }
    };
    folder.begin_writing()?;
    if finished.record.tuning.is_some() {
        save(&policy, &folder.path().join(WEIGHTS))?;
        clock.lap("save", 0, 0);
    }
    finished.record.stages = clock.stages().to_vec();
    finished.record.peak_memory_bytes = peak_bytes();
    finished.fit.save(folder.path().join("target.json"))?;
    write_outputs(&folder, &finished.record)?;
    let place = interrupt.finish(|| folder.finish());
    // Results that had to be kept beside their place are finished too.
    if matches!(place, Ok(_) | Err(Error::KeptBeside { .. })) {
        checkpoints.finish()?;
    }
    Ok((place?, finished.record))
}

/// The disk space that checkpoints take at least, in bytes, if the weights take at least `weights`: a run that cannot have this much cannot
/// end well. The checkpoints of an adapter are small.
pub(super) fn checkpoint_bytes(spec: &Spec, weights: u64) -> u64 {
    if spec.tune.adapter.is_some() {
        return 0;
    }
    let written = spec.tune.steps.div_ceil(spec.checkpoints.every);
    // The last one is written before one of the others is removed.
    let together = spec.checkpoints.keep.saturating_add(1).min(written) as u64;
    weights.saturating_mul(1 + optimizer_states(spec)).saturating_mul(together)
}

/// The number of values that the optimizer keeps of each weight: Adam's two means, or the momentum.
pub(super) fn optimizer_states(spec: &Spec) -> u64 {
    match spec.tune.optimizer {
        Optimizer::Adam(_) | Optimizer::AdamW(_) => 2,
        _ => 1,
    }
}
