//! Folders: how much is in them, and how much room there is for more.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::process::free_bytes;

/// A folder, with its size and the room on its disk.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Folder {
    /// The folder, which may not exist yet.
    pub(super) path: PathBuf,
    /// The bytes of all files below it; `None` if they are of no interest.
    pub(super) bytes: Option<u64>,
    /// The bytes that can still be written there; `None` where the system does not report it.
    pub(super) free_bytes: Option<u64>,
}

impl Folder {
    /// A folder for files of all kinds.
    pub(super) fn place(path: &Path) -> Self {
        Self { path: path.into(), bytes: None, free_bytes: free_bytes(path) }
    }

    /// A folder whose files are all of one cache.
    pub(super) fn cache(path: &Path) -> Self {
        Self { bytes: Some(bytes_below(path)), ..Self::place(path) }
    }
}

/// The bytes of all files below a folder. Links, which a hub's cache is full of, are not followed: each file counts once.
fn bytes_below(folder: &Path) -> u64 {
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => bytes_below(&entry.path()),
        Ok(found) if found.is_file() => found.len(),
        _ => 0,
    };
    fs::read_dir(folder).into_iter().flatten().flatten().map(size).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_cache_count_once() {
        let place = tempfile::tempdir().unwrap();
        let deep = place.path().join("a").join("b");
        fs::create_dir_all(&deep).unwrap();
        fs::write(place.path().join("one"), "12345").unwrap();
        fs::write(deep.join("two"), "678").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(place.path(), deep.join("round")).unwrap();
        let found = Folder::cache(place.path());
        assert_eq!(found.bytes, Some(8));
        #[cfg(unix)]
        assert!(found.free_bytes.unwrap() > 0);
        let absent = Folder::cache(&place.path().join("none").join("here"));
        assert_eq!((absent.bytes, absent.free_bytes.is_some()), (Some(0), cfg!(unix)));
    }
}
