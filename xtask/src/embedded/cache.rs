//! Embedded files on the disk, in a cache folder: libraries and other programs read files, not bytes of this program.

use std::{
    env, fs,
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::EmbeddedFile;
use crate::{Error, Result, hex::hex};

/// disco's folder among the user's caches: `disco` in `XDG_CACHE_HOME`, or in `.cache` of the home folder.
///
/// # Errors
/// [`Error::File`] if the user has no home folder.
pub(crate) fn cache_folder() -> Result<PathBuf> {
    // A relative path counts as none, as the specification of XDG's folders has it; so does an empty one.
    let variable = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = variable("XDG_CACHE_HOME");
    let home = || variable("HOME").or_else(|| env::home_dir().filter(|path| path.is_absolute()));
    let caches = caches.or_else(|| Some(home()?.join(".cache"))).ok_or_else(|| {
        let problem = "there is no home folder to have one in: set XDG_CACHE_HOME to a folder";
        Error::write(Path::new("the cache"), io::Error::new(ErrorKind::NotFound, problem))
    })?;
    Ok(caches.join("disco"))
}

/// The folder of the cache with these files: it is made if it is missing, and a file in it that is damaged is written again.
///
/// A checksum of the files is part of the folder's name, so that programs of several versions do not disturb each other. Each file appears
/// whole or not at all, and any number of processes may do this at the same time: all write the same.
///
/// # Errors
/// [`Error::File`] if the user has no home folder, or a file is missing and cannot be written.
pub(super) fn unpacked(name: &str, files: &[EmbeddedFile]) -> Result<PathBuf> {
    let folder = cache_folder()?.join(format!("{name}-{}", checksum(files)));
    unpack(&folder, files)?;
    Ok(folder)
}

/// Writes those of these files that are not in the folder as they should be.
fn unpack(folder: &Path, files: &[EmbeddedFile]) -> Result<()> {
    for file in files {
        let path = folder.join(file.name);
        if fs::read(&path).is_ok_and(|found| found == file.bytes) {
            continue;
        }
        let written = || -> io::Result<()> {
            fs::create_dir_all(folder)?;
            let mut unfinished = NamedTempFile::new_in(folder)?;
            unfinished.write_all(file.bytes)?;
            unfinished.as_file().sync_all()?;
            unfinished.persist(&path)?;
            Ok(())
        };
        written().map_err(|cause| Error::write(&path, cause))?;
    }
    Ok(())
}

/// The first 16 hexadecimal digits of the SHA-256 of the files' names and contents.
fn checksum(files: &[EmbeddedFile]) -> String {
    let mut hash = Sha256::new();
    for file in files {
        hash.update(format!("{} {}\n", file.name, file.bytes.len()));
        hash.update(file.bytes);
    }
    hex(&hash.finalize()[..8])
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const FILES: [EmbeddedFile; 2] =
        [EmbeddedFile { name: "a", bytes: b"one" }, EmbeddedFile { name: "b", bytes: b"two" }];

    fn is_whole(folder: &Path) -> bool {
        let names = fs::read_dir(folder).unwrap().count();
        names == FILES.len()
            && FILES.iter().all(|file| fs::read(folder.join(file.name)).unwrap() == file.bytes)
    }

    #[test]
    fn a_damaged_or_missing_file_is_written_again() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("deep").join("folder");
        unpack(&folder, &FILES).unwrap();
        assert!(is_whole(&folder));
        fs::write(folder.join("a"), "on").unwrap();
        fs::remove_file(folder.join("b")).unwrap();
        unpack(&folder, &FILES).unwrap();
        assert!(is_whole(&folder));
    }

    #[test]
    fn many_processes_may_unpack_at_once() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("folder");
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| unpack(&folder, &FILES).unwrap());
            }
        });
        assert!(is_whole(&folder));
    }

    #[test]
    fn a_cache_that_cannot_be_written_names_the_file() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("file"), "").unwrap();
        let error = unpack(&place.path().join("file").join("folder"), &FILES).unwrap_err().to_string();
        assert!(error.starts_with("cannot write ") && error.contains("folder"), "{error}");
    }

    #[test]
    fn other_contents_have_another_checksum() {
        let other = [FILES[0], EmbeddedFile { name: "b", bytes: b"tow" }];
        let moved = [EmbeddedFile { name: "a", bytes: b"onet" }, EmbeddedFile { name: "b", bytes: b"wo" }];
        assert_eq!(checksum(&FILES).len(), 16);
        assert!(checksum(&FILES) != checksum(&other) && checksum(&FILES) != checksum(&moved));
    }
}
