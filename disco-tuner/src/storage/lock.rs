//! Lock files: only one process at a time works on something.

use std::{
    fs::{self, File, TryLockError},
    io::{self, ErrorKind, Read, Seek, Write},
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::io_error;
use crate::error::{Error, Result};

/// The beginning of a lock file: a file that begins otherwise is not ours to write to.
const MARK: &str = "disco lock: ";
/// The longest text that is read from a lock file, in bytes.
const LONGEST: u64 = 2000;
/// How often, and after which pause, a lock is tried that its holder has not yet put its name in, or holds for a moment only.
const TRIES: (u32, Duration) = (100, Duration::from_millis(10));

/// A file that is locked until this is dropped or its process dies, however it dies. The file names its holder.
///
/// The lock is the system's advisory one (`flock` on Linux). On NFS it holds across machines from Linux 2.6.12 on, unless the folder is
/// mounted with `nolock` or `local_lock`, where it holds on one machine only. Where the file system has no locks, every process
/// gets the lock; [`is_held`](Self::is_held) is then false.
#[derive(Debug)]
pub struct LockFile {
    path: PathBuf,
    /// Open, and therefore locked.
    file: File,
    is_held: bool,
}

/// The outcome of one try.
enum Tried {
    Taken(LockFile),
    /// Another process holds it; the text names that process.
    Busy(String),
    /// The file was removed meanwhile, with the lock of its holder.
    Gone,
}

impl LockFile {
    /// Locks `path`, which is created, and removed with the lock.
    ///
    /// # Errors
    /// [`Error::InUse`] with the process that holds the lock; [`Error::Io`], also for a file that is no lock file.
    pub fn take(path: &Path) -> Result<Self> {
        let (tries, pause) = TRIES;
        for _ in 0..tries {
            match Self::attempt(path).map_err(|cause| io_error(path, cause))? {
                Tried::Taken(mut lock) => {
                    // A full disk leaves the lock without a name, and held.
                    let _ = lock.file.write_all(holder().as_bytes());
                    return Ok(lock);
                }
                Tried::Busy(holder) if !holder.is_empty() => {
                    return Err(Error::InUse { path: path.into(), holder });
                }
                Tried::Busy(_) | Tried::Gone => {}
            }
            sleep(pause);
        }
        Err(Error::InUse { path: path.into(), holder: "another process".into() })
    }

    /// Makes sure that no process holds the lock `path`, without writing anything.
    ///
    /// # Errors
    /// [`Error::InUse`] with the process that holds it; [`Error::Io`], also for a file that is no lock file.
    pub fn check(path: &Path) -> Result<()> {
        match Self::holder(path).map_err(|cause| io_error(path, cause))? {
            None => Ok(()),
            Some(holder) => Err(Error::InUse { path: path.into(), holder }),
        }
    }

    /// The process that holds the lock `path`; `None` if none does.
    fn holder(path: &Path) -> io::Result<Option<String>> {
        match path.symlink_metadata() {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            there => refuse_others(&there?)?,
        }
        let file = File::open(path)?;
        let text = own_text(&file)?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Ok(Some(holder_in(&text))),
            Err(TryLockError::Error(error)) if error.kind() != ErrorKind::Unsupported => Err(error),
            _ => Ok(None),
        }
    }

    /// Locks `path` for a moment, without a name in it; `None` if another process holds it.
    pub(crate) fn take_briefly(path: &Path) -> Result<Option<Self>> {
        loop {
            match Self::attempt(path).map_err(|cause| io_error(path, cause))? {
                Tried::Taken(lock) => return Ok(Some(lock)),
                Tried::Busy(_) => return Ok(None),
                Tried::Gone => {}
            }
        }
    }

    /// Whether no other process can have the lock: false on a file system without locks.
    pub fn is_held(&self) -> bool {
        self.is_held
    }

    fn attempt(path: &Path) -> io::Result<Tried> {
        // A link could lead to a file of somebody else.
        if let Ok(there) = path.symlink_metadata() {
            refuse_others(&there)?;
        }
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let text = own_text(&file)?;
        let is_held = match file.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => {
                return Ok(Tried::Busy(holder_in(&text)));
            }
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => false,
            Err(TryLockError::Error(error)) => return Err(error),
        };
        if !is_same(&file, path) {
            return Ok(Tried::Gone);
        }
        file.set_len(0)?;
        file.rewind()?;
        if !is_held {
            fs::remove_file(path)?;
        }
        Ok(Tried::Taken(Self { path: path.into(), file, is_held }))
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // Removed while it is locked: whoever opened it meanwhile notices. A file that stays is no harm.
        if self.is_held && is_same(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Refuses what is no file.
fn refuse_others(there: &fs::Metadata) -> io::Result<()> {
    let wrong = || io::Error::new(ErrorKind::AlreadyExists, "there is something else than a lock file");
    if there.is_file() { Ok(()) } else { Err(wrong()) }
}

/// The text of a lock file; refuses another file.
fn own_text(file: &File) -> io::Result<String> {
    let mut text = Vec::new();
    let read = file.take(LONGEST).read_to_end(&mut text);
    // Windows lets nobody read a file that is locked.
    if !cfg!(windows) {
        read?;
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    if !text.starts_with(&MARK[..text.len().min(MARK.len())]) {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "there is a file that is no lock file"));
    }
    Ok(text)
}

/// The process that the text of a lock file names.
fn holder_in(text: &str) -> String {
    text.strip_prefix(MARK).unwrap_or_default().trim_end().to_owned()
}

/// Whether the open file is still the one at the path.
#[cfg(unix)]
fn is_same(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(ours), Ok(there)) = (file.metadata(), path.symlink_metadata()) else { return false };
    (ours.dev(), ours.ino()) == (there.dev(), there.ino())
}

/// A file that is open keeps its name here.
#[cfg(not(unix))]
fn is_same(_: &File, path: &Path) -> bool {
    path.exists()
}

/// This process, for another one that waits for the lock.
fn holder() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = host.or_else(|| std::env::var("COMPUTERNAME").ok()).unwrap_or_else(|| "this machine".into());
    let command: Vec<String> =
        std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let text = format!(
        "{MARK}process {} on {}, since {}: `{}`",
        std::process::id(),
        host.trim(),
        now(),
        command.join(" ")
    );
    text.replace('\n', " ") + "\n"
}

/// The time in UTC.
fn now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, of_day) = (seconds / 86400, seconds % 86400);
    let (year, month, day) = date(days);
    let (hours, minutes, seconds) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year}-{month:02}-{day:02} {hours:02}:{minutes:02}:{seconds:02} UTC")
}

/// Year, month and day of a number of days since 1970-01-01 (H. Hinnant, "chrono-compatible low-level date algorithms",
/// `civil_from_days`).
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // From `date --utc --date=@SECONDS`.
        for (seconds, expected) in [
            (0_u64, (1970, 1, 1)),
            (951_782_400, (2000, 2, 29)),
            (1_709_164_800, (2024, 2, 29)),
            (4_107_542_400, (2100, 3, 1)),
        ] {
            assert_eq!(date(seconds / 86400), expected);
        }
    }

    #[test]
    fn the_second_learns_who_was_first_and_the_file_goes_with_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = LockFile::take(&path).unwrap();
        let error = LockFile::take(&path).unwrap_err();
        let said = error.to_string();
        assert!(matches!(error, Error::InUse { .. }), "{said}");
        assert!(
            said.contains(&format!("process {} on ", std::process::id())) && said.contains(" UTC"),
            "{said}"
        );
        assert!(LockFile::take_briefly(&path).unwrap().is_none());
        let checked = LockFile::check(&path).unwrap_err().to_string();
        assert!(checked.contains(&format!("process {} on ", std::process::id())), "{checked}");
        drop(first);
        assert!(!path.exists());
        // A killed process leaves the file, and its lock is gone.
        fs::write(&path, format!("{MARK}process 1 on nowhere\n")).unwrap();
        LockFile::check(&path).unwrap();
        assert!(path.exists());
        drop(LockFile::take(&path).unwrap());
        assert!(!path.exists());
        LockFile::check(&path).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_file_of_somebody_else_is_neither_written_to_nor_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        fs::write(&path, "mine").unwrap();
        assert!(matches!(LockFile::take(&path), Err(Error::Io { .. })));
        assert!(matches!(LockFile::check(&path), Err(Error::Io { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        #[cfg(unix)]
        {
            let link = folder.path().join("link");
            let target = folder.path().join("target");
            std::os::unix::fs::symlink(&target, &link).unwrap();
            assert!(matches!(LockFile::take(&link), Err(Error::Io { .. })));
            assert!(!target.exists());
        }
    }
}
