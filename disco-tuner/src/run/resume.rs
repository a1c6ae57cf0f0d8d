//! Resuming a run from a checkpoint.

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Run, Tuner,
    checkpointing::{Checkpointing, lock_on_rank_0},
    collective::{Sharing, agree},
};
use crate::{
    checkpoint::{Checkpoints, RUN_FILE, SavedRun, damaged, load_policy},
    error::{Error, Result, Stage},
    gradient::ContextSamples,
    observer::StopReason,
    policy::{Checkpointed, PendingGradient, Policy},
    problem::Problem,
    storage::SealedFolder,
    workers::{Single, Workers},
};

/// Number of contexts of a step, and of samples in each, that a checkpoint keeps to verify the target on resuming.
pub(crate) const VERIFIED: (usize, usize) = (4, 2);
/// The largest difference between a score and its saved value, relative to its magnitude or to 1: beyond all rounding of
/// `f32`.
const SCORE_TOLERANCE: f64 = 1e-3;

impl Tuner {
    /// A run that resumes from the latest checkpoint; the policy must be of the same shape, with any
    /// parameters.
    ///
    /// Settings, contexts, [facts](Problem::with_fact) and the target's scores of some samples must be the same as in
    /// the checkpoint. Two settings may change: `steps`, which makes a run longer, also a finished one (a schedule then
    /// runs over the new number), and `micro_batch`, which changes results by rounding alone.
    ///
    /// # Errors
    /// [`Error::InUse`] if another process writes checkpoints there; [`Error::NoCheckpoint`]; [`Error::Damaged`], with the earlier
    /// checkpoint that is whole; [`Error::OtherSettings`] naming each difference; [`Error::PolicyFiles`] for an error of [`Checkpointed::load`]; errors of
    /// [`start`](Self::start) and of the target.
    pub fn resume<'a, P, C, X>(
        &'a self,
        policy: &'a mut P,
        problem: &'a Problem<'a, C, X>,
        checkpoints: &'a Checkpoints<X>,
    ) -> Result<Run<'a, P, C, X>>
    where
        P: Policy<C, X> + Checkpointed,
        C: Serialize,
    {
        self.resume_latest(policy, problem, checkpoints, &Single, None)
    }

    /// As [`resume`](Self::resume), for a run that several workers share. All of them read the same checkpoint; their
    /// number may differ from the run before.
    ///
    /// # Errors
    /// Errors of [`resume`](Self::resume) and of [`start_shared`](Self::start_shared).
    pub fn resume_shared<'a, P, C, X>(
        &'a self,
        policy: &'a mut P,
        problem: &'a Problem<'a, C, X>,
        checkpoints: &'a Checkpoints<X>,
        workers: &'a dyn Workers,
    ) -> Result<Run<'a, P, C, X>>
    where
        P: Policy<C, X> + Checkpointed + PendingGradient,
        C: Serialize,
        X: Serialize + DeserializeOwned,
    {
        let resumed = self.resume_latest(policy, problem, checkpoints, workers, Some(Sharing::new()));
        agree(workers, resumed)?.checked_among_workers()
    }

    fn resume_latest<'a, P, C, X>(
        &'a self,
        policy: &'a mut P,
        problem: &'a Problem<'a, C, X>,
        checkpoints: &'a Checkpoints<X>,
        workers: &'a dyn Workers,
        sharing: Option<Sharing<P, X>>,
    ) -> Result<Run<'a, P, C, X>>
    where
        P: Policy<C, X> + Checkpointed,
        C: Serialize,
    {
        let lock = lock_on_rank_0(workers, checkpoints)?;
        let step = checkpoints.latest()?;
        let mut run = self
            .resume_from(step, policy, problem, checkpoints, workers, sharing)
            .map_err(|error| checkpoints.with_remedy(step, error))?;
        if let Some(checkpointing) = &mut run.checkpointing {
            checkpointing.lock = lock;
        }
        Ok(run)
    }

    fn resume_from<'a, P, C, X>(
        &'a self,
        step: u64,
        policy: &'a mut P,
        problem: &'a Problem<'a, C, X>,
        checkpoints: &'a Checkpoints<X>,
        workers: &'a dyn Workers,
        sharing: Option<Sharing<P, X>>,
    ) -> Result<Run<'a, P, C, X>>
    where
        P: Policy<C, X> + Checkpointed,
        C: Serialize,
    {
        let directory = checkpoints.path(step);
        SealedFolder::open(&directory)?.check()?;
        let state = SavedRun::load(&directory)?;
        let mut run = Run::new(self, policy, problem, workers, sharing)?;
        let fingerprint = self.fingerprint(problem)?;
        let mut differences = state.fingerprint.differences(&fingerprint, state.progress.step);
        let decode = |samples| {
            (checkpoints.decode)(samples).map_err(|cause| damaged(&directory.join(RUN_FILE), &cause))
        };
        let (mut replay_buffer, mut verification_samples) =
            (decode(state.replay_buffer)?, decode(state.verification_samples)?);
        if differences.is_empty() {
            // The contexts are the same, so that the groups' positions in the list are valid.
            let verified = verification_samples.iter().chain(replay_buffer.front()).flatten();
            for group in verified.take(VERIFIED.0) {
                let (step, stage, context) = (state.progress.step, Stage::Score, group.context);
                let named = |cause| Error::Context { step, stage, context, cause };
                differences.extend(changed_score(problem, group).map_err(named)?);
            }
        }
        if !differences.is_empty() {
            return Err(Error::OtherSettings { path: directory, differences });
        }
        if let Some(frozen) = state.progress.proposal_step {
            let path = checkpoints.proposal_path(frozen);
            SealedFolder::open(&path)?.check()?;
            load_policy(run.policy, &path)?;
            run.proposal = Some(run.policy.freeze()?);
        }
        load_policy(run.policy, &directory)?;
        if run.is_shared() {
            for groups in replay_buffer.iter_mut().chain(&mut verification_samples) {
                let groups = groups.iter_mut().enumerate();
                groups.for_each(|(slot, group)| group.keep_part(workers.rank(), workers.count(), slot));
            }
        }
        (run.replay_buffer, run.verification_samples) = (replay_buffer, verification_samples);
        run.progress = state.progress;
        if run.progress.reason == Some(StopReason::Finished) && run.progress.step < self.config().steps {
            run.progress.reason = None;
        }
        run.checkpointing = Some(Checkpointing::new(checkpoints, fingerprint));
        Ok(run)
    }
}

/// The first of some samples to which the target gives another score than the saved one, if there is one.
fn changed_score<C, X>(
    problem: &Problem<'_, C, X>,
    group: &ContextSamples<X>,
) -> disco_core::Result<Option<String>> {
    // A sample that was skipped has no score to compare.
    let scored = (0..group.len()).filter(|at| !group.is_skipped(*at)).take(VERIFIED.1);
    let scored: Vec<usize> = scored.collect();
    let samples: Vec<&X> = scored.iter().map(|at| &group.samples[*at]).collect();
    let Some(context) = problem.contexts.get(group.context) else { return Ok(None) };
    let scores = problem.target.log_scores(context, &samples)?;
    disco_core::Error::check_length("log-scores of the target", samples.len(), scores.len())?;
    for (&number, new) in scored.iter().zip(&scores) {
        let old = group.log_target[number];
        let near = |new: f64| old == new || (old - new).abs() <= SCORE_TOLERANCE * old.abs().max(1.0);
        if !new.as_ref().is_ok_and(|new| near(*new)) {
            let now = new.as_ref().map_or_else(|skipped| format!("{skipped:?}"), ToString::to_string);
            let context = group.context;
            return Ok(Some(format!(
                "target: its score of sample {number} in context {context} is {old} in the checkpoint, {now} now"
            )));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use disco_core::{Contexts, Space, scorer};
    use serde_json::Value;

    use crate::{
        Checkpoints, Error, Problem, SoftmaxTable, Tuner, TunerConfig, checkpoint::RUN_FILE,
        storage::SealedFolder,
    };

    #[test]
    fn a_checkpoint_of_another_version_is_refused_with_both_versions() {
        let (contexts, target) = (Contexts::single(()), scorer(|_: &(), x: &u8| f64::from(*x)));
        let problem = Problem::new(&contexts, &target);
        let mut policy = SoftmaxTable::uniform(Space::new([()]).unwrap(), Space::new(0..4u8).unwrap());
        let tuner = Tuner::new(TunerConfig { steps: 2, ..TunerConfig::default() }).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(directory.path(), 1, 1).unwrap();
        let run = tuner.start(&mut policy, &problem).unwrap().with_checkpoints(&checkpoints).unwrap();
        run.drive(&mut ()).unwrap();
        let step = checkpoints.path(2);
        let of_version = |file: &str, version: u32| {
            let path = step.join(file);
            let mut content: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            content["version"] = version.into();
            content["more"] = "what this program does not know".into();
            fs::write(&path, content.to_string()).unwrap();
        };
        let mut refused = || {
            let error = tuner.resume(&mut policy, &problem, &checkpoints).map(drop).unwrap_err();
            assert!(matches!(error, Error::Damaged { .. }), "{error}");
            error.to_string()
        };
        // Complete and sealed, by another program.
        of_version(RUN_FILE, 7);
        fs::remove_file(step.join("manifest.json")).unwrap();
        SealedFolder::seal(&step).unwrap();
        let text = refused();
        assert!(
            text.contains("run.json") && text.contains("version 7, where this program writes 4"),
            "{text}"
        );
        of_version("manifest.json", 9);
        let text = refused();
        assert!(
            text.contains("manifest.json") && text.contains("version 9, where this program writes 1"),
            "{text}"
        );
    }
}
