//! Cargo commands that test the workspace.

use std::process::Command;

use crate::{
    Backend, Result,
    launch::cargo_for,
    process::{self, workspace_root},
};

/// All packages, for [`tests`].
pub(super) const WORKSPACE: &[&str] = &["--workspace"];
/// The packages that depend on a language model, for [`tests`].
pub(super) const LANGUAGE_MODELS: &[&str] = &["--package", "disco-lm", "--package", "xtask"];

/// Runs all tests of the workspace.
///
/// # Errors
/// [`Error::Failed`](crate::Error::Failed) if a test fails, and as [`tests`].
pub(crate) fn run(backend: Backend, arguments: &[String]) -> Result<()> {
    process::run(tests(backend, WORKSPACE, arguments)?)
}

/// Cargo, testing some packages with the same units that `cargo xtask demo` builds.
///
/// # Errors
/// As [`cargo_for`].
pub(super) fn tests(backend: Backend, packages: &[&str], arguments: &[String]) -> Result<Command> {
    let mut command = cargo_for(&[backend])?;
    command.arg("test").args(packages).arg("--manifest-path").arg(workspace_root().join("Cargo.toml"));
    command.args(["--features", &format!("xtask/{},xtask/serve", backend.feature())]).args(arguments);
    command.env("DISCO_BACKEND", backend.feature());
    Ok(command)
}

/// Cargo, running the subcommand `what` with disco-lm alone, `backend` and others compiled in, to compute on tiny models only.
/// Without flex, whose matrix products take a minute to compile.
///
/// # Errors
/// As [`cargo_for`].
pub(super) fn disco_lm(backend: Backend, compiled: &[Backend], what: &[&str]) -> Result<Command> {
    let mut command = cargo_for(compiled)?;
    command.args(what).args(["--profile", "backends", "--package", "disco-lm", "--manifest-path"]);
    command.arg(workspace_root().join("Cargo.toml"));
    let features: Vec<_> = compiled.iter().map(|other| other.feature()).chain(["gguf"]).collect();
    command.args(["--no-default-features", "--features", &features.join(",")]);
    command.env("DISCO_BACKEND", backend.feature());
    Ok(command)
}
