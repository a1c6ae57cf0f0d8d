//! The hidden folder beside a place, in which is made what belongs there.

use std::{
    fs::{self, File, TryLockError},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

/// Held by whoever makes something here. The system gives it up when a process ends, however it ends.
const LOCK: &str = "lock";
/// Its name until it is held: whoever sees a lock that nobody holds takes its owner for dead.
const LOCK_BEFORE: &str = "lock.new";
/// What is being made.
const MADE: &str = "made";
/// What was in the place before, while one takes the place of the other.
const EARLIER: &str = "earlier";
/// What room is set aside with.
const RESERVE: &str = "reserve";

/// How many letters tell the folders of one place apart.
const LETTERS: usize = 6;

/// A folder `.NAME.XXXXXX` beside the place `NAME`. It is removed when dropped, and by who next works at that place if the
/// process was killed.
#[derive(Debug)]
pub(super) struct Workplace {
    // Invariant: on the same file system as the place, so that what is made can be renamed.
    folder: TempDir,
    /// Open, and so held, until the folder is gone: fields are dropped in this order.
    _lock: File,
}

impl Workplace {
    /// Makes one for `place` in its folder `parent`, once what dead processes left there is gone.
    pub(super) fn new(place: &Path, parent: &Path) -> io::Result<Self> {
        let prefix = format!(".{}.", place.file_name().unwrap_or_default().to_string_lossy());
        sweep(place, parent, &prefix);
        let folder = tempfile::Builder::new().prefix(&prefix).rand_bytes(LETTERS).tempdir_in(parent)?;
        let lock = hold(folder.path())?;
        // A temporary folder is for its owner only. This one becomes what others may read as they may other new folders.
        fs::create_dir(folder.path().join(MADE))?;
        Ok(Self { folder, _lock: lock })
    }

    /// All of it.
    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The folder in which something is made.
    pub(super) fn made(&self) -> PathBuf {
        self.path().join(MADE)
    }

    /// The file that sets room aside.
    pub(super) fn reserve(&self) -> PathBuf {
        self.path().join(RESERVE)
    }

    /// Puts what was made into its place. What was there is put back if that fails.
    pub(super) fn put(self, place: &Path) -> io::Result<()> {
        // Renaming replaces an empty folder only, so what was there steps aside first.
        let earlier = self.path().join(EARLIER);
        let had_something = place.exists();
        if had_something {
            fs::rename(place, &earlier)?;
        }
        if let Err(error) = fs::rename(self.made(), place) {
            if had_something && fs::rename(&earlier, place).is_err() {
                // It stays where it is: whoever next works here puts it back.
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
        // Some network file systems have no locks. Without one, nobody ever takes this process for dead.
        Err(error) if error.kind() == ErrorKind::Unsupported => fs::remove_file(&before)?,
        Err(error) => return Err(error),
    }
    Ok(file)
}

/// Removes what dead processes left beside `place`. What cannot be removed, such as another user's, is no reason not to work.
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
    // Held while its folder is removed, so that only one does so. A folder without it is nobody's that is known to be dead.
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
    // Killed between the two steps of a replacement: what stepped aside goes back.
    let earlier = folder.join(EARLIER);
    if earlier.is_dir() && place.symlink_metadata().is_err() {
        fs::rename(&earlier, place)?;
    }
    fs::remove_dir_all(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is in the folder of a place.
    fn names(parent: &Path) -> Vec<String> {
        let entries = fs::read_dir(parent).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// What a process that was killed leaves.
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
    fn what_the_dead_left_goes_and_what_the_living_make_stays() {
        let parent = tempfile::tempdir().unwrap();
        let place = parent.path().join("demo");
        left(parent.path(), ".demo.AbCd12", &[LOCK, MADE, RESERVE]);
        // Of another place, without a lock, with something that is not ours.
        left(parent.path(), ".other.AbCd12", &[LOCK, MADE]);
        left(parent.path(), ".demo.x.AbCd12", &[LOCK, MADE]);
        left(parent.path(), ".demo.backup", &[MADE]);
        left(parent.path(), ".demo.thesis", &[LOCK, "thesis.tex"]);
        let living = Workplace::new(&place, parent.path()).unwrap();
        let other = Workplace::new(&place, parent.path()).unwrap();
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
    fn what_stepped_aside_for_what_never_came_is_put_back() {
        let parent = tempfile::tempdir().unwrap();
        let place = parent.path().join("demo");
        for (there, expected) in [(false, "x"), (true, "newer")] {
            let folder = left(parent.path(), ".demo.AbCd12", &[LOCK, EARLIER]);
            fs::write(folder.join(EARLIER).join("summary.json"), "x").unwrap();
            if there {
                fs::write(place.join("summary.json"), "newer").unwrap();
            }
            drop(Workplace::new(&place, parent.path()).unwrap());
            assert_eq!(fs::read_to_string(place.join("summary.json")).unwrap(), expected);
            assert_eq!(names(parent.path()), ["demo"]);
        }
    }
}
