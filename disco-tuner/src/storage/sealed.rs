//! Sealed folders: folders that list their files, so that what is ours is told from what is not.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, Metadata},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{crc32c_of, io_error, sync_directory, version, write_durably};
use crate::error::{Error, Result};

/// The name of the manifest's own file.
const FILE: &str = "manifest.json";
/// The manifest while it is written.
const UNFINISHED_FILE: &str = "manifest.json.partial";
const VERSION: u32 = 1;
/// The longest manifest that is read, in bytes: that of a few hundred thousand files.
const LONGEST: u64 = 1 << 26;

/// A folder whose file `manifest.json` lists all its other files, with sizes and checksums.
///
/// The list says what a program wrote there. [`remove`](Self::remove) removes nothing else, and follows no link.
#[derive(Debug)]
pub struct SealedFolder {
    path: PathBuf,
    manifest: Manifest,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    version: u32,
    /// Size and CRC-32C by path within the folder, with `/` between the names. A folder without a file is listed too, with a `/`
    /// at its end.
    files: BTreeMap<String, (u64, u32)>,
    /// Whether files were still being written: then they are not listed, and all of the folder is ours.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unfinished: bool,
}

impl SealedFolder {
    /// Marks a new folder as ours before its files are written.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn begin(path: &Path) -> Result<()> {
        Manifest { version: VERSION, unfinished: true, ..Manifest::default() }.write(path)
    }

    /// Lists all files of a folder, and flushes them to the disk.
    ///
    /// # Errors
    /// [`Error::Io`], also for a link in the folder.
    pub fn seal(path: &Path) -> Result<()> {
        let mut files = BTreeMap::new();
        for entry in walk(path)? {
            if entry.name == FILE {
                continue;
            }
            let listed = match entry.kind {
                Kind::EmptyFolder => (0, 0),
                Kind::Other => {
                    let cause = io::Error::new(ErrorKind::InvalidInput, "neither a file nor a folder");
                    return Err(io_error(&entry.path, cause));
                }
                Kind::File => File::open(&entry.path)
                    .and_then(|mut file| {
                        file.sync_all()?;
                        sync_directory(entry.path.parent())?;
                        crc32c_of(&mut file)
                    })
                    .map_err(|cause| io_error(&entry.path, cause))?,
            };
            files.insert(entry.name, listed);
        }
        Manifest { version: VERSION, files, unfinished: false }.write(path)
    }

    /// Reads the list of a folder.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the folder has no list, or one that this program did not write; [`Error::Io`].
    pub fn open(path: &Path) -> Result<Self> {
        let file = path.join(FILE);
        // A list of somebody else may be a link, a pipe that is never written to, or larger than the memory.
        let is_list = |there: Metadata| there.is_file() && there.len() <= LONGEST;
        if file.symlink_metadata().is_ok_and(|there| !is_list(there)) {
            return damaged(file, "no file that this program wrote".into());
        }
        let bytes = match fs::read(&file) {
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return damaged(file, "missing".into());
            }
            Err(cause) => return Err(io_error(&file, cause)),
        };
        match version(&bytes) {
            Ok(VERSION) => {}
            Ok(other) => {
                return damaged(file, format!("version {other}, where this program writes {VERSION}"));
            }
            Err(error) => return damaged(file, error.to_string()),
        }
        match serde_json::from_slice(&bytes) {
            Ok(manifest) => Ok(Self { path: path.into(), manifest }),
            Err(error) => damaged(file, error.to_string()),
        }
    }

    /// The content of one file of the list, which is in memory as a whole.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it is missing, not on the list, or not as it was written; [`Error::Io`].
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.path.join(name);
        if self.manifest.unfinished {
            return damaged(self.path.join(FILE), "the folder was never finished".into());
        }
        let Some((size, checksum)) = self.manifest.files.get(name) else {
            return damaged(path, "not in the manifest".into());
        };
        if !path.symlink_metadata().is_ok_and(|there| there.is_file()) {
            return damaged(path, "missing".into());
        }
        let bytes = fs::read(&path).map_err(|cause| io_error(&path, cause))?;
        let (_, found) = crc32c_of(&mut bytes.as_slice()).map_err(|cause| io_error(&path, cause))?;
        if (bytes.len() as u64, found) != (*size, *checksum) {
            return damaged(path, "another content than the manifest's checksum is of".into());
        }
        Ok(bytes)
    }

    /// Checks that the folder has the files of its list, and no others.
    ///
    /// # Errors
    /// [`Error::Damaged`] with the first difference; [`Error::Io`].
    pub fn check(&self) -> Result<()> {
        self.check_strangers()?;
        for name in self.manifest.files.keys().filter(|name| !name.ends_with('/')) {
            let path = self.path.join(name);
            if path.symlink_metadata().is_err() {
                return damaged(path, "missing".into());
            }
        }
        Ok(())
    }

    /// Checks that the folder has nothing but files of its list, with their content. Some may be missing.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn check_strangers(&self) -> Result<()> {
        if self.manifest.unfinished {
            return damaged(self.path.join(FILE), "the folder was never finished".into());
        }
        for entry in walk(&self.path)? {
            if entry.name == FILE {
                continue;
            }
            let is_emptied = || self.manifest.files.keys().any(|name| name.starts_with(&entry.name));
            if matches!(entry.kind, Kind::EmptyFolder) && is_emptied() {
                continue;
            }
            let Some((size, checksum)) = self.manifest.files.get(&entry.name) else {
                return damaged(entry.path, "not in the manifest".into());
            };
            if !matches!(entry.kind, Kind::File) {
                return damaged(entry.path, "neither a file nor a folder".into());
            }
            let read = File::open(&entry.path).and_then(|file| Ok((file.metadata()?.len(), file)));
            let (found, mut file) = read.map_err(|cause| io_error(&entry.path, cause))?;
            if found != *size {
                return damaged(entry.path, format!("{found} bytes, where the manifest has {size}"));
            }
            let (_, found) = crc32c_of(&mut file).map_err(|cause| io_error(&entry.path, cause))?;
            if found != *checksum {
                let difference = "another content than the manifest's checksum is of";
                return damaged(entry.path, difference.into());
            }
        }
        Ok(())
    }

    /// Removes the files of a folder's list one by one, then the folder if it is empty; returns the entries that are left because
    /// they are not on the list. A folder without a list is left, unless it is empty or holds only an unfinished list.
    ///
    /// # Errors
    /// [`Error::Io`]. The list is removed last, so that a folder of which a part is removed keeps it.
    pub fn remove(path: &Path) -> Result<Vec<PathBuf>> {
        match path.symlink_metadata() {
            Ok(there) if there.is_dir() => {}
            Ok(_) => return Ok(vec![path.into()]),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(cause) => return Err(io_error(path, cause)),
        }
        let is_marked = match Self::open(path) {
            Ok(folder) if folder.manifest.unfinished => folder.remove_all().map(|()| true)?,
            Ok(folder) => folder.remove_listed().map(|()| true)?,
            Err(Error::Damaged { .. }) => false,
            Err(error) => return Err(error),
        };
        let mut left = entries(path)?;
        let own = |entry: &PathBuf| entry.ends_with(FILE) || entry.ends_with(UNFINISHED_FILE);
        if left.iter().all(|entry| own(entry) && (is_marked || entry.ends_with(UNFINISHED_FILE))) {
            left.sort_by_key(|entry| entry.ends_with(FILE));
            left.iter().try_for_each(fs::remove_file).map_err(|cause| io_error(path, cause))?;
            fs::remove_dir(path).map_err(|cause| io_error(path, cause))?;
            return Ok(Vec::new());
        }
        left.retain(|entry| !is_marked || !own(entry));
        Ok(left)
    }

    fn remove_all(&self) -> Result<()> {
        for entry in entries(&self.path)?.into_iter().filter(|entry| !entry.ends_with(FILE)) {
            let is_folder = entry.symlink_metadata().is_ok_and(|there| there.is_dir());
            let removed = if is_folder { fs::remove_dir_all(&entry) } else { fs::remove_file(&entry) };
            removed.map_err(|cause| io_error(&entry, cause))?;
        }
        Ok(())
    }

    fn remove_listed(&self) -> Result<()> {
        let mut folders = BTreeSet::new();
        for name in self.manifest.files.keys() {
            let Some(path) = self.place(name) else { continue };
            let above = path.ancestors().skip(1).take_while(|above| *above != self.path);
            folders.extend(above.map(Path::to_path_buf));
            match path.symlink_metadata() {
                Ok(there) if there.is_file() => {
                    fs::remove_file(&path).map_err(|cause| io_error(&path, cause))?;
                }
                Ok(there) if there.is_dir() && name.ends_with('/') => {
                    folders.insert(path);
                }
                _ => {}
            }
        }
        // Inner folders come after outer ones in the set. A folder that is not empty holds something that is not on the list.
        for folder in folders.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
        Ok(())
    }

    /// The place of a listed name: below the folder, and not through a link. The list may be of a stranger.
    fn place(&self, name: &str) -> Option<PathBuf> {
        let parts: Vec<&str> = name.strip_suffix('/').unwrap_or(name).split('/').collect();
        // On Windows these stand between the names of a path; elsewhere they are characters of a name.
        let separators = if cfg!(windows) { ['\\', ':'].as_slice() } else { &[] };
        let is_plain = |part: &&str| {
            !["", ".", ".."].contains(part) && !part.contains('\0') && !part.contains(separators)
        };
        if !parts.iter().all(is_plain) {
            return None;
        }
        let (last, above) = parts.split_last()?;
        let mut path = self.path.clone();
        for part in above {
            path.push(part);
            if !path.symlink_metadata().is_ok_and(|there| there.is_dir()) {
                return None;
            }
        }
        Some(path.join(last))
    }
}

impl Manifest {
    fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(FILE);
        let bytes = serde_json::to_vec(self).map_err(|cause| io_error(&path, cause.into()))?;
        write_durably(&path, &bytes).map_err(|cause| io_error(&path, cause))
    }
}

/// A file, an empty folder, or something else below a folder.
struct Entry {
    path: PathBuf,
    /// As in the manifest.
    name: String,
    kind: Kind,
}

enum Kind {
    File,
    EmptyFolder,
    /// A link, a device, a socket.
    Other,
}

/// Everything below a folder but folders that are not empty. No link is followed.
fn walk(folder: &Path) -> Result<Vec<Entry>> {
    let (mut found, mut waiting) = (Vec::new(), vec![(folder.to_path_buf(), String::new())]);
    while let Some((within, prefix)) = waiting.pop() {
        let inside = entries(&within)?;
        // The outermost folder has no name in the manifest.
        if inside.is_empty() && !prefix.is_empty() {
            found.push(Entry { path: within, name: prefix, kind: Kind::EmptyFolder });
            continue;
        }
        for path in inside {
            let there = path.symlink_metadata().map_err(|cause| io_error(&path, cause))?;
            let name = format!("{prefix}{}", path.file_name().unwrap_or_default().to_string_lossy());
            if there.is_dir() {
                waiting.push((path, name + "/"));
            } else {
                let kind = if there.is_file() { Kind::File } else { Kind::Other };
                found.push(Entry { path, name, kind });
            }
        }
    }
    Ok(found)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .map_err(|cause| io_error(folder, cause))
}

fn damaged<T>(path: PathBuf, difference: String) -> Result<T> {
    Err(Error::Damaged { path, difference, remedy: String::new() })
}
