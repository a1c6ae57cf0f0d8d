//! Folders that appear whole or not at all.

use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Lets `write` fill a new folder, and puts it into the place of `folder` when that is done.
pub(crate) fn replace_folder(folder: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    std::fs::create_dir_all(&parent).map_err(|source| Error::io(&parent, source))?;
    let staging = tempfile::Builder::new()
        .prefix(".saving-")
        .tempdir_in(&parent)
        .map_err(|source| Error::io(&parent, source))?;
    let new = staging.path().join("new");
    std::fs::create_dir(&new).map_err(|source| Error::io(&new, source))?;
    write(&new)?;
    if folder.exists() {
        let old = staging.path().join("old");
        std::fs::rename(folder, &old).map_err(|source| Error::io(folder, source))?;
    }
    std::fs::rename(&new, folder).map_err(|source| Error::io(folder, source))
}
