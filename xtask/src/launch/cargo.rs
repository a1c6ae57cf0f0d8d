//! Cargo, with the libraries that a backend needs.

use std::{env, process::Command};

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
    // glibc returns large freed blocks to the system, and takes them again page by page for the next tensor; a block that one thread
    // has freed does not serve another, unless they share an arena; and it asks for pages of 4 kB, of which a matrix has thousands.
    let settings = [
        ("MALLOC_MMAP_THRESHOLD_", "4294967296"),
        ("MALLOC_TRIM_THRESHOLD_", "8589934592"),
        ("MALLOC_ARENA_MAX", "1"),
        ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"),
    ];
    for (name, value) in settings {
        if env::var_os(name).is_none() {
            command.env(name, value);
        }
    }
    Ok(command)
}
