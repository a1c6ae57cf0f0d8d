//! Cargo, with the libraries that a backend needs.

use std::process::Command;

use super::allocator;
use crate::{
    Backend, Result,
    prerequisites::Libtorch,
    process::{cargo, workspace_root},
};

/// Cargo, for builds with these backends: the build and the built program find the libraries that they need.
///
/// All backends share a target folder. Cargo keeps a crate's builds with different features apart, so that switching between
/// backends rebuilds nothing, and a crate that does not depend on the backend is built once.
///
/// # Errors
/// [`Error::Libtorch`](crate::Error::Libtorch) if a library is missing.
pub(crate) fn cargo_for(compiled: &[Backend]) -> Result<Command> {
    let mut command = cargo();
    if compiled.contains(&Backend::Tch) {
        Libtorch::find()?.apply(&mut command);
    }
    Ok(command)
}

/// Cargo, building and running xtask with `backend` and these Cargo features; the caller adds the arguments of xtask.
///
/// # Errors
/// As [`cargo_for`].
pub(crate) fn run_xtask(backend: Backend, features: &[&str]) -> Result<Command> {
    let mut command = cargo_for(&[backend])?;
    command.args(["run", "--package", "xtask", "--manifest-path"]).arg(workspace_root().join("Cargo.toml"));
    command.args(["--features", &features.join(","), "--"]);
    command.envs(allocator::unset());
    Ok(command)
}
