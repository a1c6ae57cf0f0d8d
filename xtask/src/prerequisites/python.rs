//! The Python environment that xtask makes for itself, for the peer of a benchmark, libtorch, and reference models.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    Error, Result,
    process::{self, workspace, workspace_root},
    terminal::say,
};

/// The packages that are installed, in versions that were tried together. The `tch` backend needs this version of torch too.
const PACKAGES: [&str; 10] = [
    "torch==2.9.0",
    "transformers==5.23.0",
    "peft==0.21.2",
    "jsonschema==4.26.0",
    "accelerate",
    "gguf",
    "jinja2",
    "numpy",
    "protobuf",
    "sentencepiece",
];

/// The file that lists the installed packages, so that an interrupted or outdated installation is noticed.
const INSTALLED: &str = "disco-packages.txt";

/// A Python with torch and transformers: the one that `DISCO_HF_PYTHON` names, or the one of the environment in
/// `target/python`, which is made if it is missing (7 GB; minutes).
///
/// # Errors
/// [`Error::Python`] with the requirement that is missing.
pub(crate) fn with_transformers() -> Result<PathBuf> {
    if let Some(python) = env::var_os("DISCO_HF_PYTHON") {
        return Ok(python.into());
    }
    let (folder, python) = (folder(), program(&folder()));
    let wanted = PACKAGES.join("\n");
    if fs::read_to_string(folder.join(INSTALLED)).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    say("making a Python environment in target/python, with torch and transformers (7 GB)");
    let mut make = Command::new("python3");
    make.args(["-m", "venv"]).arg(&folder);
    step(make, "Python 3 with its module venv is needed (Debian: python3-venv)")?;
    let mut install = Command::new(&python);
    install
        .args(["-m", "pip", "install", "--quiet", "--no-cache-dir", "--disable-pip-version-check"])
        .args(PACKAGES);
    step(install, "pip could not install torch and transformers")?;
    let path = folder.join(INSTALLED);
    fs::write(&path, wanted).map_err(|source| Error::write(&path, source))?;
    Ok(python)
}

/// The Pythons of this machine, in the order of search: of the active environments, of xtask's own environment, of the system.
pub(super) fn candidates() -> Vec<PathBuf> {
    let active = ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(env::var_os);
    let mut pythons: Vec<PathBuf> = active.map(|folder| program(Path::new(&folder))).collect();
    let own = workspace().map(|_| program(&folder()));
    pythons.extend(own.filter(|python| python.exists()));
    pythons.push("python3".into());
    pythons
}

fn folder() -> PathBuf {
    workspace_root().join("target").join("python")
}

/// The interpreter of an environment.
fn program(environment: &Path) -> PathBuf {
    environment.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" })
}

/// Runs a command of Python.
///
/// # Errors
/// [`Error::Python`] with the requirement `needed`.
pub(super) fn step(command: Command, needed: &'static str) -> Result<()> {
    process::run(command).map_err(|cause| Error::Python { needed, cause: Box::new(cause) })
}
