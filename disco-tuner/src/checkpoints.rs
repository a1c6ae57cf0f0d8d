//! Where a run's states are kept, to go on from after a crash.

use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
};

use disco_core::Error as CoreError;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    Result,
    files::{io_error, make_folder, sync_folder},
    group::Group,
    manifest,
};

/// The samples of earlier steps.
pub(crate) type Window<X> = VecDeque<Vec<Group<X>>>;

/// A folder of checkpoints, from any of which a run goes on as if it had never stopped: to the bit, with the same
/// program on the same machine.
///
/// A checkpoint is a folder `step-N`, written under another name, flushed to the disk, and renamed when it is
/// whole: there is none that cannot be read, at whatever moment the process or the machine dies. It lists its
/// files with checksums. Frozen proposals are kept once each, in folders `proposal-N`.
///
/// Kept are the last `keep`, and the best by the metric of [`EarlyStopping`](crate::EarlyStopping).
///
/// ```
/// use disco_core::{Contexts, Space, scorer};
/// use disco_tuner::{Checkpoints, Problem, SoftmaxTable, Tuner, TunerConfig};
/// let (contexts, space) = (Contexts::one(()), Space::new(0..8u8)?);
/// let target = scorer(|_: &(), x: &u8| f64::from(*x));
/// let problem = Problem::new(&contexts, &target);
/// let policy = || SoftmaxTable::uniform(Space::new([()]).unwrap(), space.clone());
/// let tuner = Tuner::new(TunerConfig { steps: 20, ..TunerConfig::default() })?;
/// let (mut whole, mut first, mut second) = (policy(), policy(), policy());
/// tuner.run(&mut whole, &problem, &mut ())?;
///
/// let folder = std::env::temp_dir().join("disco-tuner-checkpoints-example");
/// let checkpoints = Checkpoints::new(&folder, 8, 2)?;
/// let mut run = tuner.start(&mut first, &problem)?.with_checkpoints(&checkpoints)?;
/// for _ in 0..10 {
///     run.step()?;
/// }
/// // Had the process died here, another would go on from step 8.
/// let run = tuner.resume(&mut second, &problem, &checkpoints)?;
/// assert_eq!(run.done(), 8);
/// run.drive(&mut ())?;
/// assert_eq!(second.logits(), whole.logits());
/// std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), disco_tuner::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Checkpoints<X> {
    folder: PathBuf,
    pub(crate) every: u64,
    keep: usize,
    pub(crate) encode: fn(&Window<X>) -> serde_json::Result<Value>,
    pub(crate) decode: fn(Value) -> serde_json::Result<Window<X>>,
}

impl<X: Serialize + DeserializeOwned> Checkpoints<X> {
    /// Checkpoints in `folder`, which is made if there is none: one every `every` steps, at every best value
    /// of the watched metric, and at the end; the last `keep` are kept.
    ///
    /// # Errors
    /// [`CoreError::Invalid`] for zero; [`Error::Io`](crate::Error::Io) if nothing can be written there.
    pub fn new(folder: impl AsRef<Path>, every: u64, keep: usize) -> Result<Self> {
        if every == 0 || keep == 0 {
            let field = if every == 0 { "checkpoints.every" } else { "checkpoints.keep" };
            return Err(CoreError::invalid(field, 0, "at least 1").into());
        }
        let folder = folder.as_ref().to_path_buf();
        let probe = folder.join(".writable");
        make_folder(&folder)?;
        fs::write(&probe, b"")
            .and_then(|()| fs::remove_file(&probe))
            .map_err(|source| io_error(&folder, source))?;
        // What an earlier process was writing or removing when it died.
        for entry in fs::read_dir(&folder).map_err(|source| io_error(&folder, source))? {
            let path = entry.map_err(|source| io_error(&folder, source))?.path();
            if path.is_dir() && path.extension().is_some_and(|end| end == "replaced") {
                restore(&path).map_err(|source| io_error(&path, source))?;
                continue;
            }
            if path.is_dir() && path.extension().is_some_and(|end| end == "partial" || end == "removed") {
                fs::remove_dir_all(&path).map_err(|source| io_error(&path, source))?;
            }
        }
        let encode = |window: &Window<X>| serde_json::to_value(window);
        Ok(Self { folder, every, keep, encode, decode: serde_json::from_value })
    }
}

impl<X> Checkpoints<X> {
    /// The steps of which there are checkpoints, in order.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io).
    pub fn steps(&self) -> Result<Vec<u64>> {
        self.numbers("step-")
    }

    /// The folder of a step's checkpoint.
    pub fn path(&self, step: u64) -> PathBuf {
        self.folder.join(format!("step-{step}"))
    }

    pub(crate) fn proposal_path(&self, step: u64) -> PathBuf {
        self.folder.join(format!("proposal-{step}"))
    }

    fn numbers(&self, prefix: &str) -> Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(|source| io_error(&self.folder, source))? {
            let entry = entry.map_err(|source| io_error(&self.folder, source))?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(prefix)?.parse::<u64>().ok());
            // A number written otherwise, such as `007`, is not a name that was given here.
            numbers.extend(number.filter(|number| name == *format!("{prefix}{number}")));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Lets `fill` write a folder and puts it in place as a whole. One of that name is from an interrupted run
    /// that this one repeats; it is replaced.
    pub(crate) fn write(&self, path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let partial = path.with_extension("partial");
        remove(&partial)?;
        fs::create_dir(&partial).map_err(|source| io_error(&partial, source))?;
        fill(&partial).and_then(|()| manifest::seal(&partial)).inspect_err(|_| {
            // Whatever is left of it is removed by the next process; the first error is the one to be told.
            let _ = fs::remove_dir_all(&partial);
        })?;
        // The old one steps aside in no time, and is removed once the new one is in its place: a process that
        // dies in between leaves one of the two whole.
        let replaced = path.with_extension("replaced");
        if path.exists() {
            fs::rename(path, &replaced).map_err(|source| io_error(path, source))?;
        }
        fs::rename(&partial, path)
            .and_then(|()| sync_folder(Some(&self.folder)))
            .map_err(|source| io_error(path, source))?;
        if replaced.exists() {
            fs::remove_dir_all(&replaced).map_err(|source| io_error(&replaced, source))?;
        }
        Ok(())
    }

    /// Removes what is no longer to be kept; `used` tells which proposal a checkpoint needs.
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
        // The latest proposal may be waiting for its first checkpoint.
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

/// Puts a checkpoint back that stepped aside for one that never came; if that came, it is no longer needed.
fn restore(replaced: &Path) -> std::io::Result<()> {
    let place = replaced.with_extension("");
    if place.exists() { fs::remove_dir_all(replaced) } else { fs::rename(replaced, place) }
}

/// Removes a folder that may not be there. It is renamed first, so that no half of it keeps its name.
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
    gone().map_err(|source| io_error(path, source))
}
