//! Which Burn backend is asked for, and running cargo again to have it.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Deserialize, Serialize};

use crate::{Error, Result, libtorch::Libtorch};

/// A Burn backend: a Cargo feature of xtask and of disco-lm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Burn's own CPU backend, on all cores.
    #[default]
    Flex,
    /// libtorch 2.9, on CPU or CUDA.
    Tch,
    /// Any GPU through WebGPU, or a software Vulkan driver.
    Wgpu,
    /// The same through Vulkan alone.
    Vulkan,
    /// Nvidia GPUs.
    Cuda,
}

impl Backend {
    /// The name of the Cargo feature.
    pub fn feature(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Tch => "tch",
            Self::Wgpu => "wgpu",
            Self::Vulkan => "vulkan",
            Self::Cuda => "cuda",
        }
    }

    /// Whether this binary was compiled with it.
    pub fn is_compiled(self) -> bool {
        match self {
            Self::Flex => cfg!(feature = "flex"),
            Self::Tch => cfg!(feature = "tch"),
            Self::Wgpu => cfg!(feature = "wgpu"),
            Self::Vulkan => cfg!(feature = "vulkan"),
            Self::Cuda => cfg!(feature = "cuda"),
        }
    }

    /// Where this backend computes.
    #[cfg(feature = "lm")]
    pub(crate) fn device(self) -> Result<disco_lm::Device> {
        Ok(self.feature().parse::<disco_lm::Backend>()?.device()?)
    }
}

/// The folder of the workspace: known at run time under cargo, else the one it was compiled in.
pub fn workspace_root() -> PathBuf {
    let manifest =
        env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    manifest.parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// The cargo that runs this process, or the one on the path; without what that one says of xtask.
///
/// `cargo run` describes the package in variables, and some build scripts ask to be run again when those change: libtorch's
/// bindings, which take minutes, would be built anew whenever cargo is started once by hand and once from here.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&*name);
        }
    }
    command
}

/// Cargo, with these backends compiled in: what it builds and what it then runs find the libraries that they need.
///
/// All backends share a target folder. Cargo keeps a crate's builds with different features apart, so that going back and
/// forth rebuilds nothing, and what has nothing to do with the backend is built once.
///
/// # Errors
/// [`Error::Libtorch`] if a library is missing.
fn cargo_for(compiled: &[Backend]) -> Result<Command> {
    let mut command = cargo();
    if compiled.contains(&Backend::Tch) {
        Libtorch::find()?.apply(&mut command);
    }
    Ok(command)
}

/// The feature that a hub takes, unless it is one that speaks no TLS.
fn hub_feature(asks_a_hub: bool) -> Option<&'static str> {
    let is_plain = env::var("HF_ENDPOINT").is_ok_and(|endpoint| endpoint.starts_with("http://"));
    (asks_a_hub && !is_plain).then_some("hub")
}

/// The Cargo features of xtask that take `backend`, and a hub if one may be asked.
fn features(backend: Backend, asks_a_hub: bool) -> Vec<&'static str> {
    [backend.feature()].into_iter().chain(hub_feature(asks_a_hub)).collect()
}

/// Whether this binary can do what takes `backend`, and a hub if one may be asked.
pub(crate) fn is_compiled(backend: Backend, asks_a_hub: bool) -> bool {
    backend.is_compiled() && (cfg!(feature = "hub") || hub_feature(asks_a_hub).is_none())
}

/// Cargo, building and running xtask with `backend`, and with what a hub takes if one may be asked; the arguments of xtask are
/// to be added.
///
/// # Errors
/// As [`cargo_for`].
pub(crate) fn launch(backend: Backend, asks_a_hub: bool) -> Result<Command> {
    let mut command = cargo_for(&[backend])?;
    command.args(["run", "--package", "xtask", "--manifest-path"]).arg(workspace_root().join("Cargo.toml"));
    command.args(["--features", &features(backend, asks_a_hub).join(","), "--"]);
    // glibc returns large freed blocks to the system, and takes them again page by page for the next tensor; what one thread has
    // freed does not serve another, unless they share an arena; and it asks for pages of 4 kB, of which a matrix has thousands.
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

/// As [`launch`], with the same arguments as this process. Says so: it may be minutes until the next word.
///
/// # Errors
/// As [`launch`].
pub(crate) fn relaunch(backend: Backend, asks_a_hub: bool) -> Result<Command> {
    let mut command = launch(backend, asks_a_hub)?;
    command.args(env::args_os().skip(1));
    let features = features(backend, asks_a_hub).join(" and ");
    eprintln!("{:<16} xtask with {features}: minutes the first time, seconds from then on", "build");
    Ok(command)
}

/// All packages, for [`tests`].
pub(crate) const WORKSPACE: &[&str] = &["--workspace"];
/// Those that know language models.
pub(crate) const LANGUAGE_MODELS: &[&str] = &["--package", "disco-lm", "--package", "xtask"];

/// Cargo, testing some packages with the units that [`relaunch`] builds too.
///
/// # Errors
/// As [`launch`].
pub(crate) fn tests(backend: Backend, packages: &[&str], arguments: &[String]) -> Result<Command> {
    let mut command = cargo_for(&[backend])?;
    command.arg("test").args(packages).arg("--manifest-path").arg(workspace_root().join("Cargo.toml"));
    command.args(["--features", &format!("xtask/{}", backend.feature())]).args(arguments);
    command.env("DISCO_BACKEND", backend.feature());
    Ok(command)
}

/// Cargo, doing `what` with disco-lm alone, `backend` and others compiled in, to compute on tiny models only. Without flex,
/// whose matrix products take a minute to compile.
///
/// # Errors
/// As [`launch`].
pub(crate) fn disco_lm(backend: Backend, compiled: &[Backend], what: &[&str]) -> Result<Command> {
    let mut command = cargo_for(compiled)?;
    command.args(what).args(["--profile", "backends", "--package", "disco-lm", "--manifest-path"]);
    command.arg(workspace_root().join("Cargo.toml"));
    let features: Vec<_> = compiled.iter().map(|other| other.feature()).chain(["gguf"]).collect();
    command.args(["--no-default-features", "--features", &features.join(",")]);
    command.env("DISCO_BACKEND", backend.feature());
    Ok(command)
}

/// Runs `command` and waits for it.
///
/// # Errors
/// [`Error::Start`] if it cannot be started, [`Error::Failed`] if it ends with another code than 0.
pub(crate) fn run(mut command: Command) -> Result<()> {
    let shown = show(&command);
    let status = command.status().map_err(|source| Error::Start { command: shown.clone(), source })?;
    if status.success() { Ok(()) } else { Err(Error::Failed { command: shown, code: status.code() }) }
}

/// Lets `command` take the place of this process, so that a signal reaches what does the work.
///
/// # Errors
/// [`Error::Start`].
#[cfg(unix)]
pub(crate) fn replace(mut command: Command) -> Result<()> {
    use std::os::unix::process::CommandExt;
    let source = command.exec();
    Err(Error::Start { command: show(&command), source })
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
    let root = workspace_root();
    let arguments = command.get_args().map(|argument| match Path::new(argument).strip_prefix(&root) {
        Ok(relative) => relative.display().to_string(),
        Err(_) => argument.to_string_lossy().into_owned(),
    });
    std::iter::once(program).chain(arguments).collect::<Vec<_>>().join(" ")
}
