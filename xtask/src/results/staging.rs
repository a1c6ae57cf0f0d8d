//! The hidden staging folder beside a place: files are made in it and then moved to the place in one step.

use std::{
    fs::{self, File, TryLockError},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

/// A lock that the process which uses the folder holds. The system releases it when the process ends, however it ends.
const LOCK: &str = "lock";
/// The lock's name until it is held: a lock under its final name that no process holds means that its owner is dead.
const LOCK_BEFORE: &str = "lock.new";
/// The folder under construction.
const MADE: &str = "made";
/// The earlier content of the place, while it is being replaced.
const EARLIER: &str = "earlier";
/// The file that reserves disk space.
const RESERVE: &str = "reserve";

/// The number of random letters in a folder's name.
const LETTERS: usize = 6;

/// A folder `.NAME.XXXXXX` beside the place `NAME`. It is removed when dropped; if the process was killed, the next process that
/// uses the same place removes it.
#[derive(Debug)]
pub(super) struct StagingFolder {
    // Invariant: on the same file system as the place, so that the finished folder can be renamed.
    folder: TempDir,
    /// Open, and therefore locked, until the folder is removed: fields are dropped in this order.
    _lock: File,
}

impl StagingFolder {
    /// Makes a staging folder for `place` in its folder `parent`, after removing those of dead processes.
    pub(super) fn new(place: &Path, parent: &Path) -> io::Result<Self> {
        let prefix = format!(".{}.", place.file_name().unwrap_or_default().to_string_lossy());
        sweep(place, parent, &prefix);
        let folder = tempfile::Builder::new().prefix(&prefix).rand_bytes(LETTERS).tempdir_in(parent)?;
        let lock = hold(folder.path())?;
        // A temporary folder can be read by its owner only. The folder inside of it gets the permissions of any new folder.
        fs::create_dir(folder.path().join(MADE))?;
        Ok(Self { folder, _lock: lock })
    }

    /// The staging folder itself.
    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The folder under construction.
    pub(super) fn made(&self) -> PathBuf {
        self.path().join(MADE)
    }

    /// The file that reserves disk space.
    pub(super) fn reserve(&self) -> PathBuf {
        self.path().join(RESERVE)
    }

    /// Moves the finished folder to its place. The earlier content of the place is moved back if that fails.
    pub(super) fn put(self, place: &Path) -> io::Result<()> {
        // Renaming replaces an empty folder only, so the earlier content is moved away first.
        let earlier = self.path().join(EARLIER);
        let had_something = place.exists();
        if had_something {
            fs::rename(place, &earlier)?;
        }
        if let Err(error) = fs::rename(self.made(), place) {
            if had_something && fs::rename(&earlier, place).is_err() {
                // It stays in the staging folder: the next process that uses this place moves it back.
                let _ = self.folder.keep();
            }
            return Err(error);
        }
        Ok(())
    }
}

fn hold(folder: &Path) -> io::Result<File> {
    let before = folder.join(LOCK_BEFORE);
    let file = File::create(&before)?;
    match file.lock() {
        Ok(()) => fs::rename(&before, folder.join(LOCK))?,
        // Some network file systems have no locks. Without a lock, no other process takes this one for dead.
        Err(error) if error.kind() == ErrorKind::Unsupported => fs::remove_file(&before)?,
        Err(error) => return Err(error),
    }
    Ok(file)
}

/// Removes the staging folders that dead processes left beside `place`. A folder that cannot be removed, such as another user's, is
/// ignored.
fn sweep(place: &Path, parent: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let letters = name.to_str().and_then(|name| name.strip_prefix(prefix));
        let is_ours =
            |letters: &str| letters.len() == LETTERS && letters.chars().all(|c| c.is_ascii_alphanumeric());
        if letters.is_some_and(is_ours) {
            let _ = remove_if_dead(place, &entry.path());
        }
    }
}

fn remove_if_dead(place: &Path, folder: &Path) -> io::Result<()> {
    // Locked while its folder is removed, so that only one process does so. Without a lock the owner is not known to be dead.
    let lock = File::options().read(true).write(true).open(folder.join(LOCK))?;
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(()),
        Err(TryLockError::Error(error)) => return Err(error),
        Ok(()) => {}
    }
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if ![LOCK, MADE, EARLIER, RESERVE].iter().any(|known| name == *known) {
            return Ok(());
        }
    }
    // The owner was killed between the two steps of a replacement: the earlier content is moved back.
    let earlier = folder.join(EARLIER);
    if earlier.is_dir() && place.symlink_metadata().is_err() {
        fs::rename(&earlier, place)?;
    }
    fs::remove_dir_all(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names in a folder.
    fn names(parent: &Path) -> Vec<String> {
        let entries = fs::read_dir(parent).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The staging folder of a process that was killed.
    fn left(parent: &Path, name: &str, entries: &[&str]) -> PathBuf {
        let folder = parent.join(name);
        fs::create_dir(&folder).unwrap();
        for entry in entries {
            match *entry {
                MADE | EARLIER => fs::create_dir(folder.join(entry)).unwrap(),
                _ => fs::write(folder.join(entry), "x").unwrap(),
            }
        }
        folder
    }

    #[test]
    fn folders_of_dead_processes_are_removed_and_those_of_living_ones_stay() {
        let parent = tempfile::tempdir().unwrap();
        let place = parent.path().join("demo");
        left(parent.path(), ".demo.AbCd12", &[LOCK, MADE, RESERVE]);
        // Folders of another place, without a lock, and with a file that is not ours.
        left(parent.path(), ".other.AbCd12", &[LOCK, MADE]);
        left(parent.path(), ".demo.x.AbCd12", &[LOCK, MADE]);
        left(parent.path(), ".demo.backup", &[MADE]);
        left(parent.path(), ".demo.thesis", &[LOCK, "thesis.tex"]);
        let living = StagingFolder::new(&place, parent.path()).unwrap();
        let other = StagingFolder::new(&place, parent.path()).unwrap();
        assert!(living.made().is_dir() && other.made().is_dir());
        let kept = [".demo.backup", ".demo.thesis", ".demo.x.AbCd12", ".other.AbCd12"];
        let named = |name: &String| !name.starts_with(".demo.") || kept.contains(&name.as_str());
        let mut found = names(parent.path());
        assert_eq!(found.len(), kept.len() + 2, "{found:?}");
        found.retain(named);
        assert_eq!(found, kept);
        drop((living, other));
        assert_eq!(names(parent.path()), kept);
    }

    #[test]
    fn earlier_results_are_moved_back_if_their_replacement_never_came() {
        let parent = tempfile::tempdir().unwrap();
        let place = parent.path().join("demo");
        for (there, expected) in [(false, "x"), (true, "newer")] {
            let folder = left(parent.path(), ".demo.AbCd12", &[LOCK, EARLIER]);
            fs::write(folder.join(EARLIER).join("summary.json"), "x").unwrap();
            if there {
                fs::write(place.join("summary.json"), "newer").unwrap();
            }
            drop(StagingFolder::new(&place, parent.path()).unwrap());
            assert_eq!(fs::read_to_string(place.join("summary.json")).unwrap(), expected);
            assert_eq!(names(parent.path()), ["demo"]);
        }
    }
}
