//! The disk of a folder, without writing to it.

use std::{io, path::Path};

/// The bytes that this user can still write to the disk of a folder, or of the nearest one above it that exists.
#[cfg(unix)]
pub(crate) fn free_bytes(folder: &Path) -> Option<u64> {
    let there = folder.ancestors().find(|path| path.exists())?;
    let disk = rustix::fs::statvfs(there).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

/// Only Unix is asked.
#[cfg(not(unix))]
pub(crate) fn free_bytes(_: &Path) -> Option<u64> {
    None
}

/// Makes sure that this user can make files in a folder, or in the nearest one above it that exists.
///
/// # Errors
/// The error of the system: permissions, a disk that is read-only, a file in the place of a folder.
pub(crate) fn check_writable(folder: &Path) -> io::Result<()> {
    let there = folder.ancestors().find(|path| path.symlink_metadata().is_ok());
    // A relative path begins in the current folder.
    let there = there.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A file has no entry of this name.
    access(&there.join("."))
}

#[cfg(unix)]
fn access(folder: &Path) -> io::Result<()> {
    use rustix::fs::Access;
    Ok(rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
}

#[cfg(not(unix))]
fn access(folder: &Path) -> io::Result<()> {
    let refused = folder.metadata()?.permissions().readonly();
    if refused { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_are_not_there_yet_are_judged_by_the_one_above_them() {
        let place = tempfile::tempdir().unwrap();
        check_writable(&place.path().join("a").join("b")).unwrap();
        std::fs::write(place.path().join("file"), "").unwrap();
        let error = check_writable(&place.path().join("file").join("b")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
        check_writable(Path::new("no-such-folder")).unwrap();
        assert!(std::fs::read_dir(place.path()).unwrap().count() == 1);
    }
}
