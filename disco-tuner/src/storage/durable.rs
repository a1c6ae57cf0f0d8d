//! Files that are either whole or not there.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

/// Writes a file under a temporary name, flushes it to the disk, and renames it into place. A reader sees the old
/// content or the new one, never a part of it.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    let partial = path.with_file_name(name);
    // A process that died may have left it. A link in its place is removed, not followed.
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::create_new(&partial)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if let Err(error) = written.and_then(|()| fs::rename(&partial, path)) {
        // The first error is the one to report.
        let _ = fs::remove_file(&partial);
        return Err(error);
    }
    sync_directory(path.parent())
}

/// Makes a directory and its parents where they do not exist.
pub(crate) fn make_directory(path: &Path) -> crate::error::Result<()> {
    fs::create_dir_all(path).map_err(|cause| match cause.kind() {
        io::ErrorKind::AlreadyExists => io_error(
            path,
            io::Error::new(io::ErrorKind::NotADirectory, "a file, where a directory is wanted"),
        ),
        _ => io_error(path, cause),
    })
}

/// Makes renames within a directory durable. Only Unix lets a directory be opened and synchronised.
pub(crate) fn sync_directory(directory: Option<&Path>) -> io::Result<()> {
    match directory {
        Some(directory) if cfg!(unix) && !directory.as_os_str().is_empty() => {
            File::open(directory)?.sync_all()
        }
        _ => Ok(()),
    }
}

/// The version number in a JSON file. Other fields are ignored: another version may have others.
pub(crate) fn version(bytes: &[u8]) -> serde_json::Result<u32> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        version: u32,
    }
    serde_json::from_slice::<Versioned>(bytes).map(|found| found.version)
}

pub(crate) fn io_error(path: &Path, cause: io::Error) -> crate::error::Error {
    crate::error::Error::Io { path: path.to_path_buf(), cause }
}
