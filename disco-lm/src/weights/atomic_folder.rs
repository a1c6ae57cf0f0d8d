//! Atomic folders: a folder that is saved appears complete or not at all, and only folders that were saved so are replaced.
//!
//! A saved folder holds the manifest `.disco-files.json`, which lists every file with its size. A folder whose content is
//! exactly that list may be replaced. A folder without a manifest, and one with a file that is not on the list or has another
//! size, holds something of somebody else's, and is left alone.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use disco_core::input;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::{Error, Result};

/// The file that lists the files of a saved folder.
const MANIFEST: &str = ".disco-files.json";

/// The files of a saved folder, except the manifest itself.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    /// The size in bytes by file name.
    files: BTreeMap<String, u64>,
}

impl Manifest {
    /// The manifest of all files in a folder.
    fn of(folder: &Path) -> io::Result<Self> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            files.insert(entry.file_name().to_string_lossy().into_owned(), entry.metadata()?.len());
        }
        files.remove(MANIFEST);
        Ok(Self { files })
    }

    fn read(folder: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&input::read_bytes(folder.join(MANIFEST))?)?)
    }

    fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(MANIFEST);
        let written = serde_json::to_vec_pretty(self).map_err(io::Error::from);
        written.and_then(|json| fs::write(&path, json)).map_err(|source| Error::io(&path, source))
    }

    /// Why a folder holds something that is not on the list.
    fn foreign(&self, folder: &Path) -> io::Result<Option<String>> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            // Not the metadata of a link's target: a link is nothing that was saved.
            let found = entry.metadata()?;
            let listed = self.files.get(&*name);
            if name != MANIFEST && (listed.is_none() || !found.is_file()) {
                return Ok(Some(format!("`{}` in it was not saved by disco", name.escape_debug())));
            }
            if listed.is_some_and(|size| *size != found.len()) {
                return Ok(Some(format!("`{}` in it was changed since", name.escape_debug())));
            }
        }
        Ok(None)
    }
}

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
/// As [`check_folder`], before anything is written and again before `folder` is replaced; the errors of `write`. After any
/// error `folder` is as it was.
pub(crate) fn replace_folder(folder: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let place = place_of(folder)?;
    check_ours(&place, folder)?;
    let staging = staging(&place)?;
    let [new, old] = ["new", "old"].map(|name| staging.path().join(name));
    fs::create_dir(&new).map_err(|source| Error::io(&new, source))?;
    write(&new)?;
    Manifest::of(&new).map_err(|source| Error::io(&new, source))?.write(&new)?;
    let moved = place.symlink_metadata().is_ok();
    if moved {
        fs::rename(&place, &old).map_err(|source| Error::io(folder, source))?;
    }
    // Something may have been put there while the new folder was written.
    let replaced = if moved { check_ours(&old, folder) } else { Ok(()) }
        .and_then(|()| fs::rename(&new, &place).map_err(|source| Error::io(folder, source)));
    let cleared = match &replaced {
        Ok(()) if moved => remove_listed(&old),
        Err(_) if moved => fs::rename(&old, &place),
        _ => Ok(()),
    };
    cleared.map_err(|source| {
        // What is left in the staging folder is not on the list, so it stays, and the error says where.
        let kept = staging.keep();
        Error::io(kept.join("old"), source)
    })?;
    replaced
}

/// Writes a further file into a saved folder, and adds it to the folder's manifest.
///
/// # Errors
/// [`Error::Io`], also for a folder without a manifest.
pub(crate) fn add_file(folder: &Path, name: &str, content: &[u8]) -> Result<()> {
    let mut manifest = Manifest::read(folder).map_err(|source| Error::io(folder.join(MANIFEST), source))?;
    let path = folder.join(name);
    fs::write(&path, content).map_err(|source| Error::io(&path, source))?;
    manifest.files.insert(name.into(), content.len() as u64);
    manifest.write(folder)
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
    let Ok(manifest) = Manifest::read(place) else {
        return Err(refused(
            named,
            &format!("it has no valid {MANIFEST}, which would list what disco saved"),
        ));
    };
    match manifest.foreign(place).map_err(read)? {
        None => Ok(()),
        Some(problem) => Err(refused(named, &problem)),
    }
}

fn refused(folder: &Path, problem: &str) -> Error {
    let allowed = format!("a place where nothing is, an empty folder, or one that disco saved; {problem}");
    Error::invalid("the folder to save into", folder.display(), allowed)
}

/// Removes the listed files of a saved folder, and the folder, which fails if anything else is in it.
fn remove_listed(folder: &Path) -> io::Result<()> {
    let names = Manifest::read(folder).unwrap_or_default().files.into_keys();
    for name in names.chain([MANIFEST.to_string()]) {
        match fs::remove_file(folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::remove_dir(folder)
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
        assert_eq!(names(&model), [MANIFEST, "config.json"]);
        assert_eq!(names(place.path()), ["empty", "model"]);
    }

    #[test]
    fn what_somebody_else_put_there_is_never_removed() {
        type Change = fn(&Path);
        let changes: [(Change, &str); 8] = [
            (
                |folder| fs::write(folder.join("thesis.txt"), "years").unwrap(),
                "`thesis.txt` in it was not saved",
            ),
            (|folder| fs::write(folder.join("a\u{1b}[2J"), "").unwrap(), "`a\\u{1b}[2J` in it was not saved"),
            (|folder| fs::create_dir(folder.join("notes")).unwrap(), "`notes` in it was not saved"),
            (
                |folder| fs::write(folder.join("config.json"), "edited by hand").unwrap(),
                "`config.json` in it was changed",
            ),
            (|folder| fs::remove_file(folder.join(MANIFEST)).unwrap(), "no valid .disco-files.json"),
            (|folder| fs::write(folder.join(MANIFEST), "{}").unwrap(), "no valid .disco-files.json"),
            (
                |folder| fs::write(folder.join(MANIFEST), "{\"files\": {}}").unwrap(),
                "`config.json` in it was not saved",
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
            // What appears while the new folder is written is found at the moment of replacing.
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
        assert!(appeared.unwrap_err().to_string().contains("no valid"));
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
