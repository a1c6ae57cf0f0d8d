//! The folder of a run's checkpoints, beside its results.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::Interrupt;
use crate::{Error, ProgressTarget, Result};

/// The file that marks these checkpoints as those of a finished run.
const FINISHED: &str = "finished";
/// The log of the steps.
const STEPS: &str = "steps.jsonl";

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
}

impl CheckpointFolder {
    /// Makes sure that checkpoints can be written, and that no checkpoint of an interrupted run is lost.
    ///
    /// # Errors
    /// [`Error::Unfinished`] for checkpoints of an interrupted run; [`Error::Occupied`] for other files; [`Error::File`].
    pub fn prepare(out: &Path, control: &RunControl) -> Result<Self> {
        let out = std::path::absolute(out).map_err(|source| Error::read(out, source))?;
        let mut name = out.file_name().unwrap_or_default().to_owned();
        name.push(".checkpoints");
        let prepared = Self { folder: out.with_file_name(name), interrupt: control.interrupt.clone() };
        let names = prepared.names()?;
        let is_ours = |name: &String| {
            name == FINISHED || name == STEPS || name.starts_with("step-") || name.starts_with("proposal-")
        };
        if !names.iter().all(is_ours) {
            return Err(Error::Occupied { path: prepared.folder });
        }
        let finished = names.iter().any(|name| name == FINISHED);
        let any = names.iter().any(|name| name.starts_with("step-"));
        match control.start {
            StartMode::New if any && !finished => return Err(Error::Unfinished { path: prepared.folder }),
            StartMode::Resume if any => {}
            StartMode::New | StartMode::Resume | StartMode::Restart => prepared.remove()?,
        }
        fs::create_dir_all(&prepared.folder).map_err(|source| Error::write(&prepared.folder, source))?;
        Ok(prepared)
    }

    fn names(&self) -> Result<Vec<String>> {
        let failed = |source| Error::read(&self.folder, source);
        match fs::read_dir(&self.folder) {
            Ok(entries) => entries
                .map(|entry| Ok(entry.map_err(failed)?.file_name().to_string_lossy().into_owned()))
                .collect(),
            // If a folder above it is a file, making this folder will fail.
            Err(source)
                if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
            {
                Ok(Vec::new())
            }
            Err(source) => Err(failed(source)),
        }
    }

    fn remove(&self) -> Result<()> {
        match fs::remove_dir_all(&self.folder) {
            Err(source) if source.kind() != io::ErrorKind::NotFound && self.folder.exists() => {
                Err(Error::write(&self.folder, source))
            }
            _ => Ok(()),
        }
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
        fs::write(&path, b"").map_err(|source| Error::write(&path, source))
    }
}
