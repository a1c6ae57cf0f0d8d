//! The cache of a model, in the layout of Python's huggingface_hub (its guide "Understand caching"):
//!
//! ```text
//! models--ORG--NAME/refs/main                  the commit that `main` is
//! models--ORG--NAME/blobs/ETAG                 a file's content
//! models--ORG--NAME/snapshots/COMMIT/FILE      a link to it
//! models--ORG--NAME/.no_exist/COMMIT/FILE      says that this commit has no such file
//! .locks/models--ORG--NAME/ETAG.lock           held by who is fetching it
//! ```

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use crate::{
    Error, Result,
    hub::model::{HubModel, is_name},
};

/// The part of the cache that is one model's.
pub(crate) struct Cache {
    folder: PathBuf,
    locks: PathBuf,
}

impl Cache {
    pub(crate) fn new(root: &Path, model: &HubModel) -> Self {
        let name = format!("models--{}", model.repository().replace('/', "--"));
        Self { locks: root.join(".locks").join(&name), folder: root.join(name) }
    }

    /// The commit that a revision is known to be.
    pub(crate) fn commit(&self, revision: &str) -> Result<Option<String>> {
        // Whoever asks for a commit needs no reference to it.
        if self.snapshot(revision).is_dir() {
            return Ok(Some(revision.into()));
        }
        let path = self.reference(revision);
        match fs::read_to_string(&path) {
            Ok(commit) if is_name(commit.trim()) => Ok(Some(commit.trim().into())),
            // Cut short: it can be asked for again.
            Ok(_) => Ok(None),
            Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => Ok(None),
            Err(source) => Err(Error::io(&path, source)),
        }
    }

    /// Notes which commit a revision is.
    pub(crate) fn refer(&self, revision: &str, commit: &str) -> Result<()> {
        if revision == commit {
            return Ok(());
        }
        let path = self.reference(revision);
        let folder = path.parent().unwrap_or(&self.folder);
        let written = fs::create_dir_all(folder).and_then(|()| tempfile::NamedTempFile::new_in(folder));
        let written = written.and_then(|mut file| {
            file.write_all(commit.as_bytes())?;
            file.persist(&path).map_err(|error| error.error)
        });
        written.map(drop).map_err(|source| Error::io(&path, source))
    }

    fn reference(&self, revision: &str) -> PathBuf {
        self.folder.join("refs").join(revision)
    }

    /// The folder with the files of a commit.
    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// Where a content is.
    pub(crate) fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    /// Where a content grows. The name is our own: other programs may leave gaps in theirs.
    pub(crate) fn partial(&self, etag: &str) -> Result<PathBuf> {
        let folder = self.folder.join("blobs");
        fs::create_dir_all(&folder).map_err(|source| Error::io(&folder, source))?;
        Ok(folder.join(format!("{etag}.disco-partial")))
    }

    /// Whether it is known that a commit has this file, or that it has not.
    pub(crate) fn is_settled(&self, commit: &str, name: &str) -> bool {
        self.snapshot(commit).join(name).exists() || self.absence(commit, name).exists()
    }

    /// Notes that a commit has no such file.
    pub(crate) fn settle_absent(&self, commit: &str, name: &str) -> Result<()> {
        let path = self.absence(commit, name);
        let made =
            fs::create_dir_all(path.parent().unwrap_or(&self.folder)).and_then(|()| File::create(&path));
        made.map(drop).map_err(|source| Error::io(&path, source))
    }

    fn absence(&self, commit: &str, name: &str) -> PathBuf {
        self.folder.join(".no_exist").join(commit).join(name)
    }

    /// Waits for the right to write a content, and holds it as long as the file is open.
    pub(crate) fn lock(&self, etag: &str) -> Result<File> {
        let path = self.locks.join(format!("{etag}.lock"));
        let opened = fs::create_dir_all(&self.locks)
            .and_then(|()| File::options().create(true).truncate(false).write(true).open(&path));
        let locked = opened.and_then(|file| match file.lock() {
            // Some network file systems have no locks; a content is then fetched twice at worst.
            Err(error) if error.kind() != ErrorKind::Unsupported => Err(error),
            _ => Ok(file),
        });
        locked.map_err(|source| Error::io(&path, source))
    }

    /// Makes a content a file of a commit.
    pub(crate) fn link(&self, commit: &str, name: &str, etag: &str) -> Result<()> {
        let folder = self.snapshot(commit);
        let path = folder.join(name);
        fs::create_dir_all(&folder).map_err(|source| Error::io(&folder, source))?;
        // A link to a content that somebody has removed is in the way.
        if path.is_symlink() && !path.exists() {
            fs::remove_file(&path).map_err(|source| Error::io(&path, source))?;
        }
        match link(&PathBuf::from_iter(["..", "..", "blobs", etag]), &path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Ok(()) => Ok(()),
            // Windows allows links to some users only, some file systems to nobody: then the content is copied.
            Err(_) => self.copy(etag, &folder, &path),
        }
    }

    fn copy(&self, etag: &str, folder: &Path, path: &Path) -> Result<()> {
        let copied = tempfile::NamedTempFile::new_in(folder).and_then(|mut file| {
            std::io::copy(&mut File::open(self.blob(etag))?, &mut file)?;
            file.persist(path).map_err(|error| error.error)
        });
        copied.map(drop).map_err(|source| Error::io(path, source))
    }
}

#[cfg(unix)]
fn link(content: &Path, path: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(content, path)
}

#[cfg(windows)]
fn link(content: &Path, path: &Path) -> std::io::Result<()> {
    std::os::windows::fs::symlink_file(content, path)
}
