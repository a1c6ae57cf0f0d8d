//! The manifest of a directory: all its files with sizes and checksums.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    storage::{crc32c, io_error, sync_directory, version, write_durably},
};

/// The name of the manifest's own file.
const FILE: &str = "manifest.json";
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    version: u32,
    /// Size and CRC-32C by path within the directory, with `/` between the names.
    files: BTreeMap<String, (u64, u32)>,
}

/// Writes the manifest of a directory, and flushes all its files to the disk.
pub(crate) fn seal(directory: &Path) -> Result<()> {
    let mut files = BTreeMap::new();
    for path in walk(directory)? {
        let bytes = fs::read(&path).map_err(|cause| io_error(&path, cause))?;
        File::open(&path)
            .and_then(|file| file.sync_all())
            .and_then(|()| sync_directory(path.parent()))
            .map_err(|cause| io_error(&path, cause))?;
        files.insert(name(directory, &path), (bytes.len() as u64, crc32c(&bytes)));
    }
    let path = directory.join(FILE);
    let bytes = serde_json::to_vec(&Manifest { version: VERSION, files })
        .map_err(|cause| io_error(&path, cause.into()))?;
    write_durably(&path, &bytes).map_err(|cause| io_error(&path, cause))
}

/// Checks that a directory has the files that [`seal`] listed, and no others.
pub(crate) fn check(directory: &Path) -> Result<()> {
    let damaged =
        |path: PathBuf, difference: String| Err(Error::Damaged { path, difference, remedy: String::new() });
    let path = directory.join(FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return damaged(path, "missing".into());
        }
        Err(cause) => return Err(io_error(&path, cause)),
    };
    match version(&bytes) {
        Ok(VERSION) => {}
        Ok(other) => return damaged(path, format!("version {other}, where this program writes {VERSION}")),
        Err(error) => return damaged(path, error.to_string()),
    }
    let manifest: Manifest = match serde_json::from_slice(&bytes) {
        Ok(manifest) => manifest,
        Err(error) => return damaged(path, error.to_string()),
    };
    let found = walk(directory)?;
    for path in &found {
        let name = name(directory, path);
        if name != FILE && !manifest.files.contains_key(&name) {
            return damaged(path.clone(), "not in the manifest".into());
        }
    }
    for (name, (size, checksum)) in &manifest.files {
        let path = name.split('/').fold(directory.to_path_buf(), |path, part| path.join(part));
        if !found.contains(&path) {
            return damaged(path, "missing".into());
        }
        let bytes = fs::read(&path).map_err(|cause| io_error(&path, cause))?;
        if bytes.len() as u64 != *size {
            return damaged(path, format!("{} bytes, where the manifest has {size}", bytes.len()));
        }
        if crc32c(&bytes) != *checksum {
            return damaged(path, "another content than the manifest's checksum is of".into());
        }
    }
    Ok(())
}

/// All files below a directory.
fn walk(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(|cause| io_error(directory, cause))? {
        let path = entry.map_err(|cause| io_error(directory, cause))?.path();
        if path.is_dir() {
            files.extend(walk(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

fn name(directory: &Path, path: &Path) -> String {
    let parts = path.strip_prefix(directory).unwrap_or(path).components();
    parts.map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}
