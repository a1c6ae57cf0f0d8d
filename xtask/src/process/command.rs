//! Starting commands, and cargo among them.

use std::{env, path::Path, process::Command};

use super::workspace;
use crate::{Error, Result};

/// The cargo that runs this process, or the one on the path, without the variables that describe the package xtask.
///
/// `cargo run` describes the package in variables, and some build scripts ask to be run again when those change: libtorch's
/// bindings, which take minutes, would be built anew whenever cargo is started once by hand and once from here.
pub(crate) fn cargo() -> Command {
    without_package(Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into())))
}

/// A command without the variables that describe the package xtask. It has to be one that starts cargo: see [`cargo`].
pub(crate) fn without_package(mut command: Command) -> Command {
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&*name);
        }
    }
    command
}

/// Runs `command` and waits for it.
///
/// # Errors
/// [`Error::Start`] if it cannot be started, [`Error::Failed`] if it ends with another code than 0.
pub(crate) fn run(mut command: Command) -> Result<()> {
    let shown = show(&command);
    let status = command.status().map_err(|cause| Error::Start { command: shown.clone(), cause })?;
    if status.success() { Ok(()) } else { Err(Error::Failed { command: shown, code: status.code() }) }
}

/// Runs `command`; returns its standard output.
///
/// # Errors
/// [`Error::Start`] if it cannot be started; [`Error::Answer`] if it fails, with its standard error, or prints no UTF-8.
pub(crate) fn output(mut command: Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|cause| Error::Start { command: name.clone(), cause })?;
    if !output.status.success() {
        return Err(Error::answer(&name, String::from_utf8_lossy(&output.stderr).trim()));
    }
    String::from_utf8(output.stdout).map_err(|_| Error::answer(&name, "it printed no UTF-8"))
}

/// Replaces this process by `command`, so that a signal reaches the process that does the work.
///
/// # Errors
/// [`Error::Start`].
#[cfg(unix)]
pub(crate) fn replace(mut command: Command) -> Result<()> {
    use std::os::unix::process::CommandExt;
    let cause = command.exec();
    Err(Error::Start { command: show(&command), cause })
}

/// Runs `command`: processes cannot be replaced here.
///
/// # Errors
/// As [`run`].
#[cfg(not(unix))]
pub(crate) fn replace(command: Command) -> Result<()> {
    run(command)
}

/// The command as it would be typed, without the folders of the machine.
fn show(command: &Command) -> String {
    let program =
        Path::new(command.get_program()).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let root = workspace();
    let inside = |argument| Path::new(argument).strip_prefix(root.as_ref()?).ok();
    let arguments = command.get_args().map(|argument| match inside(argument) {
        Some(relative) => relative.display().to_string(),
        None => argument.to_string_lossy().into_owned(),
    });
    std::iter::once(program).chain(arguments).collect::<Vec<_>>().join(" ")
}
