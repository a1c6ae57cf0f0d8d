//! A folder of results that appears whole or not at all.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{Error, Result};

/// The file by which a folder is known to hold the results of a run: only such a folder is replaced.
pub(crate) const SUMMARY: &str = "summary.json";

/// Bytes that are set aside at the start for everything but the weights.
const RESERVE: u64 = 16 << 20;

/// A folder of results under construction, beside the place where it will be.
///
/// Dropped before [`finish`](Self::finish), it leaves nothing behind.
#[derive(Debug)]
pub struct OutputFolder {
    destination: PathBuf,
    // Invariant: on the same file system as `destination`, so that it can be renamed.
    temporary: TempDir,
    reserve: PathBuf,
}

impl OutputFolder {
    /// Makes sure, before any work is done, that results can be written to `destination`: the folder can be
    /// made, there is room for `weights` bytes and some more, and nothing but earlier results is in the way.
    ///
    /// # Errors
    /// [`Error::Occupied`] if `destination` holds something else; [`Error::File`] if the place is read-only or full.
    pub fn prepare(destination: &Path, weights: u64) -> Result<Self> {
        let destination =
            std::path::absolute(destination).map_err(|source| Error::read(destination, source))?;
        if !is_replaceable(&destination)? {
            return Err(Error::Occupied { path: destination });
        }
        let parent = destination.parent().unwrap_or(&destination);
        fs::create_dir_all(parent).map_err(|source| Error::write(parent, source))?;
        let name = destination.file_name().unwrap_or_default().to_string_lossy();
        let temporary = tempfile::Builder::new()
            .prefix(&format!(".{name}."))
            .tempdir_in(parent)
            .map_err(|source| Error::write(parent, source))?;
        let reserve = temporary.path().join("reserve");
        set_aside(&reserve, RESERVE + weights).map_err(|source| Error::write(parent, source))?;
        Ok(Self { destination, temporary, reserve })
    }

    /// Frees the space that was set aside. What is written after this is what it was set aside for.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn begin_writing(&self) -> Result<()> {
        match fs::remove_file(&self.reserve) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(Error::write(&self.reserve, source))
            }
            _ => Ok(()),
        }
    }

    /// Where files are to be written until [`finish`](Self::finish).
    pub fn path(&self) -> &Path {
        self.temporary.path()
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

    /// Puts the folder in its place, instead of earlier results, and says where it is.
    ///
    /// # Errors
    /// [`Error::File`]; earlier results are then still there.
    pub fn finish(self) -> Result<PathBuf> {
        let Self { destination, temporary, .. } = self;
        let failed = |source| Error::write(&destination, source);
        make_readable(temporary.path()).map_err(failed)?;
        // Renaming replaces an empty folder only, so earlier results step aside first, to a name nobody has.
        let parent = destination.parent().unwrap_or(&destination);
        let retired = tempfile::Builder::new().prefix(".replaced.").tempdir_in(parent).map_err(failed)?;
        let aside = retired.path().join("results");
        let had_results = destination.exists();
        if had_results {
            fs::rename(&destination, &aside).map_err(failed)?;
        }
        if let Err(source) = fs::rename(temporary.path(), &destination) {
            if had_results {
                fs::rename(&aside, &destination).map_err(failed)?;
            }
            return Err(failed(source));
        }
        // It is in its place under another name: nothing is left for the guard to remove.
        let _ = temporary.keep();
        Ok(destination)
    }
}

/// Whether the place is free, an empty folder, or results of an earlier run.
fn is_replaceable(destination: &Path) -> Result<bool> {
    match fs::read_dir(destination) {
        Ok(mut entries) => Ok(entries.next().is_none() || destination.join(SUMMARY).is_file()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        // Either it is something else, or one of the folders above it is: making that folder will say so.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            Ok(destination.symlink_metadata().is_err())
        }
        Err(source) => Err(Error::read(destination, source)),
    }
}

/// Writes `bytes` zeros: a sparse file would promise space that is not there.
fn set_aside(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = File::create(path)?;
    io::copy(&mut io::Read::take(io::repeat(0), bytes), &mut file)?;
    file.sync_all()
}

/// Temporary folders are for their owner only; results are for whoever may read other new folders.
#[cfg(unix)]
fn make_readable(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let probe = folder.join("probe");
    fs::create_dir(&probe)?;
    let mode = fs::metadata(&probe)?.permissions().mode();
    fs::remove_dir(&probe)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn make_readable(_: &Path) -> io::Result<()> {
    Ok(())
}
