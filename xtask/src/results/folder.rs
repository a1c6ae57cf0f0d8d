//! A folder of results that appears complete or not at all.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::staging::StagingFolder;
use crate::{Error, Result};

/// The file that marks a folder as the results of a run: only such a folder is replaced.
pub(crate) const SUMMARY: &str = "summary.json";

/// Bytes that are reserved at the start for all files but the weights.
const RESERVE: u64 = 16 << 20;

/// A folder of results under construction, beside the place where it will be.
///
/// Dropped before [`finish`](Self::finish), it leaves nothing behind. The files that a killed process has left are removed by the
/// next process that prepares the same place.
#[derive(Debug)]
pub struct OutputFolder {
    destination: PathBuf,
    staging: StagingFolder,
    made: PathBuf,
}

impl OutputFolder {
    /// Makes sure, before any work is done, that results can be written to `destination`: the folder can be
    /// made, there is disk space for `weights` bytes and some more, and nothing but earlier results is in the way.
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
        let staging =
            StagingFolder::new(&destination, parent).map_err(|source| Error::write(parent, source))?;
        reserve_space(&staging.reserve(), RESERVE + weights)
            .map_err(|source| Error::write(parent, source))?;
        let made = staging.made();
        Ok(Self { destination, staging, made })
    }

    /// Frees the space that was reserved for the files that are written from now on.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn begin_writing(&self) -> Result<()> {
        let reserve = self.staging.reserve();
        match fs::remove_file(&reserve) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::write(&reserve, source)),
            _ => Ok(()),
        }
    }

    /// The folder to write files to, until [`finish`](Self::finish).
    pub fn path(&self) -> &Path {
        &self.made
    }

    /// The staging folder, which holds this folder and is gone after [`finish`](Self::finish).
    pub(crate) fn staging(&self) -> &Path {
        self.staging.path()
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

    /// Moves the folder to its place, instead of earlier results; returns the place.
    ///
    /// # Errors
    /// [`Error::File`]; earlier results are then still there.
    pub fn finish(self) -> Result<PathBuf> {
        let Self { destination, staging, .. } = self;
        staging.put(&destination).map_err(|source| Error::write(&destination, source))?;
        Ok(destination)
    }
}

/// Whether the place is free, an empty folder, or results of an earlier run.
fn is_replaceable(destination: &Path) -> Result<bool> {
    match fs::read_dir(destination) {
        Ok(mut entries) => Ok(entries.next().is_none() || destination.join(SUMMARY).is_file()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        // The path, or a folder above it, is a file: in the second case making that folder will fail.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            Ok(destination.symlink_metadata().is_err())
        }
        Err(source) => Err(Error::read(destination, source)),
    }
}

/// Writes `bytes` zeros: a sparse file would reserve nothing.
fn reserve_space(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = File::create(path)?;
    io::copy(&mut io::Read::take(io::repeat(0), bytes), &mut file)?;
    file.sync_all()
}
