//! A file of lines that appears complete or not at all.

use std::{
    fs::{self, File, Metadata},
    io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Write},
    path::{Path, PathBuf},
};

use disco_tuner::LockFile;

use super::{
    folder::{lock_path, take_lock},
    place::{hidden, keep_beside},
};
use crate::{Error, Result};

/// The longest first line that is read to see whose a file is, in bytes.
const LONGEST: u64 = 1 << 20;

/// A file under construction, beside the place where it will be: `.NAME.partial`.
///
/// It holds a lock on the place, in the file `.NAME.lock`. Dropped before [`finish`](Self::finish), it leaves nothing behind; what a
/// killed process has left is removed by the next one with the same place. A file at the place is replaced if it is empty or its first
/// line is of the same kind, and did not change meanwhile.
#[derive(Debug)]
pub struct OutputFile {
    place: PathBuf,
    partial: PathBuf,
    file: BufWriter<File>,
    /// The file that is replaced.
    earlier: Option<Metadata>,
    is_ours: fn(&[u8]) -> bool,
    is_finished: bool,
    _lock: LockFile,
}

impl OutputFile {
    /// Makes sure that a file can be written to `path`. `is_ours` says of a first line whether its file may be replaced.
    ///
    /// # Errors
    /// [`Error::File`] if the place cannot be written to, or holds something else than such a file; [`Error::InUse`] if another
    /// process writes there.
    pub fn prepare(path: &Path, is_ours: fn(&[u8]) -> bool) -> Result<Self> {
        let failed = |source| Error::write(path, source);
        let place: PathBuf = std::path::absolute(path).map_err(failed)?.components().collect();
        if place.file_name().is_none() {
            return Err(failed(io::Error::new(ErrorKind::InvalidInput, "it names no file")));
        }
        look(&place, is_ours).map_err(failed)?;
        let lock = take_lock(&lock_path(&place), path)?;
        let earlier = look(&place, is_ours).map_err(failed)?;
        let partial = place.with_file_name(hidden(&place, ".partial"));
        // With the lock, it is of a dead process, which may have died within the first line.
        let is_ours_or_cut = |line: &[u8]| is_ours(line) || line.starts_with(b"{");
        if look(&partial, is_ours_or_cut).map_err(|source| Error::write(&partial, source))?.is_some() {
            fs::remove_file(&partial).map_err(failed)?;
        }
        let file = File::create_new(&partial).map_err(failed)?;
        let made = Self {
            file: BufWriter::new(file),
            place,
            partial,
            earlier,
            is_ours,
            is_finished: false,
            _lock: lock,
        };
        if let Some(earlier) = &made.earlier {
            made.file.get_ref().set_permissions(earlier.permissions()).map_err(failed)?;
        }
        Ok(made)
    }

    /// All that is gone after [`finish`](Self::finish): the file under its other name, and the lock.
    pub(crate) fn temporary(&self) -> Vec<PathBuf> {
        vec![self.partial.clone(), lock_path(&self.place)]
    }

    /// Writes a line, without its end.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write(&mut self, line: &[u8]) -> Result<()> {
        let written = self.file.write_all(line).and_then(|()| self.file.write_all(b"\n"));
        written.map_err(|source| Error::write(&self.place, source))
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// [`Error::KeptBeside`] if something else has appeared at the place, which stays: the file is then beside it. [`Error::File`].
    pub fn finish(mut self) -> Result<()> {
        let written = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        written.map_err(|source| Error::write(&self.place, source))?;
        let put = match (look(&self.place, self.is_ours), &self.earlier) {
            (Ok(None), None) => put_new(&self.partial, &self.place),
            (Ok(None), Some(_)) => fs::rename(&self.partial, &self.place),
            (Ok(Some(now)), Some(before)) if is_same(&now, before) => fs::rename(&self.partial, &self.place),
            (Ok(Some(_)), _) => Err(io::Error::other("it appeared or changed during the run")),
            (Err(error), _) => Err(error),
        };
        self.is_finished = true;
        let Err(found) = put else { return Ok(()) };
        let results = keep_beside(&self.partial, &self.place).unwrap_or_else(|_| self.partial.clone());
        Err(Error::KeptBeside { results, place: self.place.clone(), found: found.to_string() })
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if !self.is_finished {
            // A file that cannot be removed is removed by the next process.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// Gives a file a name that is free; one that is not stays as it is.
fn put_new(partial: &Path, place: &Path) -> io::Result<()> {
    match fs::hard_link(partial, place) {
        Ok(()) => fs::remove_file(partial),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(error),
        // A file system without hard links.
        Err(_) => fs::rename(partial, place),
    }
}

/// The file at a place that may be replaced; `None` if there is nothing.
fn look(place: &Path, is_ours: impl Fn(&[u8]) -> bool) -> io::Result<Option<Metadata>> {
    let there = match place.symlink_metadata() {
        Ok(there) if there.is_dir() => return Err(ErrorKind::IsADirectory.into()),
        Ok(there) if !there.is_file() => {
            return Err(io::Error::other("there is a link or a device, which is not replaced"));
        }
        Ok(there) => there,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let (mut line, file) = (Vec::new(), File::open(place)?);
    BufReader::new(file.take(LONGEST)).read_until(b'\n', &mut line)?;
    if line.is_empty() || is_ours(line.strip_suffix(b"\n").unwrap_or(&line)) {
        return Ok(Some(there));
    }
    let cause = "there is a file that this command did not write: name another one, or move it away";
    Err(io::Error::new(ErrorKind::AlreadyExists, cause))
}

fn is_same(now: &Metadata, before: &Metadata) -> bool {
    now.len() == before.len() && now.modified().ok() == before.modified().ok()
}
