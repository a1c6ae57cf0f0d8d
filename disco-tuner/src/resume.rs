//! Saving a run and going on from there.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Checkpoints, Error, Policy, Problem, Reason, Result, Run, Tuner, files::io_error, manifest, run::Progress,
};

/// The file of a checkpoint's state, next to the folder of the policy.
const FILE: &str = "run.json";
const POLICY: &str = "policy";
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    version: u32,
    /// What a run that goes on must agree with.
    settings: Value,
    progress: Progress,
    window: Value,
}

impl Tuner {
    /// A run that goes on from the latest checkpoint; the policy must be of the same shape, with any
    /// parameters.
    ///
    /// # Errors
    /// [`Error::NoCheckpoint`]; [`Error::Damaged`]; [`Error::OtherSettings`] naming each difference; those of
    /// [`start`](Self::start) and of [`Policy::load`].
    pub fn resume<'a, P, C, X>(
        &'a self,
        policy: &'a mut P,
        problem: &'a Problem<'a, C, X>,
        checkpoints: &'a Checkpoints<X>,
    ) -> Result<Run<'a, P, C, X>>
    where
        P: Policy<C, X>,
    {
        let step = checkpoints.steps()?.pop();
        let missing = || Error::NoCheckpoint { folder: checkpoints.path(0).with_file_name("") };
        let folder = checkpoints.path(step.ok_or_else(missing)?);
        manifest::check(&folder)?;
        let state = read_state(&folder)?;
        let mut run = Run::new(self, policy, problem)?;
        let differences = differences(&state.settings, &settings(self, problem)?);
        if !differences.is_empty() {
            return Err(Error::OtherSettings { path: folder, differences: differences.join("; ") });
        }
        if let Some(frozen) = state.progress.proposal {
            let path = checkpoints.proposal_path(frozen);
            manifest::check(&path)?;
            run.policy.load(&path.join(POLICY))?;
            run.proposal = Some(run.policy.freeze()?);
        }
        run.policy.load(&folder.join(POLICY))?;
        run.window =
            (checkpoints.decode)(state.window).map_err(|source| damaged(&folder.join(FILE), source))?;
        run.progress = state.progress;
        run.checkpoints = Some(checkpoints);
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
    /// would be taken for this one's. [`Error::Io`], and those of [`Policy::save`].
    pub fn with_checkpoints(mut self, checkpoints: &'a Checkpoints<X>) -> Result<Self> {
        if self.progress.step > 0 {
            let step = self.progress.step;
            return Err(disco_core::Error::invalid("steps before checkpoints", step, "0").into());
        }
        if let Some(step) = checkpoints.steps()?.pop() {
            let allowed = "none, or `Tuner::resume`";
            let found = checkpoints.path(step).display().to_string();
            return Err(disco_core::Error::invalid("checkpoints in the folder", found, allowed).into());
        }
        self.checkpoints = Some(checkpoints);
        if self.proposal.is_some() {
            self.save_proposal()?;
            self.progress.proposal = Some(0);
        }
        Ok(self)
    }

    /// Writes a checkpoint now, if there is a place for them.
    ///
    /// # Errors
    /// [`Error::Io`], and those of [`Policy::save`]; earlier checkpoints are then untouched.
    pub fn checkpoint(&self) -> Result<()> {
        let Some(checkpoints) = self.checkpoints else { return Ok(()) };
        let mut progress = self.progress.clone();
        // Who resumes a run that was stopped wants it to go on.
        progress.reason = progress.reason.filter(|reason| *reason != Reason::Observer);
        let path = checkpoints.path(progress.step);
        let best = progress.best.map(|(_, step)| step);
        let window = (checkpoints.encode)(&self.window).map_err(|source| io_error(&path, source.into()))?;
        let settings = settings(self.tuner, self.problem)?;
        let state = State { version: VERSION, settings, progress, window };
        let bytes = serde_json::to_vec(&state).map_err(|source| io_error(&path, source.into()))?;
        checkpoints.write(&path, |folder| {
            self.policy.save(&folder.join(POLICY))?;
            let path = folder.join(FILE);
            fs::write(&path, &bytes).map_err(|source| io_error(&path, source))
        })?;
        checkpoints.prune(best, |step| Ok(read_state(&checkpoints.path(step))?.progress.proposal))
    }

    /// Keeps the policy as it is now, from which the proposal was just frozen.
    pub(crate) fn save_proposal(&self) -> Result<()> {
        let Some(checkpoints) = self.checkpoints else { return Ok(()) };
        checkpoints.write(&checkpoints.proposal_path(self.progress.step), |folder| {
            Ok(self.policy.save(&folder.join(POLICY))?)
        })
    }
}

fn read_state(folder: &Path) -> Result<State> {
    let path = folder.join(FILE);
    let bytes = fs::read(&path).map_err(|source| io_error(&path, source))?;
    let state: State = serde_json::from_slice(&bytes).map_err(|source| damaged(&path, source))?;
    if state.version != VERSION {
        let difference = format!("version {}, where this program writes {VERSION}", state.version);
        return Err(Error::Damaged { path, difference });
    }
    Ok(state)
}

fn damaged(path: &Path, source: serde_json::Error) -> Error {
    Error::Damaged { path: path.to_path_buf(), difference: source.to_string() }
}

/// All on which the rest of a run depends, but for the policy.
fn settings<C, X>(tuner: &Tuner, problem: &Problem<'_, C, X>) -> Result<Value> {
    let failed = |source| disco_core::Error::failed("settings of a run", source);
    let mut settings = serde_json::to_value(tuner.config()).map_err(failed)?;
    settings["divergence"] = tuner.divergence().name().into();
    settings["contexts"] = problem.contexts.len().into();
    settings["held_out_contexts"] = problem.held_out.map(|contexts| contexts.len()).into();
    Ok(settings)
}

/// The fields in which two objects differ, as `field: OLD in the checkpoint, NEW now`.
fn differences(old: &Value, new: &Value) -> Vec<String> {
    let empty = serde_json::Map::new();
    let (old, new) = (old.as_object().unwrap_or(&empty), new.as_object().unwrap_or(&empty));
    let fields: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    fields
        .into_iter()
        .filter(|field| old.get(*field) != new.get(*field))
        .map(|field| {
            let show = |value: Option<&Value>| value.map_or("absent".into(), ToString::to_string);
            format!("{field}: {} in the checkpoint, {} now", show(old.get(field)), show(new.get(field)))
        })
        .collect()
}
