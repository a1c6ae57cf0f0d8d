//! The checkpoints of a run, beside its results.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{Error, Interrupt, ProgressTarget, Result};

/// The file that says that the results of these checkpoints are in their place.
const FINISHED: &str = "finished";
/// The log of what was measured at each step.
const STEPS: &str = "steps.jsonl";

/// What becomes of the checkpoints of an earlier run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// Those of a finished run are replaced, those of one that was interrupted are an error.
    #[default]
    New,
    /// The run goes on from the latest; where there are none, it begins.
    Resume,
    /// They are removed.
    Restart,
}

/// How a run is watched, interrupted and resumed.
#[derive(Clone, Debug)]
pub struct Session {
    /// Where progress goes.
    pub progress: ProgressTarget,
    /// What becomes of the checkpoints of an earlier run.
    pub start: Start,
    /// What ends it.
    pub interrupt: Interrupt,
}

impl Session {
    /// A new run that nobody interrupts.
    pub fn new(progress: ProgressTarget) -> Self {
        Self { progress, start: Start::New, interrupt: Interrupt::default() }
    }
}

/// The folder `OUT.checkpoints` of the run whose results go to `OUT`.
#[derive(Clone, Debug)]
pub struct Kept {
    folder: PathBuf,
    pub(crate) interrupt: Interrupt,
}

impl Kept {
    /// Makes sure that checkpoints can be written, and that none is lost.
    ///
    /// # Errors
    /// [`Error::Unfinished`] where those of an interrupted run are in the way; [`Error::Occupied`] where something
    /// else is; [`Error::File`].
    pub fn prepare(out: &Path, session: &Session) -> Result<Self> {
        let out = std::path::absolute(out).map_err(|source| Error::read(out, source))?;
        let mut name = out.file_name().unwrap_or_default().to_owned();
        name.push(".checkpoints");
        let kept = Self { folder: out.with_file_name(name), interrupt: session.interrupt.clone() };
        let names = kept.names()?;
        let is_ours = |name: &String| {
            name == FINISHED || name == STEPS || name.starts_with("step-") || name.starts_with("proposal-")
        };
        if !names.iter().all(is_ours) {
            return Err(Error::Occupied { path: kept.folder });
        }
        let finished = names.iter().any(|name| name == FINISHED);
        let any = names.iter().any(|name| name.starts_with("step-"));
        match session.start {
            Start::New if any && !finished => return Err(Error::Unfinished { path: kept.folder }),
            Start::Resume if any => {}
            Start::New | Start::Resume | Start::Restart => kept.remove()?,
        }
        fs::create_dir_all(&kept.folder).map_err(|source| Error::write(&kept.folder, source))?;
        Ok(kept)
    }

    fn names(&self) -> Result<Vec<String>> {
        let failed = |source| Error::read(&self.folder, source);
        match fs::read_dir(&self.folder) {
            Ok(entries) => entries
                .map(|entry| Ok(entry.map_err(failed)?.file_name().to_string_lossy().into_owned()))
                .collect(),
            // A folder above it that is a file is noticed when this one is made.
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

    /// Where they are.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// The log of the steps.
    pub(crate) fn steps(&self) -> PathBuf {
        self.folder.join(STEPS)
    }

    /// Removes a folder in which there is no checkpoint: nothing could go on from it.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn sweep(&self) -> Result<()> {
        if self.names()?.iter().any(|name| name.starts_with("step-")) { Ok(()) } else { self.remove() }
    }

    /// Says that the results are in their place, so that a new run may replace these checkpoints.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn finish(&self) -> Result<()> {
        let path = self.folder.join(FINISHED);
        fs::write(&path, b"").map_err(|source| Error::write(&path, source))
    }
}
