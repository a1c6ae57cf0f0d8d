//! The state of a run as a checkpoint has it.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Checkpoints, fingerprint::Fingerprint};
use crate::{
    error::{Error, Result},
    gradient::ZEstimate,
    observer::StopReason,
    policy::Checkpointed,
    storage::{SealedFolder, io_error, version},
};

/// The file of a run's state, next to the directory of the policy.
pub(crate) const RUN_FILE: &str = "run.json";
/// The directory of the policy's files.
const POLICY: &str = "policy";
const VERSION: u32 = 4;

/// The state of a run, without policy, proposal and samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progress {
    /// The number of steps done.
    pub(crate) step: u64,
    /// The step before which the proposal was frozen, if checkpoints keep the proposal.
    pub(crate) proposal_step: Option<u64>,
    /// Per context, the estimate of `Z` from the steps that left the replay buffer.
    pub(crate) z_estimates: Vec<ZEstimate>,
    /// The number of steps without success, up to the last, in a row; and of their samples.
    pub(crate) steps_without_success: u64,
    pub(crate) samples_without_success: u64,
    /// The best value of the metric of early stopping, and its step.
    pub(crate) best: Option<(f64, u64)>,
    /// The number of measurements since then.
    pub(crate) measurements_without_improvement: u64,
    /// The reason why the run ended, if it did.
    pub(crate) reason: Option<StopReason>,
}

impl Progress {
    /// The state before the first step.
    pub(crate) fn new(contexts: usize) -> Self {
        Self {
            step: 0,
            proposal_step: None,
            z_estimates: vec![ZEstimate::NONE; contexts],
            steps_without_success: 0,
            samples_without_success: 0,
            best: None,
            measurements_without_improvement: 0,
            reason: None,
        }
    }
}

/// The content of [`RUN_FILE`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedRun {
    version: u32,
    /// A run that resumes from the checkpoint must agree with it.
    pub(crate) fingerprint: Fingerprint,
    pub(crate) progress: Progress,
    pub(crate) replay_buffer: Value,
    /// Scored samples of an earlier step, which a run that resumes scores again.
    pub(crate) verification_samples: Value,
}

impl SavedRun {
    pub(crate) fn new(
        fingerprint: Fingerprint,
        progress: Progress,
        replay_buffer: Value,
        verification_samples: Value,
    ) -> Self {
        Self { version: VERSION, fingerprint, progress, replay_buffer, verification_samples }
    }

    /// Reads the state of a checkpoint.
    pub(crate) fn load(directory: &Path) -> Result<Self> {
        let path = directory.join(RUN_FILE);
        let bytes = fs::read(&path).map_err(|cause| io_error(&path, cause))?;
        let found = version(&bytes).map_err(|cause| damaged(&path, &cause))?;
        if found != VERSION {
            let difference = format!("version {found}, where this program writes {VERSION}");
            return Err(Error::Damaged { path, difference, remedy: String::new() });
        }
        serde_json::from_slice(&bytes).map_err(|cause| damaged(&path, &cause))
    }
}

/// An error for a file of a checkpoint that cannot be parsed.
pub(crate) fn damaged(path: &Path, cause: &serde_json::Error) -> Error {
    Error::Damaged { path: path.to_path_buf(), difference: cause.to_string(), remedy: String::new() }
}

impl<X> Checkpoints<X> {
    /// Loads the parameters that the policy had at a step of which there is a [checkpoint](Self::steps).
    ///
    /// # Errors
    /// [`Error::NoCheckpoint`]; [`Error::Damaged`]; [`Error::PolicyFiles`], also for a policy of another shape.
    pub fn load_policy<P: Checkpointed + ?Sized>(&self, step: u64, policy: &mut P) -> Result<()> {
        let directory = self.path(step);
        if !self.steps()?.contains(&step) {
            return Err(Error::NoCheckpoint { directory });
        }
        SealedFolder::open(&directory)?.check()?;
        load_policy(policy, &directory)
    }

    /// The best value of the metric of [`EarlyStopping`](crate::EarlyStopping) and its step, according to the latest
    /// checkpoint. There is a checkpoint of that step. `None` if the metric was never measured.
    ///
    /// ```
    /// use disco_core::{Contexts, Space, scorer};
    /// use disco_tuner::{Checkpoints, EarlyStopping, Problem, SoftmaxTable, Tuner, TunerConfig};
    /// let (contexts, target) = (Contexts::single(()), scorer(|_: &(), x: &u8| f64::from(*x)));
    /// let problem = Problem::new(&contexts, &target);
    /// let stopping = EarlyStopping { metric: "tv_target_policy".into(), patience: 3, ..EarlyStopping::default() };
    /// let config = TunerConfig { steps: 50, early_stopping: Some(stopping), ..TunerConfig::default() };
    /// let mut policy = SoftmaxTable::uniform(Space::new([()])?, Space::new(0..8u8)?);
    ///
    /// let directory = std::env::temp_dir().join("disco-tuner-best-example");
    /// let checkpoints = Checkpoints::new(&directory, 10, 1)?;
    /// let tuner = Tuner::new(config)?;
    /// tuner.start(&mut policy, &problem)?.with_checkpoints(&checkpoints)?.drive(&mut ())?;
    ///
    /// let (value, step) = checkpoints.best()?.expect("the metric was measured");
    /// checkpoints.load_policy(step, &mut policy)?;
    /// println!("total variation {value} after step {step}");
    /// # std::fs::remove_dir_all(&directory).unwrap();
    /// # Ok::<(), disco_tuner::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NoCheckpoint`]; [`Error::Damaged`].
    pub fn best(&self) -> Result<Option<(f64, u64)>> {
        let directory = self.path(self.latest()?);
        SealedFolder::open(&directory)?.check()?;
        Ok(SavedRun::load(&directory)?.progress.best)
    }

    /// The step of the latest checkpoint.
    ///
    /// # Errors
    /// [`Error::NoCheckpoint`].
    pub(crate) fn latest(&self) -> Result<u64> {
        let missing = || Error::NoCheckpoint { directory: self.path(0).with_file_name("") };
        self.steps()?.pop().ok_or_else(missing)
    }

    /// Adds to the error for a damaged checkpoint of `step` what can be done about it.
    pub(crate) fn with_remedy(&self, step: u64, error: Error) -> Error {
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

    /// Whether a run could resume from the checkpoint of a step, as far as its files show.
    fn is_whole(&self, step: u64) -> bool {
        let directory = self.path(step);
        let whole = |directory: &Path| SealedFolder::open(directory)?.check();
        let state = whole(&directory).and_then(|()| SavedRun::load(&directory));
        let proposal = |frozen| whole(&self.proposal_path(frozen)).is_ok();
        state.is_ok_and(|state| state.progress.proposal_step.is_none_or(proposal))
    }
}

/// Saves a policy into a directory of its own within a checkpoint.
pub(crate) fn save_policy(
    checkpoint: &Path,
    save: impl FnOnce(&Path) -> disco_core::Result<()>,
) -> Result<()> {
    let path = checkpoint.join(POLICY);
    fs::create_dir(&path).map_err(|cause| io_error(&path, cause))?;
    save(&path).map_err(|cause| Error::PolicyFiles { path, cause })
}

/// Loads the policy of a checkpoint.
pub(crate) fn load_policy<P: Checkpointed + ?Sized>(policy: &mut P, checkpoint: &Path) -> Result<()> {
    let path = checkpoint.join(POLICY);
    policy.load(&path).map_err(|cause| Error::PolicyFiles { path, cause })
}
