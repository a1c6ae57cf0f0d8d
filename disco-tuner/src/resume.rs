//! Saving a run and going on from there.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Checkpoints, Error, Policy, Problem, Reason, Result, Run, Stage, Tuner,
    files::{io_error, version},
    group::Group,
    identity::Identity,
    manifest,
    run::Progress,
};

/// The file of a checkpoint's state, next to the folder of the policy.
const FILE: &str = "run.json";
const POLICY: &str = "policy";
const VERSION: u32 = 2;

/// How many contexts of a step are kept with how many samples each, to be scored again by who goes on.
pub(crate) const PROBED: (usize, usize) = (4, 2);
/// How far a score may be from what it was, as a share of its magnitude or of 1: beyond all rounding of `f32`.
const SCORE_TOLERANCE: f64 = 1e-3;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    version: u32,
    /// What a run that goes on must agree with.
    identity: Identity,
    progress: Progress,
    window: Value,
    /// Scored samples of an earlier step.
    probe: Value,
}

impl Tuner {
    /// A run that goes on from the latest checkpoint; the policy must be of the same shape, with any
    /// parameters.
    ///
    /// Settings, contexts, [facts](Problem::with_fact) and the target's scores of some samples must be those of
    /// the checkpoint. Only `steps` may be others, which makes a run longer, also one that was finished (a schedule
    /// then runs over the new number), and `micro_batch`, which changes results by rounding alone.
    ///
    /// # Errors
    /// [`Error::NoCheckpoint`]; [`Error::Damaged`], saying which earlier one is whole; [`Error::OtherSettings`] naming each difference;
    /// [`Error::PolicyFiles`] with what [`Policy::load`] says; those of [`start`](Self::start) and of the target.
    pub fn resume<'a, P, C, X>(
        &'a self,
        policy: &'a mut P,
        problem: &'a Problem<'a, C, X>,
        checkpoints: &'a Checkpoints<X>,
    ) -> Result<Run<'a, P, C, X>>
    where
        P: Policy<C, X>,
        C: Serialize,
    {
        let step = checkpoints.steps()?.pop();
        let missing = || Error::NoCheckpoint { folder: checkpoints.path(0).with_file_name("") };
        let step = step.ok_or_else(missing)?;
        self.resume_from(step, policy, problem, checkpoints)
            .map_err(|error| checkpoints.remedied(step, error))
    }

    fn resume_from<'a, P, C, X>(
        &'a self,
        step: u64,
        policy: &'a mut P,
        problem: &'a Problem<'a, C, X>,
        checkpoints: &'a Checkpoints<X>,
    ) -> Result<Run<'a, P, C, X>>
    where
        P: Policy<C, X>,
        C: Serialize,
    {
        let folder = checkpoints.path(step);
        manifest::check(&folder)?;
        let state = read_state(&folder)?;
        let mut run = Run::new(self, policy, problem)?;
        let identity = Identity::new(self, problem)?;
        let mut differences = state.identity.differences(&identity, state.progress.step);
        let decode =
            |window| (checkpoints.decode)(window).map_err(|source| damaged(&folder.join(FILE), source));
        let (window, probe) = (decode(state.window)?, decode(state.probe)?);
        if differences.is_empty() {
            // The same contexts, so that the groups' positions in the list are good.
            for group in probe.iter().chain(window.front()).flatten().take(PROBED.0) {
                let (step, stage, context) = (state.progress.step, Stage::Score, group.context);
                let named = |source| Error::Context { step, stage, context, source };
                differences.extend(rescored(problem, group).map_err(named)?);
            }
        }
        if !differences.is_empty() {
            return Err(Error::OtherSettings { path: folder, differences: differences.join("; ") });
        }
        if let Some(frozen) = state.progress.proposal {
            let path = checkpoints.proposal_path(frozen);
            manifest::check(&path)?;
            load(run.policy, &path)?;
            run.proposal = Some(run.policy.freeze()?);
        }
        load(run.policy, &folder)?;
        (run.window, run.probe) = (window, probe);
        run.progress = state.progress;
        if run.progress.reason == Some(Reason::Finished) && run.progress.step < self.config().steps {
            run.progress.reason = None;
        }
        run.checkpoints = Some((checkpoints, identity));
        Ok(run)
    }
}

impl<'a, P, C, X> Run<'a, P, C, X>
where
    P: Policy<C, X>,
{
    /// Keeps checkpoints of this run, from its beginning on.
    ///
    /// # Errors
    /// [`disco_core::Error::Invalid`] if steps are done, or the folder has checkpoints already: those of another run
    /// would be taken for this one's. [`Error::Io`], and [`Error::PolicyFiles`] with what [`Policy::save`] says.
    pub fn with_checkpoints(mut self, checkpoints: &'a Checkpoints<X>) -> Result<Self>
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
            return Err(disco_core::Error::invalid("checkpoints in the folder", found, allowed).into());
        }
        self.checkpoints = Some((checkpoints, Identity::new(self.tuner, self.problem)?));
        if self.proposal.is_some() {
            self.save_proposal()?;
            self.progress.proposal = Some(0);
        }
        Ok(self)
    }

    /// Writes a checkpoint now, if there is a place for them.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::PolicyFiles`] with what [`Policy::save`] says; earlier checkpoints are then untouched.
    pub fn checkpoint(&self) -> Result<()> {
        let Some((checkpoints, identity)) = &self.checkpoints else { return Ok(()) };
        let mut progress = self.progress.clone();
        // Who resumes a run that was stopped wants it to go on.
        progress.reason = progress.reason.filter(|reason| *reason != Reason::Observer);
        let path = checkpoints.path(progress.step);
        let best = progress.best.map(|(_, step)| step);
        let window = (checkpoints.encode)(&self.window).map_err(|source| io_error(&path, source.into()))?;
        let probe = (checkpoints.encode)(&self.probe).map_err(|source| io_error(&path, source.into()))?;
        let state = State { version: VERSION, identity: identity.clone(), progress, window, probe };
        let bytes = serde_json::to_vec(&state).map_err(|source| io_error(&path, source.into()))?;
        checkpoints.write(&path, |folder| {
            self.save_policy(folder)?;
            let path = folder.join(FILE);
            fs::write(&path, &bytes).map_err(|source| io_error(&path, source))
        })?;
        checkpoints.prune(best, |step| Ok(read_state(&checkpoints.path(step))?.progress.proposal))
    }

    /// Keeps the policy as it is now, from which the proposal was just frozen.
    pub(crate) fn save_proposal(&self) -> Result<()> {
        let Some((checkpoints, _)) = &self.checkpoints else { return Ok(()) };
        checkpoints.write(&checkpoints.proposal_path(self.progress.step), |folder| self.save_policy(folder))
    }

    fn save_policy(&self, folder: &Path) -> Result<()> {
        let folder = folder.join(POLICY);
        fs::create_dir(&folder).map_err(|source| io_error(&folder, source))?;
        self.policy.save(&folder).map_err(|source| Error::PolicyFiles { path: folder, source })
    }
}

impl<X> Checkpoints<X> {
    /// Gives `policy` the parameters that it had at a step of which there is a [checkpoint](Self::steps).
    ///
    /// # Errors
    /// [`Error::NoCheckpoint`]; [`Error::Damaged`]; [`Error::PolicyFiles`], also for a policy of another shape.
    pub fn load_policy<C, P: Policy<C, X>>(&self, step: u64, policy: &mut P) -> Result<()> {
        let folder = self.path(step);
        if !self.steps()?.contains(&step) {
            return Err(Error::NoCheckpoint { folder });
        }
        manifest::check(&folder)?;
        load(policy, &folder)
    }

    /// The lowest value of the metric of [`EarlyStopping`](crate::EarlyStopping) and its step, as the latest
    /// checkpoint knows them; there is a checkpoint of that step. `None` where none was measured.
    ///
    /// # Errors
    /// [`Error::NoCheckpoint`]; [`Error::Damaged`].
    pub fn best(&self) -> Result<Option<(f64, u64)>> {
        let missing = || Error::NoCheckpoint { folder: self.path(0).with_file_name("") };
        let folder = self.path(self.steps()?.pop().ok_or_else(missing)?);
        manifest::check(&folder)?;
        Ok(read_state(&folder)?.progress.best)
    }

    /// What is wrong with the checkpoint of `step`, with what can be done about it.
    fn remedied(&self, step: u64, error: Error) -> Error {
        let Error::Damaged { path, difference, .. } = error else { return error };
        let steps = self.steps().unwrap_or_default();
        let whole = steps.into_iter().rev().find(|earlier| *earlier < step && self.is_whole(*earlier));
        let remedy = match whole {
            Some(whole) => {
                format!("step-{whole} is whole: remove the checkpoints after it to go on from there")
            }
            None => "no earlier checkpoint is whole: the run has to begin anew".into(),
        };
        Error::Damaged { path, difference, remedy }
    }

    /// Whether a run could go on from the checkpoint of a step, as far as its files tell.
    fn is_whole(&self, step: u64) -> bool {
        let folder = self.path(step);
        let state = manifest::check(&folder).and_then(|()| read_state(&folder));
        let proposal = |frozen| manifest::check(&self.proposal_path(frozen)).is_ok();
        state.is_ok_and(|state| state.progress.proposal.is_none_or(proposal))
    }
}

/// Gives a policy the parameters of a checkpoint.
fn load<C, X, P: Policy<C, X>>(policy: &mut P, checkpoint: &Path) -> Result<()> {
    let path = checkpoint.join(POLICY);
    policy.load(&path).map_err(|source| Error::PolicyFiles { path, source })
}

fn read_state(folder: &Path) -> Result<State> {
    let path = folder.join(FILE);
    let bytes = fs::read(&path).map_err(|source| io_error(&path, source))?;
    let found = version(&bytes).map_err(|source| damaged(&path, source))?;
    if found != VERSION {
        let difference = format!("version {found}, where this program writes {VERSION}");
        return Err(Error::Damaged { path, difference, remedy: String::new() });
    }
    serde_json::from_slice(&bytes).map_err(|source| damaged(&path, source))
}

fn damaged(path: &Path, source: serde_json::Error) -> Error {
    Error::Damaged { path: path.to_path_buf(), difference: source.to_string(), remedy: String::new() }
}

/// What a target that was changed since gives a sample, if it is not what it gave then.
fn rescored<C, X>(
    problem: &Problem<'_, C, X>,
    group: &Group<X>,
) -> std::result::Result<Option<String>, disco_core::Error> {
    let count = group.len().min(PROBED.1);
    let samples: Vec<&X> = group.samples[..count].iter().collect();
    let Some(context) = problem.contexts.get(group.context) else { return Ok(None) };
    let scores = problem.target.log_scores(context, &samples)?;
    disco_core::Error::check_length("log-scores of the target", samples.len(), scores.len())?;
    for (at, (&old, new)) in group.log_target.iter().zip(&scores).enumerate() {
        let near = |new: f64| old == new || (old - new).abs() <= SCORE_TOLERANCE * old.abs().max(1.0);
        if !new.as_ref().is_ok_and(|new| near(*new)) {
            let now = new.as_ref().map_or_else(|skipped| format!("{skipped:?}"), ToString::to_string);
            let (at, context) = (group.place(at), group.context);
            return Ok(Some(format!(
                "target: its score of sample {at} in context {context} is {old} in the checkpoint, {now} now"
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

    use super::FILE;
    use crate::{Checkpoints, Error, Problem, SoftmaxTable, Tuner, TunerConfig, manifest};

    #[test]
    fn a_checkpoint_of_another_version_is_refused_with_both_versions() {
        let (contexts, target) = (Contexts::one(()), scorer(|_: &(), x: &u8| f64::from(*x)));
        let problem = Problem::new(&contexts, &target);
        let mut policy = SoftmaxTable::uniform(Space::new([()]).unwrap(), Space::new(0..4u8).unwrap());
        let tuner = Tuner::new(TunerConfig { steps: 2, ..TunerConfig::default() }).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(folder.path(), 1, 1).unwrap();
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
        // Whole and sealed, by a program that is not this one.
        of_version(FILE, 7);
        fs::remove_file(step.join("manifest.json")).unwrap();
        manifest::seal(&step).unwrap();
        let text = refused();
        assert!(
            text.contains("run.json") && text.contains("version 7, where this program writes 2"),
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
