//! Writing the checkpoints of a run.

use std::{fs, path::Path, sync::Arc};

use serde::Serialize;

use super::{Run, collective::agree};
use crate::{
    checkpoint::{Checkpoints, Fingerprint, RUN_FILE, SavedRun, StepSamples, save_policy},
    error::Result,
    gradient::ContextSamples,
    observer::StopReason,
    policy::{Checkpointed, Policy},
    storage::{LockFile, io_error},
    workers::Workers,
};

/// The place for a run's checkpoints, and what they need of run and policy.
#[derive(Debug)]
pub(crate) struct Checkpointing<'a, P, X> {
    pub(crate) checkpoints: &'a Checkpoints<X>,
    fingerprint: Fingerprint,
    save: fn(&P, &Path) -> disco_core::Result<()>,
    /// The lock on the directory, which ends with the run. On rank 0 alone.
    pub(crate) lock: Option<Arc<LockFile>>,
}

/// Locks the directory of a run's checkpoints, if this is the worker that writes them.
pub(crate) fn lock_on_rank_0<X>(
    workers: &dyn Workers,
    checkpoints: &Checkpoints<X>,
) -> Result<Option<Arc<LockFile>>> {
    (workers.rank() == 0).then(|| checkpoints.lock()).transpose()
}

impl<'a, P: Checkpointed, X> Checkpointing<'a, P, X> {
    pub(crate) fn new(checkpoints: &'a Checkpoints<X>, fingerprint: Fingerprint) -> Self {
        Self { checkpoints, fingerprint, save: P::save, lock: None }
    }
}

impl<'a, P, C, X> Run<'a, P, C, X>
where
    P: Policy<C, X>,
{
    /// Keeps checkpoints of this run, from its beginning on. If several workers share the run, all of them call it.
    ///
    /// # Errors
    /// [`disco_core::Error::Invalid`] if a step is done, or if the directory has checkpoints already, which would be
    /// mixed up with the checkpoints of this run. [`Error::InUse`](crate::Error::InUse) if another process writes there.
    /// [`Error::Io`](crate::Error::Io), and [`Error::PolicyFiles`](crate::Error::PolicyFiles) for an error of
    /// [`Checkpointed::save`].
    pub fn with_checkpoints(mut self, checkpoints: &'a Checkpoints<X>) -> Result<Self>
    where
        P: Checkpointed,
        C: Serialize,
    {
        let locked = lock_on_rank_0(self.workers, checkpoints);
        let checked = locked.and_then(|lock| Ok((lock, self.checked_fingerprint(checkpoints)?)));
        let (lock, fingerprint) = agree(self.workers, checked)?;
        self.checkpointing = Some(Checkpointing { lock, ..Checkpointing::new(checkpoints, fingerprint) });
        if self.proposal.is_some() {
            self.save_proposal()?;
            self.progress.proposal_step = Some(0);
        }
        Ok(self)
    }

    fn checked_fingerprint(&self, checkpoints: &Checkpoints<X>) -> Result<Fingerprint>
    where
        C: Serialize,
    {
        if self.progress.step > 0 {
            let step = self.progress.step;
            return Err(disco_core::Error::invalid("steps before checkpoints", step, "0").into());
        }
        if let Some(step) = checkpoints.steps()?.pop() {
            let allowed = "none, or `Tuner::resume`";
            let found = checkpoints.path(step).display().to_string();
            return Err(disco_core::Error::invalid("checkpoints in the directory", found, allowed).into());
        }
        self.tuner.fingerprint(self.problem)
    }

    /// Writes a checkpoint now, if the run has a place for them. If several workers share the run, all of them call it;
    /// rank 0 writes.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io), and [`Error::PolicyFiles`](crate::Error::PolicyFiles) for an error of
    /// [`Checkpointed::save`]; earlier checkpoints are then untouched.
    pub fn checkpoint(&self) -> Result<()> {
        let Some(checkpointing) = &self.checkpointing else { return Ok(()) };
        if !self.is_shared() {
            return self.write(checkpointing, &self.replay_buffer, &self.verification_samples);
        }
        let replay_buffer = self.with_all_samples(&self.replay_buffer)?;
        let verification_samples = self.with_all_samples(&self.verification_samples)?;
        self.on_rank_0(|| self.write(checkpointing, &replay_buffer, &verification_samples))
    }

    fn write(
        &self,
        checkpointing: &Checkpointing<'_, P, X>,
        replay_buffer: &StepSamples<X>,
        verification_samples: &StepSamples<X>,
    ) -> Result<()> {
        let checkpoints = checkpointing.checkpoints;
        let mut progress = self.progress.clone();
        // A run that an observer stopped makes its remaining steps when it is resumed.
        progress.reason = progress.reason.filter(|reason| *reason != StopReason::Observer);
        let path = checkpoints.path(progress.step);
        let best = progress.best.map(|(_, step)| step);
        let encode = |samples| (checkpoints.encode)(samples).map_err(|cause| io_error(&path, cause.into()));
        let (replay_buffer, verification_samples) = (encode(replay_buffer)?, encode(verification_samples)?);
        let state =
            SavedRun::new(checkpointing.fingerprint.clone(), progress, replay_buffer, verification_samples);
        let bytes = serde_json::to_vec(&state).map_err(|cause| io_error(&path, cause.into()))?;
        checkpoints.write(&path, |directory| {
            save_policy(directory, |path| (checkpointing.save)(self.policy, path))?;
            let path = directory.join(RUN_FILE);
            fs::write(&path, &bytes).map_err(|cause| io_error(&path, cause))
        })?;
        checkpoints.prune(best, |step| Ok(SavedRun::load(&checkpoints.path(step))?.progress.proposal_step))
    }

    /// Saves the current policy, from which the proposal was just frozen.
    pub(crate) fn save_proposal(&self) -> Result<()> {
        let Some(checkpointing) = &self.checkpointing else { return Ok(()) };
        let path = checkpointing.checkpoints.proposal_path(self.progress.step);
        let save = |path: &Path| (checkpointing.save)(self.policy, path);
        self.on_rank_0(|| checkpointing.checkpoints.write(&path, |directory| save_policy(directory, save)))
    }

    /// Does `work` on rank 0, for the outcome of which the other workers wait.
    fn on_rank_0(&self, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let done = if self.workers.rank() == 0 { work() } else { Ok(()) };
        agree(self.workers, done)
    }

    /// The samples of some steps with the samples of all workers.
    fn with_all_samples(&self, steps: &StepSamples<X>) -> Result<StepSamples<X>> {
        let groups: Vec<&ContextSamples<X>> = steps.iter().flatten().collect();
        let mut all = self.gather_samples(&groups)?.into_iter();
        let mut whole = |group: &ContextSamples<X>| group.with_all(all.next().unwrap_or_default());
        Ok(steps.iter().map(|groups| groups.iter().map(&mut whole).collect()).collect())
    }
}
