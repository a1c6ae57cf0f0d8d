//! Atomic folders: a folder that is saved appears complete or not at all.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::{Error, Result};

/// Checks that `folder` can be written: that it does not exist, is empty, or holds the file `mark`, which tells that it is of the
/// kind that is to be written.
///
/// # Errors
/// [`Error::Invalid`] for another folder or a file; [`Error::Io`] if nothing can be written beside it.
pub(crate) fn check_folder(folder: &Path, mark: &str) -> Result<()> {
    staging(folder, mark).map(drop)
}

/// Lets `write` fill a new folder, and then replaces `folder` with it.
///
/// # Errors
/// As [`check_folder`], before anything is written, and the errors of `write`.
pub(crate) fn replace_folder(
    folder: &Path,
    mark: &str,
    write: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let staging = staging(folder, mark)?;
    let new = staging.path().join("new");
    std::fs::create_dir(&new).map_err(|source| Error::io(&new, source))?;
    write(&new)?;
    if folder.exists() {
        let old = staging.path().join("old");
        std::fs::rename(folder, &old).map_err(|source| Error::io(folder, source))?;
    }
    std::fs::rename(&new, folder).map_err(|source| Error::io(folder, source))
}

/// Creates a temporary folder beside `folder`, if `folder` may be replaced.
fn staging(folder: &Path, mark: &str) -> Result<TempDir> {
    let is_free = match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none() || folder.join(mark).is_file(),
        Err(_) => std::fs::symlink_metadata(folder).is_err(),
    };
    if !is_free {
        let allowed = format!("a place where nothing is, an empty folder, or one with a {mark}");
        return Err(Error::invalid("the folder to save into", folder.display(), allowed));
    }
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    std::fs::create_dir_all(&parent).map_err(|source| Error::io(&parent, source))?;
    let staging = tempfile::Builder::new().prefix(".saving-").tempdir_in(&parent);
    staging.map_err(|source| Error::io(&parent, source))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_folder_of_another_kind_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let (model, other, file) =
            (place.path().join("model"), place.path().join("other"), place.path().join("file"));
        let write = |text: &'static str| {
            move |new: &Path| {
                fs::write(new.join("config.json"), text).unwrap();
                Ok(())
            }
        };
        fs::create_dir(&other).unwrap();
        replace_folder(&other, "config.json", write("over an empty one")).unwrap();
        replace_folder(&model, "config.json", write("one")).unwrap();
        replace_folder(&model, "config.json", write("two")).unwrap();
        assert_eq!(fs::read_to_string(model.join("config.json")).unwrap(), "two");
        fs::rename(other.join("config.json"), other.join("thesis.txt")).unwrap();
        fs::write(&file, "a file").unwrap();
        for kept in [&other, &file] {
            let error = replace_folder(kept, "config.json", |_| unreachable!()).unwrap_err();
            assert!(matches!(error, Error::Invalid { .. }), "{error}");
            assert!(error.to_string().contains(&kept.display().to_string()), "{error}");
            assert!(check_folder(kept, "config.json").is_err());
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "a file");
        assert!(other.join("thesis.txt").is_file());
        assert_eq!(place.path().read_dir().unwrap().count(), 3);
    }
}
