//! Which Burn backend is asked for, and running cargo again to have it.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Serialize;

use crate::{Error, Result};

/// A Burn backend: a Cargo feature of xtask and of disco-lm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Burn's own CPU backend, on all cores.
    #[default]
    Flex,
    /// libtorch 2.9, on CPU or CUDA.
    Tch,
    /// Any GPU through WebGPU, or a software Vulkan driver.
    Wgpu,
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
            Self::Cuda => "cuda",
        }
    }

    /// Whether this binary was compiled with it.
    pub fn is_compiled(self) -> bool {
        match self {
            Self::Flex => cfg!(feature = "flex"),
            Self::Tch => cfg!(feature = "tch"),
            Self::Wgpu => cfg!(feature = "wgpu"),
            Self::Cuda => cfg!(feature = "cuda"),
        }
    }

    /// Where this backend computes.
    #[cfg(feature = "lm")]
    pub(crate) fn device(self) -> Result<disco_lm::Device> {
        Ok(self.feature().parse::<disco_lm::Backend>()?.device()?)
    }

    /// The arguments that make cargo build with this backend. One that is not the default has a target
    /// folder of its own, so that going back and forth rebuilds nothing.
    fn build_arguments(self, feature: &str) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec![
            "--manifest-path".into(),
            workspace_root().join("Cargo.toml").into(),
            "--features".into(),
            feature.into(),
        ];
        if self != Self::default() {
            arguments
                .extend(["--target-dir".into(), workspace_root().join("target").join(self.feature()).into()]);
        }
        arguments
    }
}

/// The folder of the workspace: known at run time under cargo, else the one it was compiled in.
pub fn workspace_root() -> PathBuf {
    let manifest =
        env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    manifest.parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// The cargo that runs this process, or the one on the path.
pub(crate) fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Cargo, building and running xtask with `backend`; the arguments of xtask are to be added.
pub(crate) fn launch(backend: Backend) -> Command {
    let mut command = cargo();
    command.args(["run", "--package", "xtask"]).args(backend.build_arguments(backend.feature())).arg("--");
    command
}

/// As [`launch`], with the same arguments as this process.
pub(crate) fn relaunch(backend: Backend) -> Command {
    let mut command = launch(backend);
    command.args(env::args_os().skip(1));
    command
}

/// Cargo, testing the whole workspace with the units that [`relaunch`] builds too.
pub(crate) fn workspace_tests(backend: Backend, arguments: &[String]) -> Command {
    let mut command = cargo();
    command.args(["test", "--workspace"]);
    command.args(backend.build_arguments(&format!("xtask/{}", backend.feature()))).args(arguments);
    command
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
