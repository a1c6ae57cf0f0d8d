//! Atomic folders: a folder that is saved appears complete or not at all, and only folders that were saved so are replaced.
//!
//! A saved folder holds the file `manifest.json`, which lists every file with its size and checksum. A folder whose content is
//! that list may be replaced. A folder without a list, and one with a file that is not on it or has another content, holds
//! something of somebody else's, and is left alone.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use disco_tuner::SealedFolder;
use tempfile::TempDir;

use crate::{Error, Result};

/// Checks that `folder` can be written: that it does not exist, is empty, or was saved by [`replace_folder`] and not changed since.
///
/// # Errors
/// [`Error::Invalid`] for another folder or a file; [`Error::Io`] if nothing can be written beside it.
pub(crate) fn check_folder(folder: &Path) -> Result<()> {
    let place = place_of(folder)?;
    check_ours(&place, folder)?;
    staging(&place).map(drop)
}

/// Lets `write` fill a new folder, and then replaces `folder` with it. If `folder` is a link, the folder that it names is replaced.
///
/// # Errors
/// As [`check_folder`], before anything is written and again before `folder` is replaced; the errors of `write`. After an error
/// before the replacement `folder` is as it was. If the earlier folder cannot be moved back or removed whole, it stays in the
/// hidden staging folder, which the error names.
pub(crate) fn replace_folder(folder: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let place = place_of(folder)?;
    check_ours(&place, folder)?;
    let staging = staging(&place)?;
    let [new, old] = ["new", "old"].map(|name| staging.path().join(name));
    fs::create_dir(&new).map_err(|source| Error::io(&new, source))?;
    write(&new)?;
    SealedFolder::seal(&new).map_err(|error| failed(&new, error))?;
    let moved = place.symlink_metadata().is_ok();
    if moved {
        fs::rename(&place, &old).map_err(|source| Error::io(folder, source))?;
    }
    // Something may have been put there while the new folder was written.
    let replaced = if moved { check_ours(&old, folder) } else { Ok(()) }
        .and_then(|()| fs::rename(&new, &place).map_err(|source| Error::io(folder, source)));
    let (old_is_left, cleared) = match &replaced {
        Ok(()) if moved => match SealedFolder::remove(&old) {
            Ok(left) if left.is_empty() => (false, Ok(())),
            // Put there in this moment.
            Ok(_) => (
                true,
                Err(refused(folder, &format!("what was added to it meanwhile is in {}", old.display()))),
            ),
            Err(error) => (true, Err(failed(&old, error))),
        },
        Err(_) if moved => match fs::rename(&old, &place) {
            Ok(()) => (false, Ok(())),
            Err(source) => (true, Err(Error::io(&old, source))),
        },
        _ => (false, Ok(())),
    };
    if old_is_left {
        let _ = staging.keep();
    }
    replaced.and(cleared)
}

/// Writes a further file into a saved folder, and adds it to the folder's list.
///
/// # Errors
/// [`Error::Invalid`] for a folder that was not saved or was changed since; [`Error::Io`].
pub(crate) fn add_file(folder: &Path, name: &str, content: &[u8]) -> Result<()> {
    check_listed(folder, folder)?;
    let path = folder.join(name);
    fs::write(&path, content).map_err(|source| Error::io(&path, source))?;
    SealedFolder::seal(folder).map_err(|error| failed(folder, error))
}

/// The folder that is replaced: the target if `folder` is a link to a folder.
fn place_of(folder: &Path) -> Result<PathBuf> {
    if folder.file_name().is_none() {
        return Err(refused(folder, "it has no name of its own"));
    }
    if folder.is_symlink() {
        return folder.canonicalize().map_err(|_| refused(folder, "it is a link to nothing"));
    }
    Ok(folder.into())
}

/// Checks that what stands at `place` may be replaced; `named` is its name in messages.
fn check_ours(place: &Path, named: &Path) -> Result<()> {
    let read = |source| Error::io(named, source);
    match place.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(read(error)),
        Ok(found) if !found.is_dir() => return Err(refused(named, "it is no folder")),
        Ok(_) => {}
    }
    if fs::read_dir(place).map_err(read)?.next().is_none() {
        return Ok(());
    }
    check_listed(place, named)
}

/// Checks that a folder holds nothing but the files of its list.
fn check_listed(place: &Path, named: &Path) -> Result<()> {
    SealedFolder::open(place).and_then(|folder| folder.check_strangers()).map_err(|error| match error {
        disco_tuner::Error::Damaged { path, difference, .. } if difference == "missing" => {
            let file = path.file_name().unwrap_or_default().display();
            refused(named, &format!("it has no {file}, which lists what was saved"))
        }
        disco_tuner::Error::Damaged { path, difference, .. } => {
            let name = path.strip_prefix(place).unwrap_or(&path).display();
            refused(named, &format!("{name}: {difference}"))
        }
        error => failed(named, error),
    })
}

/// An error of a folder's list, which names its file.
fn failed(folder: &Path, error: disco_tuner::Error) -> Error {
    Error::io(folder, io::Error::other(error))
}

fn refused(folder: &Path, problem: &str) -> Error {
    let allowed = format!(
        "a place where nothing is, an empty folder, or one that disco saved and nobody changed; {problem}"
    );
    Error::invalid("the folder to save into", folder.display(), allowed)
}

/// Creates a temporary folder beside `folder`.
fn staging(folder: &Path) -> Result<TempDir> {
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    fs::create_dir_all(&parent).map_err(|source| Error::io(&parent, source))?;
    let staging = tempfile::Builder::new().prefix(".saving-").tempdir_in(&parent);
    staging.map_err(|source| Error::io(&parent, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "manifest.json";

    fn write(text: &'static str) -> impl FnOnce(&Path) -> Result<()> {
        move |new: &Path| {
            fs::write(new.join("config.json"), text).unwrap();
            Ok(())
        }
    }

    /// The names in a folder, in order.
    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = folder
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn only_what_was_saved_before_is_replaced() {
        let place = tempfile::tempdir().unwrap();
        let [model, empty] = ["model", "empty"].map(|name| place.path().join(name));
        fs::create_dir(&empty).unwrap();
        replace_folder(&empty, write("over an empty one")).unwrap();
        replace_folder(&model, write("one")).unwrap();
        add_file(&model, "README.md", b"a card").unwrap();
        replace_folder(&model, write("two")).unwrap();
        assert_eq!(fs::read_to_string(model.join("config.json")).unwrap(), "two");
        assert_eq!(names(&model), ["config.json", LIST]);
        assert_eq!(names(place.path()), ["empty", "model"]);
    }

    #[test]
    fn what_somebody_else_put_there_is_never_removed() {
        type Change = fn(&Path);
        let changes: [(Change, &str); 8] = [
            (
                |folder| fs::write(folder.join("thesis.txt"), "years").unwrap(),
                "thesis.txt: not in the manifest",
            ),
            (|folder| fs::create_dir(folder.join("notes")).unwrap(), "notes: not in the manifest"),
            (
                |folder| fs::write(folder.join("config.json"), "edited").unwrap(),
                "config.json: 6 bytes, where the manifest has 3",
            ),
            (|folder| fs::write(folder.join("config.json"), "1.5").unwrap(), "config.json: another content"),
            (|folder| fs::remove_file(folder.join(LIST)).unwrap(), "it has no manifest.json"),
            (|folder| fs::write(folder.join(LIST), "{}").unwrap(), "manifest.json: "),
            (
                |folder| fs::write(folder.join(LIST), "{\"version\":1,\"files\":{}}").unwrap(),
                "config.json: not in the manifest",
            ),
            (
                |folder| {
                    fs::remove_dir_all(folder).unwrap();
                    fs::write(folder, "a file").unwrap();
                },
                "it is no folder",
            ),
        ];
        for (change, message) in changes {
            let place = tempfile::tempdir().unwrap();
            let model = place.path().join("model");
            replace_folder(&model, write("one")).unwrap();
            change(&model);
            let before = if model.is_dir() { names(&model) } else { Vec::new() };
            let early = check_folder(&model).unwrap_err();
            let late = replace_folder(&model, |_| unreachable!()).unwrap_err();
            // A file that appears while the new folder is written is found at the moment of replacing.
            let other = place.path().join("other");
            replace_folder(&other, write("one")).unwrap();
            let during = replace_folder(&other, |new| {
                change(&other);
                write("two")(new)
            });
            for error in [early, late, during.unwrap_err()] {
                assert!(matches!(error, Error::Invalid { .. }), "{error}");
                assert!(error.to_string().contains(message), "{error}");
                assert!(error.to_string().contains(&*place.path().to_string_lossy()), "{error}");
            }
            let after = if model.is_dir() { names(&model) } else { Vec::new() };
            assert_eq!(before, after);
            assert_eq!(names(place.path()), ["model", "other"], "{message}");
        }
    }

    #[test]
    fn a_folder_that_appears_meanwhile_and_a_failure_change_nothing() {
        let place = tempfile::tempdir().unwrap();
        let model = place.path().join("model");
        let appeared = replace_folder(&model, |new| {
            fs::create_dir(&model).unwrap();
            fs::write(model.join("config.json"), "theirs").unwrap();
            write("ours")(new)
        });
        assert!(appeared.unwrap_err().to_string().contains("no manifest.json"));
        assert_eq!(fs::read_to_string(model.join("config.json")).unwrap(), "theirs");
        fs::remove_dir_all(&model).unwrap();
        replace_folder(&model, write("one")).unwrap();
        let failed = replace_folder(&model, |new| {
            write("two")(new)?;
            Err(Error::io("x", io::ErrorKind::StorageFull.into()))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_to_string(model.join("config.json")).unwrap(), "one");
        assert_eq!(names(place.path()), ["model"]);
    }

    #[test]
    fn a_path_without_a_name_is_refused_before_anything_is_done() {
        let place = tempfile::tempdir().unwrap();
        for path in ["x/..", "/", ".."] {
            let path = place.path().join(path);
            assert!(check_folder(&path).unwrap_err().to_string().contains("no name of its own"), "{path:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_and_its_folder_is_replaced() {
        let place = tempfile::tempdir().unwrap();
        let [disk, link, dangling] = ["disk", "link", "dangling"].map(|name| place.path().join(name));
        fs::create_dir(&disk).unwrap();
        std::os::unix::fs::symlink(&disk, &link).unwrap();
        std::os::unix::fs::symlink(place.path().join("nothing"), &dangling).unwrap();
        for text in ["one", "two"] {
            replace_folder(&link, write(text)).unwrap();
            assert!(link.is_symlink());
            assert_eq!(fs::read_to_string(disk.join("config.json")).unwrap(), text);
        }
        assert!(check_folder(&dangling).unwrap_err().to_string().contains("a link to nothing"));
    }
}
