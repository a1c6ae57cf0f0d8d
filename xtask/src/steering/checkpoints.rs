//! The folder of a run's checkpoints, beside its results.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use disco_tuner::{Checkpoints, SealedFolder};

use super::{Interrupt, step_log::is_step_log};
use crate::{
    Error, ProgressTarget, Result,
    results::{check_lock, free, resolve, stranger, take_lock},
};

/// The file that marks these checkpoints as those of a finished run.
const FINISHED: &str = "finished";
/// The log of the steps.
const STEPS: &str = "steps.jsonl";
/// The lock that a run holds while it tunes.
const LOCK: &str = "lock";

/// How a run starts where an earlier run has left checkpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartMode {
    /// From the beginning. Checkpoints of a finished run are replaced; checkpoints of an interrupted run are an error.
    #[default]
    New,
    /// From the latest checkpoint; from the beginning where there is no checkpoint.
    Resume,
    /// From the beginning. All checkpoints are removed.
    Restart,
}

/// How a run shows its progress, starts and is interrupted.
#[derive(Clone, Debug)]
pub struct RunControl {
    /// The place for progress.
    pub progress: ProgressTarget,
    /// How the run starts.
    pub start: StartMode,
    /// The interrupt that can end it.
    pub interrupt: Interrupt,
}

impl RunControl {
    /// A run from the beginning, without an interrupt.
    pub fn new(progress: ProgressTarget) -> Self {
        Self { progress, start: StartMode::New, interrupt: Interrupt::default() }
    }
}

/// The folder `OUT.checkpoints` of the run whose results go to `OUT`.
#[derive(Clone, Debug)]
pub struct CheckpointFolder {
    folder: PathBuf,
    pub(crate) interrupt: Interrupt,
    /// The file that takes disk space until checkpoints need it.
    room: Option<PathBuf>,
}

impl CheckpointFolder {
    /// The place of samples that could not be fitted: `OUT.measured.jsonl`.
    pub(super) fn measured(&self) -> PathBuf {
        self.folder.with_extension("measured.jsonl")
    }

    /// Makes sure that checkpoints can be written, and that no checkpoint of an interrupted run is lost. What no run wrote is never
    /// removed: checkpoints are folders whose `manifest.json` lists what they hold.
    ///
    /// # Errors
    /// [`Error::Unfinished`] for checkpoints of an interrupted run; [`Error::Foreign`] for something that no run wrote;
    /// [`Error::InUse`] if a run is writing there; [`Error::File`].
    pub fn prepare(out: &Path, control: &RunControl) -> Result<Self> {
        let prepared = Self::of(out, control)?;
        if prepared.folder.is_dir() {
            // A living run is writing what looks like the rest of a dead one.
            drop(take_lock(&prepared.folder.join(LOCK), &prepared.folder)?);
            // Removes the rests of dead ones.
            Checkpoints::<()>::new(&prepared.folder, 1, 1)?;
        }
        let names = prepared.names()?;
        let resumes = prepared.check_all(&names, control.start)?;
        if !resumes {
            prepared.remove()?;
        } else if names.iter().any(|name| name == FINISHED) {
            // It goes on, and may be interrupted again.
            prepared.remove_file(FINISHED)?;
        }
        fs::create_dir_all(&prepared.folder).map_err(|source| Error::write(&prepared.folder, source))?;
        Ok(prepared)
    }

    /// Makes sure of the same without writing anything.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    pub(crate) fn check_unwritten(out: &Path, control: &RunControl) -> Result<()> {
        let found = Self::of(out, control)?;
        check_lock(&found.folder.join(LOCK), &found.folder)?;
        let is_rest = |name: &String| name.rsplit_once('.').is_some_and(|(entry, _)| is_entry(entry));
        // A run removes the rests of dead ones before it looks.
        let names: Vec<String> = found.names()?.into_iter().filter(|name| !is_rest(name)).collect();
        found.check_all(&names, control.start).map(drop)
    }

    /// The folder of the run whose results go to `out`.
    fn of(out: &Path, control: &RunControl) -> Result<Self> {
        let out = resolve(out)?;
        let mut name = out.file_name().unwrap_or_default().to_owned();
        name.push(".checkpoints");
        let folder = resolve(&out.with_file_name(name))?;
        Ok(Self { folder, interrupt: control.interrupt.clone(), room: None })
    }

    /// Refuses to lose a checkpoint of an interrupted run, and what no run wrote; returns whether the run goes on from a checkpoint.
    fn check_all(&self, names: &[String], start: StartMode) -> Result<bool> {
        let finished = names.iter().any(|name| name == FINISHED);
        let any = names.iter().any(|name| name.starts_with("step-"));
        let resumes = start == StartMode::Resume && any;
        let is_ours = |name: &String| SealedFolder::open(&self.folder.join(name)).is_ok();
        if start == StartMode::New && !finished && names.iter().any(is_ours) {
            return Err(Error::Unfinished { path: self.folder.clone() });
        }
        names.iter().try_for_each(|name| self.check(name, resumes))?;
        Ok(resumes)
    }

    /// The same folder, with a file that takes disk space until tuning begins.
    #[must_use]
    pub(crate) fn with_room(self, room: PathBuf) -> Self {
        Self { room: Some(room), ..self }
    }

    /// Frees the space that was reserved for the checkpoints.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn free_room(&self) -> Result<()> {
        self.room.as_deref().map_or(Ok(()), free)
    }

    /// Refuses an entry that no run wrote. A run that resumes says itself what is wrong with a checkpoint or the log, and which other
    /// checkpoint is whole.
    fn check(&self, name: &str, resumes: bool) -> Result<()> {
        let path = self.folder.join(name);
        let foreign = |found: String| Err(Error::Foreign { path: self.folder.clone(), found });
        let there = path.symlink_metadata().map_err(|source| Error::read(&path, source))?;
        match name {
            FINISHED if there.is_file() && there.len() == 0 => Ok(()),
            STEPS if is_step_log(&path) || (resumes && there.is_file()) => Ok(()),
            LOCK if there.is_file() => Ok(()),
            _ if is_entry(name) && resumes => Ok(()),
            _ if is_entry(name) && there.is_dir() => {
                match SealedFolder::open(&path).and_then(|folder| folder.check_strangers()) {
                    Err(disco_tuner::Error::Damaged { path, difference, .. }) => {
                        foreign(stranger(&self.folder, &path, &difference))
                    }
                    checked => Ok(checked?),
                }
            }
            _ => foreign(name.into()),
        }
    }

    fn names(&self) -> Result<Vec<String>> {
        let failed = |source| Error::read(&self.folder, source);
        match fs::read_dir(&self.folder) {
            Ok(entries) => entries
                .map(|entry| Ok(entry.map_err(failed)?.file_name().to_string_lossy().into_owned()))
                .collect(),
            // If a folder above it is a file, making this folder will fail.
            Err(source) if source.kind() == ErrorKind::NotADirectory && !self.folder.exists() => {
                Ok(Vec::new())
            }
            Err(source) if source.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(failed(source)),
        }
    }

    /// Removes what runs have written, and then the folder if it is empty.
    fn remove(&self) -> Result<()> {
        let names = self.names()?;
        if names.is_empty() && !self.folder.exists() {
            return Ok(());
        }
        let lock = take_lock(&self.folder.join(LOCK), &self.folder)?;
        for name in names.iter().filter(|name| is_entry(name)) {
            SealedFolder::remove(&self.folder.join(name))?;
        }
        self.remove_file(STEPS)?;
        self.remove_file(FINISHED)?;
        drop(lock);
        match fs::remove_dir(&self.folder) {
            Err(source) if !matches!(source.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {
                Err(Error::write(&self.folder, source))
            }
            _ => Ok(()),
        }
    }

    fn remove_file(&self, name: &str) -> Result<()> {
        free(&self.folder.join(name))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// The log of the steps.
    pub(crate) fn steps(&self) -> PathBuf {
        self.folder.join(STEPS)
    }

    /// Removes the folder if it has no checkpoint: no run could be resumed from it.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn remove_if_empty(&self) -> Result<()> {
        if self.names()?.iter().any(|name| name.starts_with("step-")) { Ok(()) } else { self.remove() }
    }

    /// Marks the run as finished, so that a new run may replace these checkpoints.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn finish(&self) -> Result<()> {
        let path = self.folder.join(FINISHED);
        match File::create_new(&path) {
            Err(source) if source.kind() != io::ErrorKind::AlreadyExists => Err(Error::write(&path, source)),
            _ => Ok(()),
        }
    }
}

/// Whether a name is that of a checkpoint or a proposal.
fn is_entry(name: &str) -> bool {
    let number = name.strip_prefix("step-").or_else(|| name.strip_prefix("proposal-"));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()))
}
