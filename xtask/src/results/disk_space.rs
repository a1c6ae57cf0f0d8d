//! The place and the disk space of results, checked without writing anything.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use disco_tuner::LockFile;

use super::{
    folder::{RESERVE, lock_error, lock_path},
    place::{look, resolve},
    space::too_little,
};
use crate::{
    Error, Result,
    process::{check_writable, free_bytes},
};

/// The disk space of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DiskSpace {
    /// The folder for the results.
    pub(crate) place: PathBuf,
    /// The bytes that the run takes.
    pub(crate) needed: u64,
    /// The bytes that can be written there; `None` where the system does not report it.
    pub(crate) available: Option<u64>,
}

impl DiskSpace {
    /// Makes sure that results can be written to `destination`, as far as that is known without writing:
    /// [`OutputFolder::prepare`](super::OutputFolder::prepare) checks the same. They take `bytes` of weights and checkpoints, and some more.
    ///
    /// # Errors
    /// As `prepare`.
    pub(crate) fn check(destination: &Path, bytes: u64) -> Result<Self> {
        let destination = resolve(destination)?;
        let parent = destination.parent().unwrap_or(&destination);
        check_writable(parent).map_err(|source| Error::write(parent, source))?;
        check_lock(&lock_path(&destination), &destination)?;
        look(&destination)?;
        let (needed, available) = (RESERVE.saturating_add(bytes), free_bytes(parent));
        if available.is_some_and(|available| available < needed) {
            let full = io::Error::from(ErrorKind::StorageFull);
            return Err(Error::write(parent, too_little(needed, &full)));
        }
        Ok(Self { place: destination, needed, available })
    }
}

/// Makes sure that no run holds a lock.
///
/// # Errors
/// As [`take_lock`](super::take_lock).
pub(crate) fn check_lock(lock: &Path, locked: &Path) -> Result<()> {
    LockFile::check(lock).map_err(|error| lock_error(error, locked))
}
