//! Files that are either whole or not there.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

/// Writes a file under a temporary name, flushes it to the disk, and renames it into place: a reader sees
/// the old content or the new one, never a part.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    let partial = path.with_file_name(name);
    let mut file = File::create(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    sync_folder(path.parent())
}

/// Makes a folder, and those above it, where there is none.
pub(crate) fn make_folder(path: &Path) -> crate::Result<()> {
    fs::create_dir_all(path).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => {
            io_error(path, io::Error::new(io::ErrorKind::NotADirectory, "a file, where a folder is wanted"))
        }
        _ => io_error(path, source),
    })
}

/// Makes renames within a folder durable. Only Unix lets a folder be opened and synchronised.
pub(crate) fn sync_folder(folder: Option<&Path>) -> io::Result<()> {
    match folder {
        Some(folder) if cfg!(unix) && !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

/// The version that a JSON file says it is of, whatever else is in it: another version may have other fields.
pub(crate) fn version(bytes: &[u8]) -> serde_json::Result<u32> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        version: u32,
    }
    serde_json::from_slice::<Versioned>(bytes).map(|found| found.version)
}

pub(crate) fn io_error(path: &Path, source: io::Error) -> crate::Error {
    crate::Error::Io { path: path.to_path_buf(), source }
}
