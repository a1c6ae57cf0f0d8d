//! Files of the repository that travel inside of the program: the embedded model, the example run files, the Python module for scorers.

mod cache;
mod files;

pub(crate) use cache::cache_folder;
pub(crate) use files::{EmbeddedFile, SCORERS, SPECS};

use std::path::PathBuf;

use crate::Result;

/// The folder with the embedded model.
///
/// # Errors
/// As [`cache::unpacked`].
#[cfg(feature = "lm")]
pub(crate) fn embedded_model() -> Result<PathBuf> {
    cache::unpacked("model", &files::MODEL)
}

/// The folder in which Python finds `disco_scorer.py`.
///
/// # Errors
/// As [`cache::unpacked`].
pub(crate) fn python_modules() -> Result<PathBuf> {
    cache::unpacked("scorers", &SCORERS)
}
