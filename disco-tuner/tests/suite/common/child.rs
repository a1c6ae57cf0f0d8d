//! A test as a process of its own, to be stopped from outside.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

/// Starts the test `name`, which finds `folder` in the environment under `variable`.
pub(crate) fn start(name: &str, variable: &str, folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env(variable, folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
