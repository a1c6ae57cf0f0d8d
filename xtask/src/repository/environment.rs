//! Python environments for steps of CI.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Result, process};

/// The interpreter of a Python environment in `folder`, which is made if it is not there or cannot import `modules`; then `packages`
/// are installed from PyPI.
///
/// # Errors
/// [`Error::Start`](crate::Error::Start) and [`Error::Failed`](crate::Error::Failed) of `python3`, its `venv` and `pip`.
pub(super) fn environment(folder: &Path, modules: &str, packages: &[&str]) -> Result<PathBuf> {
    let python = interpreter(folder);
    let mut import = Command::new(&python);
    import.args(["-c", &format!("import {modules}")]);
    if import.output().is_ok_and(|output| output.status.success()) {
        return Ok(python);
    }
    let mut make = Command::new(if cfg!(windows) { "python" } else { "python3" });
    make.args(["-m", "venv", "--clear"]).arg(folder);
    process::run(make)?;
    if !packages.is_empty() {
        let mut install = Command::new(&python);
        install.args(["-m", "pip", "install", "--quiet"]).args(packages);
        process::run(install)?;
    }
    Ok(python)
}

/// The interpreter of a virtual environment.
fn interpreter(folder: &Path) -> PathBuf {
    if cfg!(windows) { folder.join("Scripts").join("python.exe") } else { folder.join("bin").join("python") }
}
