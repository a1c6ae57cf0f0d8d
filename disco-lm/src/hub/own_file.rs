//! Files of the cache that are written in place: opened without following a link that somebody has put in their place.

use std::{
    fs::{self, File, Metadata},
    io::{self, ErrorKind},
    path::Path,
};

/// The number of further attempts to open a file that other processes create or remove at the same time.
const ATTEMPTS: usize = 10;

/// Opens a file for reading and writing, or creates it. A link, a named pipe or another thing of that name is removed first,
/// and so is a second name of a file that has another name elsewhere.
///
/// # Errors
/// As [`File::open`]; for a directory of that name.
pub(crate) fn open_own(path: &Path) -> io::Result<File> {
    let mut opened = try_open(path);
    for _ in 0..ATTEMPTS {
        match &opened {
            // Another process was faster in creating or removing it.
            Err(error) if [ErrorKind::AlreadyExists, ErrorKind::NotFound].contains(&error.kind()) => {
                opened = try_open(path);
            }
            _ => break,
        }
    }
    opened
}

fn try_open(path: &Path) -> io::Result<File> {
    match fs::symlink_metadata(path) {
        Ok(found) if is_own(&found) => {
            let file = File::options().read(true).write(true).open(path)?;
            // Something else can have taken the name after the first look. Nothing has been written to it.
            let opened = file.metadata()?;
            if is_own(&opened) && is_same(&found, &opened) {
                return Ok(file);
            }
            return Err(io::Error::new(
                ErrorKind::ResourceBusy,
                "another file took its place while it was opened",
            ));
        }
        Ok(found) if found.is_dir() => {
            return Err(io::Error::new(
                ErrorKind::IsADirectory,
                "it is a directory; allowed: a regular file",
            ));
        }
        Ok(_) => fs::remove_file(path)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    File::options().read(true).write(true).create_new(true).open(path)
}

#[cfg(unix)]
fn is_own(found: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    found.is_file() && found.nlink() == 1
}

#[cfg(not(unix))]
fn is_own(found: &Metadata) -> bool {
    found.is_file()
}

#[cfg(unix)]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn is_same(_one: &Metadata, _other: &Metadata) -> bool {
    true
}

/// A temporary file in `folder`, to be renamed. Unlike tempfile's default, others may read it if the umask allows it.
pub(crate) fn temporary(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

#[cfg(all(test, unix))]
mod tests {
    use std::{io::Write, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn what_stands_under_the_name_is_not_written_to_unless_it_is_a_file_of_ours() {
        let place = tempfile::tempdir().unwrap();
        let [victim, path] = ["victim", "partial"].map(|name| place.path().join(name));
        fs::write(&victim, "kept").unwrap();
        let plants: [&dyn Fn(); 3] =
            [&|| symlink(&victim, &path).unwrap(), &|| fs::hard_link(&victim, &path).unwrap(), &|| {
                symlink(place.path().join("nowhere"), &path).unwrap()
            }];
        for plant in plants {
            plant();
            open_own(&path).unwrap().write_all(b"received").unwrap();
            assert_eq!(fs::read_to_string(&victim).unwrap(), "kept");
            assert!(path.symlink_metadata().unwrap().is_file());
            assert_eq!(fs::read_to_string(&path).unwrap(), "received");
            // A file of ours is opened as it is.
            assert_eq!(open_own(&path).unwrap().metadata().unwrap().len(), 8);
            fs::remove_file(&path).unwrap();
        }
        assert!(!place.path().join("nowhere").exists());
        let pipe = std::process::Command::new("mkfifo").arg(&path).status();
        if pipe.is_ok_and(|status| status.success()) {
            open_own(&path).unwrap().write_all(b"received").unwrap();
            assert!(path.symlink_metadata().unwrap().is_file());
        }
        assert!(open_own(place.path()).unwrap_err().to_string().contains("a directory"));
    }

    #[test]
    fn others_may_read_what_the_umask_lets_them_read() {
        use std::os::unix::fs::PermissionsExt;
        let place = tempfile::tempdir().unwrap();
        let plain = place.path().join("plain");
        fs::write(&plain, "").unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(temporary(place.path()).unwrap().path()), mode(&plain));
        assert_eq!(
            mode(&{
                open_own(&place.path().join("own")).unwrap();
                place.path().join("own")
            }),
            mode(&plain)
        );
    }
}
