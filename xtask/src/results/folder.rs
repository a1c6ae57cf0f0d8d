//! A folder of results that appears complete or not at all.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use disco_tuner::{LockFile, SealedFolder};

use super::{
    place::{Found, hidden, look, resolve},
    staging::{StagingFolder, sweep, unless_gone},
};
use crate::{Error, Result};

/// Bytes that are reserved at the start for all files but the weights.
pub(super) const RESERVE: u64 = 16 << 20;

/// A folder of results under construction, beside the place where it will be.
///
/// It holds a lock on the place, in the file `.NAME.lock` beside it. Dropped before [`finish`](Self::finish), it leaves nothing
/// behind. The files that a killed process has left are removed by the next process that prepares the same place.
#[derive(Debug)]
pub struct OutputFolder {
    destination: PathBuf,
    /// The place that is replaced.
    found: Found,
    // Dropped before the lock.
    staging: StagingFolder,
    made: PathBuf,
    reserve: PathBuf,
    _lock: LockFile,
}

impl OutputFolder {
    /// Makes sure, before any work is done, that results can be written to `destination`: the folder can be
    /// made, there is disk space for `weights` bytes and some more, no other run writes there, and nothing but earlier results is in
    /// the way: a folder whose `manifest.json` lists all that it holds.
    ///
    /// # Errors
    /// [`Error::Place`] for a place that no folder can have; [`Error::Occupied`] if it holds something else; [`Error::InUse`] if
    /// another run writes there; [`Error::File`] if it is read-only or full.
    pub fn prepare(destination: &Path, weights: u64) -> Result<Self> {
        let destination = resolve(destination)?;
        let parent = destination.parent().unwrap_or(&destination);
        fs::create_dir_all(parent).map_err(|source| Error::write(parent, source))?;
        let lock = take_lock(&lock_path(&destination), &destination)?;
        if lock.is_held() {
            sweep(&destination);
        }
        let found = look(&destination)?;
        let failed = |source| Error::write(parent, source);
        let staging = StagingFolder::new(&destination).map_err(failed)?;
        let reserve = staging.reserve(RESERVE.saturating_add(weights)).map_err(failed)?;
        let made = staging.made();
        Ok(Self { destination, found, staging, made, reserve, _lock: lock })
    }

    /// Makes sure that there is space for `bytes` of checkpoints beside the results; returns the file that takes it until it is removed.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn reserve_room(&self, bytes: u64) -> Result<PathBuf> {
        self.staging.reserve_room(bytes).map_err(|source| Error::write(&self.destination, source))
    }

    /// Frees the space that was reserved for the files that are written from now on.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn begin_writing(&self) -> Result<()> {
        free(&self.reserve)
    }

    /// The folder to write files to, until [`finish`](Self::finish).
    pub fn path(&self) -> &Path {
        &self.made
    }

    /// All that is gone after [`finish`](Self::finish): the staging folder, and the lock.
    pub(crate) fn temporary(&self) -> Vec<PathBuf> {
        vec![self.staging.path().into(), lock_path(&self.destination)]
    }

    /// Writes one file, to the disk.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.path().join(name);
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        });
        written.map_err(|source| Error::write(&self.destination.join(name), source))
    }

    /// Lists all files in `manifest.json`, and moves the folder to its place, instead of earlier results; returns the place.
    ///
    /// # Errors
    /// [`Error::KeptBeside`] if something else has appeared at the place, which stays: the results are then beside it.
    /// [`Error::File`]; earlier results are then still there.
    pub fn finish(self) -> Result<PathBuf> {
        free(&self.reserve)?;
        SealedFolder::seal(&self.made)?;
        let Self { destination, found, staging, _lock, .. } = self;
        staging.put(&destination, found)?;
        Ok(destination)
    }
}

/// Removes a file that reserves space.
pub(crate) fn free(reserve: &Path) -> Result<()> {
    unless_gone(fs::remove_file(reserve)).map_err(|source| Error::write(reserve, source))
}

/// The lock of a place.
pub(super) fn lock_path(place: &Path) -> PathBuf {
    place.with_file_name(hidden(place, ".lock"))
}

/// Takes a lock on something that a run writes to.
///
/// # Errors
/// [`Error::InUse`] with the process that has it; [`Error::File`].
pub(crate) fn take_lock(lock: &Path, locked: &Path) -> Result<LockFile> {
    LockFile::take(lock).map_err(|error| lock_error(error, locked))
}

/// The error of a lock, by what is locked.
pub(super) fn lock_error(error: disco_tuner::Error, locked: &Path) -> Error {
    match error {
        disco_tuner::Error::InUse { holder, .. } => Error::InUse { path: locked.into(), holder },
        disco_tuner::Error::Io { path, cause } => Error::write(&path, cause),
        other => other.into(),
    }
}
