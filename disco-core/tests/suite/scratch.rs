//! Temporary files and folders.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

/// A file or folder that is removed with the value.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn file(name: &str, content: impl AsRef<[u8]>) -> Self {
        let file = Self::place(name);
        fs::write(&file.0, content).unwrap();
        file
    }

    pub(crate) fn folder(name: &str) -> Self {
        let folder = Self::place(name);
        fs::create_dir(&folder.0).unwrap();
        folder
    }

    /// A place of its own: tests run side by side.
    fn place(name: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Self(std::env::temp_dir().join(format!("disco-core-{process}-{count}-{name}")))
    }

    /// Writes a file in the folder.
    pub(crate) fn write(&self, content: &[u8]) -> PathBuf {
        let path = self.0.join("file.txt");
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let removed = if self.0.is_dir() { fs::remove_dir_all(&self.0) } else { fs::remove_file(&self.0) };
        removed.unwrap();
    }
}
