//! A run from beginning to end: place for its results, model, pipeline, results.

use std::path::{Path, PathBuf};

use disco_core::Distribution;
use disco_tuner::Policy;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Kept, Result, Session,
    memory::peak_bytes,
    output::{OutputFolder, write_outputs},
    pipeline::{Clock, run_pipeline},
    record::{ModelRecord, RunRecord},
    spec::Spec,
    text::{Judges, TextSample},
};

/// The folder of the tuned weights, inside of the results.
pub const WEIGHTS: &str = "model";

/// A model, ready to be steered.
#[derive(Debug)]
pub struct Loaded<B, P> {
    /// What the spec calls the base.
    pub base: B,
    /// What is tuned; it starts as the base.
    pub policy: P,
    /// The classifiers among the spec's features.
    pub judges: Judges,
    /// What the report says of it.
    pub record: ModelRecord,
}

/// Runs a spec, and puts the results into the folder `out`; gives where they are, and what they say.
///
/// `weights` is how many bytes `save` will write, so that a disk without room for them is found at once.
///
/// # Errors
/// As [`OutputFolder::prepare`] and [`Kept::prepare`], before anything is computed; those of `load`, of
/// [`run_pipeline`] and of `save`. Whatever the error, nothing is left behind but the policy's checkpoints, in the
/// folder `OUT.checkpoints`, from which [`Start::Resume`](crate::Start::Resume) goes on, and earlier results are
/// still there.
pub fn run_workflow<X, B, P>(
    spec: &Spec,
    out: &Path,
    weights: u64,
    session: &Session,
    load: impl FnOnce() -> Result<Loaded<B, P>>,
    save: impl FnOnce(&P, &Path) -> Result<()>,
) -> Result<(PathBuf, RunRecord)>
where
    X: TextSample + Serialize + DeserializeOwned,
    B: Distribution<String, X>,
    P: Policy<String, X>,
{
    let interrupt = &session.interrupt;
    let folder = interrupt.begin(|| OutputFolder::prepare(out, weights), OutputFolder::workplace)?;
    let kept = Kept::prepare(out, session)?;
    let mut clock = Clock::default();
    let tuned = || -> Result<_> {
        let Loaded { base, mut policy, judges, record: model } = load()?;
        clock.lap("load", 0, 0);
        let finished = run_pipeline(
            spec,
            model,
            &judges,
            &base,
            &mut policy,
            &mut clock,
            session.progress,
            Some(&kept),
        )?;
        Ok((policy, finished))
    };
    let (policy, mut finished) = match tuned() {
        Ok(tuned) => tuned,
        Err(error) => {
            // The error of the run is the one to tell of.
            let _ = kept.sweep();
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
    kept.finish()?;
    Ok((place, finished.record))
}
