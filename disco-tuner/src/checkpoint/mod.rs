//! Checkpoints: the saved states of a run, from which it resumes after a crash.

mod directory;
mod fingerprint;
mod state;

use std::{
    collections::VecDeque,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use disco_core::Error as CoreError;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    error::Result,
    gradient::ContextSamples,
    storage::{LockFile, SealedFolder, io_error, make_directory},
};

pub(crate) use fingerprint::Fingerprint;
pub(crate) use state::{Progress, RUN_FILE, SavedRun, damaged, load_policy, save_policy};

/// The file that a run locks.
const LOCK: &str = "lock";

/// The samples of steps, oldest first.
pub(crate) type StepSamples<X> = VecDeque<Vec<ContextSamples<X>>>;

/// A directory of checkpoints. A run that resumes from one gives the same results as if it had never stopped: to the bit,
/// with the same program on the same machine.
///
/// A checkpoint is a directory `step-N`. It is written under another name, flushed to the disk, and renamed when it is
/// complete, so that every checkpoint can be read, at whatever moment the process or the machine dies. It lists its
/// files with checksums. Each frozen proposal is kept once, in a directory `proposal-N`.
///
/// The last `keep` checkpoints are kept, and the best by the metric of [`EarlyStopping`](crate::EarlyStopping).
///
/// A run holds a [lock](LockFile) on the directory, in the file `lock`, until it is dropped: of two processes that are to write
/// to one directory, the second ends before its first step with an error that names the first. Runs that are given the same
/// `Checkpoints`, or clones of it, share the lock. What no run wrote there, such as a `step-N` without a list of files, is never
/// removed.
///
/// In a run that several workers share, each worker has `Checkpoints` of the same directory, on a file system that all of
/// them can read. Rank 0 alone writes to it and holds the lock, and the others wait for the outcome.
///
/// ```
/// use disco_core::{Contexts, Space, scorer};
/// use disco_tuner::{Checkpoints, Problem, SoftmaxTable, Tuner, TunerConfig};
/// let (contexts, space) = (Contexts::single(()), Space::new(0..8u8)?);
/// let target = scorer(|_: &(), x: &u8| f64::from(*x));
/// let problem = Problem::new(&contexts, &target);
/// let policy = || SoftmaxTable::uniform(Space::new([()]).unwrap(), space.clone());
/// let tuner = Tuner::new(TunerConfig { steps: 20, ..TunerConfig::default() })?;
/// let (mut whole, mut first, mut second) = (policy(), policy(), policy());
/// tuner.run(&mut whole, &problem, &mut ())?;
///
/// let directory = std::env::temp_dir().join("disco-tuner-checkpoints-example");
/// let checkpoints = Checkpoints::new(&directory, 8, 2)?;
/// let mut run = tuner.start(&mut first, &problem)?.with_checkpoints(&checkpoints)?;
/// for _ in 0..10 {
///     run.step()?;
/// }
/// // Had the process died here, another would go on from step 8.
/// let run = tuner.resume(&mut second, &problem, &checkpoints)?;
/// assert_eq!(run.done(), 8);
/// run.drive(&mut ())?;
/// assert_eq!(second.logits(), whole.logits());
/// std::fs::remove_dir_all(&directory).unwrap();
/// # Ok::<(), disco_tuner::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Checkpoints<X> {
    directory: PathBuf,
    /// The lock, while a run holds it.
    lock: Arc<Mutex<Weak<LockFile>>>,
    pub(crate) every: u64,
    keep: usize,
    pub(crate) encode: fn(&StepSamples<X>) -> serde_json::Result<Value>,
    pub(crate) decode: fn(Value) -> serde_json::Result<StepSamples<X>>,
}

impl<X: Serialize + DeserializeOwned> Checkpoints<X> {
    /// Checkpoints in `directory`, which is created if it does not exist. One is written every `every` steps, at every
    /// best value of the metric of early stopping, and at the end; the last `keep` are kept.
    ///
    /// # Errors
    /// [`disco_core::Error::Invalid`] if `every` or `keep` is zero; [`Error::Io`](crate::Error::Io) if nothing can be written
    /// there.
    pub fn new(directory: impl AsRef<Path>, every: u64, keep: usize) -> Result<Self> {
        if every == 0 || keep == 0 {
            let field = if every == 0 { "checkpoints.every" } else { "checkpoints.keep" };
            return Err(CoreError::invalid(field, 0, "at least 1").into());
        }
        let directory = directory.as_ref().to_path_buf();
        make_directory(&directory)?;
        let encode = |window: &StepSamples<X>| serde_json::to_value(window);
        let lock = Arc::default();
        let checkpoints = Self { directory, lock, every, keep, encode, decode: serde_json::from_value };
        // A process that holds the lock is still writing the directories that would be removed here.
        if let Some(_lock) = checkpoints.brief_lock()? {
            directory::sweep(&checkpoints.directory)?;
        }
        Ok(checkpoints)
    }
}

impl<X> Checkpoints<X> {
    /// The steps of which there are checkpoints, in ascending order.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io).
    pub fn steps(&self) -> Result<Vec<u64>> {
        self.numbers("step-")
    }

    /// The directory of a step's checkpoint.
    pub fn path(&self, step: u64) -> PathBuf {
        self.directory.join(format!("step-{step}"))
    }

    pub(crate) fn proposal_path(&self, step: u64) -> PathBuf {
        self.directory.join(format!("proposal-{step}"))
    }

    /// Locks the directory for a run, and removes what dead processes have left in it.
    ///
    /// # Errors
    /// [`Error::InUse`](crate::Error::InUse) with the process that has locked it; [`Error::Io`](crate::Error::Io).
    pub(crate) fn lock(&self) -> Result<Arc<LockFile>> {
        let mut held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = held.upgrade() {
            return Ok(lock);
        }
        let lock = Arc::new(LockFile::take(&self.lock_path())?);
        directory::sweep(&self.directory)?;
        *held = Arc::downgrade(&lock);
        Ok(lock)
    }

    /// A lock for a moment; `None` if some run holds one. A directory that cannot be written to has no lock.
    fn brief_lock(&self) -> Result<Option<LockFile>> {
        let at_directory = |error| match error {
            // This one is about a file `lock` that is none of ours.
            crate::Error::Io { cause, .. } if cause.kind() != ErrorKind::AlreadyExists => {
                io_error(&self.directory, cause)
            }
            other => other,
        };
        LockFile::take_briefly(&self.lock_path()).map_err(at_directory)
    }

    fn lock_path(&self) -> PathBuf {
        self.directory.join(LOCK)
    }

    fn numbers(&self, prefix: &str) -> Result<Vec<u64>> {
        directory::numbers(&self.directory, prefix)
    }

    /// Lets `fill` write a directory, and puts it in place as a whole. If a checkpoint of that name exists, an interrupted run made
    /// it that this run repeats; it is replaced.
    pub(crate) fn write(&self, path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        directory::write(path, fill)
    }

    /// Removes the checkpoints and proposals that are no longer kept; `used` gives the proposal of a checkpoint. A directory
    /// that no run wrote is neither counted nor removed.
    pub(crate) fn prune(&self, best: Option<u64>, used: impl Fn(u64) -> Result<Option<u64>>) -> Result<()> {
        let ours = |path: PathBuf| SealedFolder::open(&path).is_ok();
        let steps: Vec<u64> = self.steps()?.into_iter().filter(|step| ours(self.path(*step))).collect();
        let old = steps.len().saturating_sub(self.keep);
        let (mut needed, mut kept) = (Vec::new(), Vec::new());
        for (index, &step) in steps.iter().enumerate() {
            if index < old && best != Some(step) {
                directory::remove(&self.path(step))?;
            } else {
                kept.push(step);
            }
        }
        for step in kept {
            needed.extend(used(step)?);
        }
        // No checkpoint may need the latest proposal yet.
        let proposals = self.numbers("proposal-")?;
        let latest = proposals.last().copied();
        for proposal in proposals {
            if !needed.contains(&proposal) && Some(proposal) != latest && ours(self.proposal_path(proposal)) {
                directory::remove(&self.proposal_path(proposal))?;
            }
        }
        Ok(())
    }
}
