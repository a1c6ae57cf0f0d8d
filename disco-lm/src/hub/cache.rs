//! The cache of downloaded files, in the layout of Python's huggingface_hub (its guide "Understand caching"):
//!
//! ```text
//! models--ORG--NAME/refs/main                  the commit of the revision `main`
//! models--ORG--NAME/blobs/ETAG                 a file's content
//! models--ORG--NAME/snapshots/COMMIT/FILE      a link to it
//! models--ORG--NAME/.no_exist/COMMIT/FILE      says that this commit has no such file
//! .locks/models--ORG--NAME/ETAG.lock           locked by the process that downloads the content
//! ```

use std::{
    fs::{self, File},
    io::{ErrorKind, Read, Write},
    path::{Path, PathBuf},
};

use disco_core::input;

use crate::{
    Error, Result,
    hub::{
        content::unsound,
        model::{HubModel, is_name},
        own_file::{open_own, temporary},
    },
};

/// The most bytes of a reference that are read: more than any commit has.
const REFERENCE: u64 = 4096;

/// The cache of one model.
pub(crate) struct Cache {
    folder: PathBuf,
    locks: PathBuf,
}

impl Cache {
    pub(crate) fn new(root: &Path, model: &HubModel) -> Self {
        let name = format!("models--{}", model.repository().replace('/', "--"));
        Self { locks: root.join(".locks").join(&name), folder: root.join(name) }
    }

    /// The commit of a revision, if the cache has it.
    pub(crate) fn commit(&self, revision: &str) -> Result<Option<String>> {
        // A revision that is a commit needs no reference.
        if self.snapshot(revision).is_dir() {
            return Ok(Some(revision.into()));
        }
        let path = self.reference(revision);
        let read = input::open_regular(&path).and_then(|file| {
            let mut commit = String::new();
            file.take(REFERENCE).read_to_string(&mut commit)?;
            Ok(commit)
        });
        match read {
            Ok(commit) if is_name(commit.trim()) => Ok(Some(commit.trim().into())),
            // The file is truncated, or something else: the hub can be asked again.
            Ok(_) => Ok(None),
            Err(error) if error.kind() == ErrorKind::InvalidData => Ok(None),
            Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => Ok(None),
            Err(source) => Err(Error::io(&path, source)),
        }
    }

    /// Stores the commit of a revision.
    pub(crate) fn refer(&self, revision: &str, commit: &str) -> Result<()> {
        if revision == commit {
            return Ok(());
        }
        let path = self.reference(revision);
        let folder = path.parent().unwrap_or(&self.folder);
        let written = fs::create_dir_all(folder).and_then(|()| temporary(folder));
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

    /// The path of a content.
    pub(crate) fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    /// The path of a content while it is downloaded. Other programs use other names, since they may leave gaps in theirs.
    pub(crate) fn partial(&self, etag: &str) -> Result<PathBuf> {
        let folder = self.folder.join("blobs");
        fs::create_dir_all(&folder).map_err(|source| Error::io(&folder, source))?;
        Ok(folder.join(format!("{etag}.disco-partial")))
    }

    /// Whether the cache knows that a commit has this file, or that it does not have it.
    pub(crate) fn is_settled(&self, commit: &str, name: &str) -> bool {
        self.has(commit, name) || self.absence(commit, name).exists()
    }

    /// Whether the snapshot of a commit has a file that can be the one that its name says.
    pub(crate) fn has(&self, commit: &str, name: &str) -> bool {
        let path = self.snapshot(commit).join(name);
        path.exists() && unsound(&path, name).is_none()
    }

    /// Stores that a commit has no such file.
    pub(crate) fn settle_absent(&self, commit: &str, name: &str) -> Result<()> {
        let path = self.absence(commit, name);
        let made = fs::create_dir_all(path.parent().unwrap_or(&self.folder)).and_then(|()| open_own(&path));
        made.map(drop).map_err(|source| Error::io(&path, source))
    }

    fn absence(&self, commit: &str, name: &str) -> PathBuf {
        self.folder.join(".no_exist").join(commit).join(name)
    }

    /// Waits for the lock of a content, and holds it as long as the returned file is open.
    pub(crate) fn lock(&self, etag: &str) -> Result<File> {
        let path = self.locks.join(format!("{etag}.lock"));
        let opened = fs::create_dir_all(&self.locks).and_then(|()| open_own(&path));
        let locked = opened.and_then(|file| match file.lock() {
            // Some network file systems have no locks; at worst a content is then downloaded twice.
            Err(error) if error.kind() != ErrorKind::Unsupported => Err(error),
            _ => Ok(file),
        });
        locked.map_err(|source| Error::io(&path, source))
    }

    /// Links a content into the snapshot of a commit, under the name of a file. What has the name already is replaced.
    pub(crate) fn link(&self, commit: &str, name: &str, etag: &str) -> Result<()> {
        let folder = self.snapshot(commit);
        let path = folder.join(name);
        let failed = |source| Error::io(&path, source);
        fs::create_dir_all(&folder).map_err(|source| Error::io(&folder, source))?;
        let content = PathBuf::from_iter(["..", "..", "blobs", etag]);
        if fs::read_link(&path).is_ok_and(|there| there == content) {
            return Ok(());
        }
        if path.symlink_metadata().is_ok() {
            fs::remove_file(&path).map_err(failed)?;
        }
        match link(&content, &path) {
            // Another process was faster.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Ok(()) => Ok(()),
            // Windows allows links only to some users, and some file systems have none: then the content is copied.
            Err(_) => self.copy(etag, &folder, &path),
        }
    }

    fn copy(&self, etag: &str, folder: &Path, path: &Path) -> Result<()> {
        let copied = temporary(folder).and_then(|mut file| {
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
