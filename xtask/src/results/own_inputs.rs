//! Results never replace what they are made of.

use std::{
    fs,
    path::{Path, PathBuf},
};

use disco_tuner::SealedFolder;

use super::resolve;
use crate::{Error, Result};

/// Refuses a place of results that is, holds, or lies in one of the files and folders that they are made of.
///
/// # Errors
/// [`Error::Place`].
pub(crate) fn keep_inputs<'i>(out: &Path, inputs: impl IntoIterator<Item = &'i PathBuf>) -> Result<()> {
    let place = resolve(out)?;
    for input in inputs {
        // An input that is not there has an error of its own.
        let Ok(found) = fs::canonicalize(input) else { continue };
        if found.starts_with(&place) || place.starts_with(&found) {
            let reason = format!(
                "{} is read for them, and would be replaced; name a place apart from it",
                input.display()
            );
            return Err(Error::Place { path: out.into(), reason });
        }
    }
    Ok(())
}

/// As [`keep_inputs`], for a file, which may not be in a folder of results either.
///
/// # Errors
/// [`Error::Place`].
pub(crate) fn keep_file_apart<'i>(out: &Path, inputs: impl IntoIterator<Item = &'i PathBuf>) -> Result<()> {
    let parent = out.parent().unwrap_or(Path::new(""));
    if SealedFolder::open(if parent == Path::new("") { Path::new(".") } else { parent }).is_ok() {
        let reason = "its folder lists all its files with their checksums; name a place outside of it".into();
        return Err(Error::Place { path: out.into(), reason });
    }
    keep_inputs(out, inputs)
}
