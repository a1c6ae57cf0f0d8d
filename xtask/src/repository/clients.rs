//! The CI step that lets the official clients of OpenAI's API talk to `serve`, and runs the programs of `docs/from-python.md`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::test_commands::{LANGUAGE_MODELS, tests};
use crate::{
    Backend, Result,
    prerequisites::with_transformers,
    process::{self, workspace_root},
};

/// The packages of the clients.
const PACKAGES: [&str; 2] = ["openai", "lm_eval[api]"];

/// Runs the tests of the clients and of the documented programs with a Python that has what they need, in `target/clients`, beside that of
/// transformers, with which lm-evaluation-harness is compared.
///
/// # Errors
/// [`Error::Failed`](crate::Error::Failed) of the test, or of making that Python; [`Error::Python`](crate::Error::Python).
pub(crate) fn run() -> Result<()> {
    let transformers = with_transformers()?;
    let mut ask = Command::new(&transformers);
    ask.args(["-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]);
    let packages = process::output(ask)?.trim().to_owned();
    let python = made(&transformers, &packages)?;
    let filter = ["--test", "suite", "--", "official_clients", "documented_programs"].map(str::to_owned);
    let mut command = tests(Backend::default(), LANGUAGE_MODELS, &filter)?;
    command.env("DISCO_CLIENTS_PYTHON", python).env("PYTHONPATH", packages);
    process::run(command)
}

/// A Python with the clients, made if there is none. It finds the packages of another as well, which are not installed twice.
fn made(other: &Path, packages: &str) -> Result<PathBuf> {
    let folder = workspace_root().join("target").join("clients");
    let python = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let mut probe = Command::new(&python);
    probe.args(["-c", "import openai, lm_eval"]).env("PYTHONPATH", packages);
    if !probe.output().is_ok_and(|output| output.status.success()) {
        let mut make = Command::new(other);
        make.args(["-m", "venv", "--clear"]).arg(&folder);
        process::run(make)?;
        let mut install = Command::new(&python);
        install.args(["-m", "pip", "install", "--quiet"]).args(PACKAGES).env("PYTHONPATH", packages);
        process::run(install)?;
    }
    Ok(python)
}
