//! Checkpoints: the saved states of a run, from which it resumes after a crash.

mod fingerprint;
pub(crate) mod manifest;
mod state;

use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
};

use disco_core::Error as CoreError;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    error::Result,
    gradient::ContextSamples,
    storage::{io_error, make_directory, sync_directory},
};

pub(crate) use fingerprint::Fingerprint;
pub(crate) use state::{Progress, RUN_FILE, SavedRun, damaged, load_policy, save_policy};

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
/// In a run that several workers share, each worker has `Checkpoints` of the same directory, on a file system that all of
/// them can read. Rank 0 alone writes to it, and the others wait for the outcome.
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
        let test = directory.join(".writable");
        make_directory(&directory)?;
        fs::write(&test, b"")
            .and_then(|()| unless_gone(fs::remove_file(&test)))
            .map_err(|cause| io_error(&directory, cause))?;
        // Directories that an earlier process was writing or removing when it died. Other workers of a shared run may
        // remove them at the same time.
        for entry in fs::read_dir(&directory).map_err(|cause| io_error(&directory, cause))? {
            let path = entry.map_err(|cause| io_error(&directory, cause))?.path();
            if path.is_dir() && path.extension().is_some_and(|end| end == "replaced") {
                unless_gone(restore(&path)).map_err(|cause| io_error(&path, cause))?;
                continue;
            }
            if path.is_dir() && path.extension().is_some_and(|end| end == "partial" || end == "removed") {
                unless_gone(fs::remove_dir_all(&path)).map_err(|cause| io_error(&path, cause))?;
            }
        }
        let encode = |window: &StepSamples<X>| serde_json::to_value(window);
        Ok(Self { directory, every, keep, encode, decode: serde_json::from_value })
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

    fn numbers(&self, prefix: &str) -> Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(|cause| io_error(&self.directory, cause))? {
            let entry = entry.map_err(|cause| io_error(&self.directory, cause))?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(prefix)?.parse::<u64>().ok());
            // A number in another form, such as `007`, is not in a name that this crate gives.
            numbers.extend(number.filter(|number| name == *format!("{prefix}{number}")));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Lets `fill` write a directory, and puts it in place as a whole. If one of that name exists, an interrupted run made
    /// it that this run repeats; it is replaced.
    pub(crate) fn write(&self, path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let partial = path.with_extension("partial");
        remove(&partial)?;
        fs::create_dir(&partial).map_err(|cause| io_error(&partial, cause))?;
        fill(&partial).and_then(|()| manifest::seal(&partial)).inspect_err(|_| {
            // The next process removes what is left of it; the first error is the one to report.
            let _ = fs::remove_dir_all(&partial);
        })?;
        // The old one is renamed, and removed once the new one is in its place: a process that dies in between leaves one
        // of the two whole.
        let replaced = path.with_extension("replaced");
        if path.exists() {
            fs::rename(path, &replaced).map_err(|cause| io_error(path, cause))?;
        }
        fs::rename(&partial, path)
            .and_then(|()| sync_directory(Some(&self.directory)))
            .map_err(|cause| io_error(path, cause))?;
        if replaced.exists() {
            fs::remove_dir_all(&replaced).map_err(|cause| io_error(&replaced, cause))?;
        }
        Ok(())
    }

    /// Removes the checkpoints and proposals that are no longer kept; `used` gives the proposal of a checkpoint.
    pub(crate) fn prune(&self, best: Option<u64>, used: impl Fn(u64) -> Result<Option<u64>>) -> Result<()> {
        let steps = self.steps()?;
        let old = steps.len().saturating_sub(self.keep);
        let (mut needed, mut kept) = (Vec::new(), Vec::new());
        for (index, &step) in steps.iter().enumerate() {
            if index < old && best != Some(step) {
                remove(&self.path(step))?;
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
            if !needed.contains(&proposal) && Some(proposal) != latest {
                remove(&self.proposal_path(proposal))?;
            }
        }
        Ok(())
    }
}

/// Takes a file or directory that is missing for one that another worker removed.
fn unless_gone(result: std::io::Result<()>) -> std::io::Result<()> {
    result.or_else(|error| if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Puts a checkpoint back that was renamed for a new one, if the new one is missing; otherwise it is no longer needed.
fn restore(replaced: &Path) -> std::io::Result<()> {
    let place = replaced.with_extension("");
    if place.exists() { fs::remove_dir_all(replaced) } else { fs::rename(replaced, place) }
}

/// Removes a directory, if it exists. It is renamed first, so that no half of it keeps its name.
fn remove(path: &Path) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let doomed = path.with_extension("removed");
    let gone = || {
        if doomed.exists() {
            fs::remove_dir_all(&doomed)?;
        }
        fs::rename(path, &doomed)?;
        fs::remove_dir_all(&doomed)
    };
    gone().map_err(|cause| io_error(path, cause))
}
