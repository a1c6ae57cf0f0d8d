//! The hidden staging folder beside a place: files are made in it and then moved to the place in one step.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

use disco_tuner::SealedFolder;

use super::{
    place::{Found, hidden, keep_beside, look},
    space::reserve,
};
use crate::{Error, Result};

/// The file that marks the folder as ours: it is written first and removed last.
const MARK: &str = "mark";
/// The content of that file.
const MARK_TEXT: &str =
    "disco: results under construction; the next run with this place removes what a dead one has left\n";
/// The folder under construction.
const MADE: &str = "made";
/// The earlier results, while they are being replaced.
const EARLIER: &str = "earlier";
/// The file that reserves disk space for the results.
const RESERVE: &str = "reserve";
/// The file that reserves disk space for checkpoints.
const ROOM: &str = "room";

/// The number of random letters in a folder's name.
const LETTERS: usize = 6;

/// A folder `.NAME.XXXXXX` beside the place `NAME`. It is removed when dropped; if the process was killed, the next process that
/// has the lock of the same place removes it.
#[derive(Debug)]
pub(super) struct StagingFolder {
    // Invariant: on the same file system as the place, so that the finished folder can be renamed.
    folder: PathBuf,
    /// Whether it stays.
    is_kept: bool,
}

impl StagingFolder {
    /// Makes a staging folder for `place`, in the folder of the place.
    pub(super) fn new(place: &Path) -> io::Result<Self> {
        let parent = place.parent().unwrap_or(place);
        let made =
            tempfile::Builder::new().prefix(&hidden(place, ".")).rand_bytes(LETTERS).tempdir_in(parent)?;
        let folder = Self { folder: made.keep(), is_kept: false };
        let mut mark = File::create_new(folder.folder.join(MARK))?;
        mark.write_all(MARK_TEXT.as_bytes())?;
        // A temporary folder can be read by its owner only. The folder inside of it gets the permissions of any new folder.
        fs::create_dir(folder.made())?;
        Ok(folder)
    }

    /// The staging folder itself.
    pub(super) fn path(&self) -> &Path {
        &self.folder
    }

    /// The folder under construction.
    pub(super) fn made(&self) -> PathBuf {
        self.folder.join(MADE)
    }

    /// Reserves disk space for the results.
    pub(super) fn reserve(&self, bytes: u64) -> io::Result<PathBuf> {
        reserve(&self.folder.join(RESERVE), bytes)
    }

    /// Reserves disk space for checkpoints.
    pub(super) fn reserve_room(&self, bytes: u64) -> io::Result<PathBuf> {
        reserve(&self.folder.join(ROOM), bytes)
    }

    /// Moves the finished folder to its place, where `before` was found at the beginning. Earlier results are removed once the new
    /// ones are there. If something else has appeared at the place, it stays, and the finished folder gets a name beside it.
    pub(super) fn put(mut self, place: &Path, before: Found) -> Result<()> {
        let found = match look(place) {
            Ok(Found::Nothing) => return self.put_there(place),
            // Renaming replaces an empty folder. One that was not there at the beginning is somebody's.
            Ok(Found::EmptyFolder) if before != Found::Nothing => return self.put_there(place),
            Ok(Found::EmptyFolder) => "a folder appeared there during the run".into(),
            Ok(Found::EarlierResults) => return self.put_instead(place),
            Err(Error::Occupied { found, .. }) => found,
            Err(error) => error.to_string(),
        };
        Err(self.kept(place, found))
    }

    fn put_there(mut self, place: &Path) -> Result<()> {
        fs::rename(self.made(), place).map_err(|error| self.kept(place, error.to_string()))
    }

    fn put_instead(mut self, place: &Path) -> Result<()> {
        let earlier = self.folder.join(EARLIER);
        if let Err(error) = fs::rename(place, &earlier) {
            return Err(self.kept(place, error.to_string()));
        }
        if let Err(error) = fs::rename(self.made(), place) {
            // If they cannot go back, they stay in the staging folder, from where the next run moves them back.
            if place.symlink_metadata().is_err() {
                let _ = fs::rename(&earlier, place);
            }
            return Err(self.kept(place, error.to_string()));
        }
        let left = SealedFolder::remove(&earlier)?;
        if left.is_empty() {
            return Ok(());
        }
        let beside = keep_beside(&earlier, place).map_err(|source| Error::write(&earlier, source))?;
        let found = format!(
            "it was among earlier results, and is not of them; the new results are in {}",
            place.display()
        );
        Err(Error::Occupied { path: beside, found })
    }

    /// Keeps the finished folder beside its place, and gives the error that says so.
    fn kept(&mut self, place: &Path, found: String) -> Error {
        let results = keep_beside(&self.made(), place).unwrap_or_else(|_| {
            // Without its mark, the folder is no staging folder of a dead process.
            let _ = fs::remove_file(self.folder.join(MARK));
            self.is_kept = true;
            self.made()
        });
        Error::KeptBeside { results, place: place.into(), found }
    }
}

impl Drop for StagingFolder {
    fn drop(&mut self) {
        if !self.is_kept {
            // A file that cannot be removed is removed by the next run.
            let _ = remove(&self.folder);
        }
    }
}

/// Removes what is known in a staging folder, its mark last, and then the folder, unless something else is in it.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    for file in [RESERVE, ROOM] {
        unless_gone(fs::remove_file(folder.join(file)))?;
    }
    unless_gone(fs::remove_dir_all(folder.join(MADE)))?;
    let names = names(folder)?;
    if names.iter().all(|name| name == MARK) {
        unless_gone(fs::remove_file(folder.join(MARK)))?;
        fs::remove_dir(folder)?;
    }
    Ok(())
}

pub(super) fn unless_gone(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

fn names(folder: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect()
}

/// Removes the staging folders that dead processes left beside `place`, and moves earlier results back that were on the way out. The
/// caller has the lock of the place, so that no living process uses them. A folder that cannot be removed, such as another user's,
/// is ignored.
pub(super) fn sweep(place: &Path) {
    let (Some(parent), prefix) = (place.parent(), hidden(place, ".")) else { return };
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let letters = name.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes());
        let is_named =
            |letters: &[u8]| letters.len() == LETTERS && letters.iter().all(u8::is_ascii_alphanumeric);
        if letters.is_some_and(is_named) && is_ours(&entry.path()).unwrap_or(false) {
            let _ = clear(place, &entry.path());
        }
    }
}

/// Whether a folder has our mark, or was left before it got one: it then holds nothing, or a part of the mark alone.
fn is_ours(folder: &Path) -> io::Result<bool> {
    if !folder.symlink_metadata()?.is_dir() {
        return Ok(false);
    }
    let names = names(folder)?;
    if names.is_empty() {
        return Ok(true);
    }
    let mark = folder.join(MARK);
    if !mark.symlink_metadata()?.is_file() {
        return Ok(false);
    }
    let text = fs::read_to_string(mark)?;
    let is_known =
        |name: &std::ffi::OsString| [MARK, MADE, EARLIER, RESERVE, ROOM].iter().any(|known| name == known);
    Ok((text == MARK_TEXT && names.iter().all(is_known))
        || (MARK_TEXT.starts_with(&text) && names.len() == 1))
}

fn clear(place: &Path, folder: &Path) -> Result<()> {
    let failed = |source| Error::write(folder, source);
    let earlier = folder.join(EARLIER);
    if earlier.symlink_metadata().is_ok() {
        // The owner was killed between the two steps of a replacement, or before it had removed the earlier results.
        if look(place)? == Found::Nothing {
            fs::rename(&earlier, place).map_err(failed)?;
        } else {
            SealedFolder::remove(&earlier)?;
        }
    }
    remove(folder).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names in a folder.
    fn sorted(parent: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            names(parent).unwrap().into_iter().map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The staging folder of a process that was killed.
    fn left(parent: &Path, name: &str, entries: &[&str]) -> PathBuf {
        let folder = parent.join(name);
        fs::create_dir(&folder).unwrap();
        for entry in entries {
            match *entry {
                MARK => fs::write(folder.join(MARK), MARK_TEXT).unwrap(),
                MADE | EARLIER => fs::create_dir(folder.join(entry)).unwrap(),
                _ => fs::write(folder.join(entry), "x").unwrap(),
            }
        }
        folder
    }

    #[test]
    fn folders_of_dead_processes_are_removed_and_those_of_others_stay() {
        let parent = tempfile::tempdir().unwrap();
        let place = parent.path().join("demo");
        left(parent.path(), ".demo.AbCd12", &[MARK, MADE, RESERVE, ROOM]);
        // Killed before the mark was written, while it was written, and before the folder was removed.
        left(parent.path(), ".demo.AbCd13", &[]);
        fs::write(left(parent.path(), ".demo.AbCd14", &[]).join(MARK), &MARK_TEXT[..7]).unwrap();
        left(parent.path(), ".demo.AbCd15", &[MARK]);
        // Folders of another place, without a mark, with another text for a mark, and with a file that is not ours.
        left(parent.path(), ".other.AbCd12", &[MARK, MADE]);
        left(parent.path(), ".demo.x.AbCd12", &[MARK, MADE]);
        left(parent.path(), ".demo.backup", &[MADE]);
        fs::write(left(parent.path(), ".demo.papers", &[MADE]).join(MARK), "mine").unwrap();
        left(parent.path(), ".demo.thesis", &[MARK, "thesis.tex"]);
        sweep(&place);
        let kept = [".demo.backup", ".demo.papers", ".demo.thesis", ".demo.x.AbCd12", ".other.AbCd12"];
        assert_eq!(sorted(parent.path()), kept);
        drop(StagingFolder::new(&place).unwrap());
        assert_eq!(sorted(parent.path()), kept);
    }

    #[test]
    fn earlier_results_are_moved_back_if_their_replacement_never_came() {
        let parent = tempfile::tempdir().unwrap();
        let place = parent.path().join("demo");
        for (there, expected) in [(false, "x"), (true, "newer")] {
            let folder = left(parent.path(), ".demo.AbCd12", &[MARK, EARLIER]);
            fs::write(folder.join(EARLIER).join("summary.json"), "x").unwrap();
            SealedFolder::seal(&folder.join(EARLIER)).unwrap();
            if there {
                fs::write(place.join("summary.json"), "newer").unwrap();
                SealedFolder::seal(&place).unwrap();
            }
            sweep(&place);
            assert_eq!(fs::read_to_string(place.join("summary.json")).unwrap(), expected);
            assert_eq!(sorted(parent.path()), ["demo"]);
        }
    }
}
