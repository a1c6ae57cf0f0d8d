//! A run from beginning to end: the folder of its results, the model, the pipeline, the results.

use std::path::{Path, PathBuf};

use disco_core::Distribution;
use disco_tuner::{Checkpointed, Policy};
use serde::{Serialize, de::DeserializeOwned};

use super::{CheckpointFolder, Clock, RunControl, RunPlan, run_pipeline};
use crate::{
    Result,
    features::{TextSample, TextScorers},
    process::peak_bytes,
    results::{ModelRecord, OutputFolder, RunRecord, write_outputs},
    spec::{Spec, WEIGHTS},
};

/// A model, ready to be tuned.
#[derive(Debug)]
pub struct Loaded<B, P> {
    /// The base distribution.
    pub base: B,
    /// The policy that is tuned; it starts as the base.
    pub policy: P,
    /// The text scorers of the spec's classifiers.
    pub scorers: TextScorers,
    /// The description of the model for the report.
    pub record: ModelRecord,
}

/// Runs a spec, and writes the results to the folder `out`; returns the folder and the record.
///
/// `weights` is the number of bytes that `save` will write, so that a full disk is found before anything is computed.
///
/// # Errors
/// As [`OutputFolder::prepare`] and [`CheckpointFolder::prepare`], before anything is computed; those of `load`, of
/// [`run_pipeline`] and of `save`. After any error, earlier results are still there, and the run has left nothing but the policy's
/// checkpoints, in the folder `OUT.checkpoints`, from which [`StartMode::Resume`](crate::StartMode::Resume) continues.
pub fn run_workflow<X, B, P>(
    spec: &Spec,
    out: &Path,
    weights: u64,
    control: &RunControl,
    load: impl FnOnce() -> Result<Loaded<B, P>>,
    save: impl FnOnce(&P, &Path) -> Result<()>,
) -> Result<(PathBuf, RunRecord)>
where
    X: TextSample + Serialize + DeserializeOwned,
    B: Distribution<String, X>,
    P: Policy<String, X> + Checkpointed,
{
    let interrupt = &control.interrupt;
    let folder = interrupt.begin(|| OutputFolder::prepare(out, weights), OutputFolder::staging)?;
    let checkpoints = CheckpointFolder::prepare(out, control)?;
    let mut clock = Clock::default();
    let tuned = || -> Result<_> {
        let Loaded { base, mut policy, scorers, record: model } = load()?;
        clock.lap("load", 0, 0);
        let plan = RunPlan::new(spec, &scorers, control.progress)?;
        let finished = run_pipeline(&plan, model, &base, &mut policy, &mut clock, Some(&checkpoints))?;
        Ok((policy, finished))
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
    save(&policy, &folder.path().join(WEIGHTS))?;
    clock.lap("save", 0, 0);
    finished.record.stages = clock.stages().to_vec();
    finished.record.peak_memory_bytes = peak_bytes();
    finished.fit.save(folder.path().join("target.json"))?;
    write_outputs(&folder, &finished.record)?;
    let place = interrupt.finish(|| folder.finish())?;
    checkpoints.finish()?;
    Ok((place, finished.record))
}
