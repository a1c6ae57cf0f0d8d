//! The entries of a directory of checkpoints: each appears whole, and only what a run wrote is ever removed.

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use crate::{
    error::Result,
    storage::{SealedFolder, io_error, sync_directory},
};

/// The beginnings of the names that entries have.
const PREFIXES: [&str; 2] = ["step-", "proposal-"];
/// The ends of their names: while they are written, while they are replaced, and while they are removed.
const PARTIAL: &str = "partial";
const REPLACED: &str = "replaced";
const REMOVED: &str = "removed";

/// The numbers of the entries whose names begin so, in ascending order.
pub(super) fn numbers(directory: &Path, prefix: &str) -> Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory).map_err(|cause| io_error(directory, cause))? {
        let name = entry.map_err(|cause| io_error(directory, cause))?.file_name();
        numbers.extend(name.to_str().and_then(|name| number(name, prefix)));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The number in a name. A number in another form, such as `007`, is not in a name that this crate gives.
fn number(name: &str, prefix: &str) -> Option<u64> {
    let number = name.strip_prefix(prefix)?.parse().ok()?;
    (name == format!("{prefix}{number}")).then_some(number)
}

/// Lets `fill` write an entry, and puts it in place as a whole, instead of an earlier one.
pub(super) fn write(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let [partial, replaced] = [PARTIAL, REPLACED].map(|end| path.with_extension(end));
    for place in [&partial, &replaced] {
        unless_foreign(SealedFolder::remove(place)?)?;
    }
    if path.symlink_metadata().is_ok() && SealedFolder::open(path).is_err() {
        unless_foreign(vec![path.into()])?;
    }
    fs::create_dir(&partial).map_err(|cause| io_error(&partial, cause))?;
    SealedFolder::begin(&partial)
        .and_then(|()| fill(&partial))
        .and_then(|()| SealedFolder::seal(&partial))
        .inspect_err(|_| {
        // The next process removes what is left of it; the first error is the one to report.
        let _ = SealedFolder::remove(&partial);
    })?;
    // The old one is renamed, and removed once the new one is in its place: a process that dies in between leaves one
    // of the two whole.
    if path.exists() {
        fs::rename(path, &replaced).map_err(|cause| io_error(path, cause))?;
    }
    fs::rename(&partial, path)
        .and_then(|()| sync_directory(path.parent()))
        .map_err(|cause| io_error(path, cause))?;
    unless_foreign(SealedFolder::remove(&replaced)?)
}

/// An error for something that no run wrote, in the place of a checkpoint.
fn unless_foreign(left: Vec<PathBuf>) -> Result<()> {
    let cause = "no checkpoint of this program, in the place of one: move it away";
    match left.first() {
        Some(path) => Err(io_error(path, io::Error::new(ErrorKind::AlreadyExists, cause))),
        None => Ok(()),
    }
}

/// Removes an entry. It is renamed first, so that no half of it keeps its name. What is not on its list is left.
pub(super) fn remove(path: &Path) -> Result<()> {
    let doomed = path.with_extension(REMOVED);
    SealedFolder::remove(&doomed)?;
    let is_free = doomed.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound);
    if is_free {
        fs::rename(path, &doomed).map_err(|cause| io_error(path, cause))?;
    }
    SealedFolder::remove(if is_free { &doomed } else { path }).map(drop)
}

/// Removes the entries that an earlier process was writing, replacing or removing when it died.
pub(super) fn sweep(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory).map_err(|cause| io_error(directory, cause))? {
        let path = entry.map_err(|cause| io_error(directory, cause))?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if !PREFIXES.iter().any(|prefix| number(stem, prefix).is_some()) {
            continue;
        }
        match path.extension().and_then(|end| end.to_str()) {
            Some(PARTIAL | REMOVED) => {
                SealedFolder::remove(&path)?;
            }
            Some(REPLACED) => restore(&path)?,
            _ => {}
        }
    }
    Ok(())
}

/// Puts a checkpoint back that was renamed for a new one, if the new one is missing; otherwise it is no longer needed.
fn restore(replaced: &Path) -> Result<()> {
    let place = replaced.with_extension("");
    let is_free = place.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound);
    if is_free && SealedFolder::open(replaced).is_ok() {
        return fs::rename(replaced, &place).map_err(|cause| io_error(replaced, cause));
    }
    SealedFolder::remove(replaced).map(drop)
}
