//! The root folder of the workspace, which `cargo xtask` works in and the program `disco` knows nothing of.

use std::{
    env,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

/// Whether this process is the program `disco`.
static IS_INSTALLED: AtomicBool = AtomicBool::new(false);

/// Makes this process the program `disco`, which has no workspace.
pub(crate) fn leave_workspace() {
    IS_INSTALLED.store(true, Ordering::Relaxed);
}

/// The root folder of the workspace; `None` in the program `disco`.
pub(crate) fn workspace() -> Option<PathBuf> {
    (!IS_INSTALLED.load(Ordering::Relaxed)).then(workspace_root)
}

/// The root folder of the workspace, for the tools of the repository: the one that cargo names at run time, else the one that this
/// program was compiled in.
pub fn workspace_root() -> PathBuf {
    let manifest =
        env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    manifest.parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// The folder in the workspace from which the embedded model is compiled into the program; `None` in the program `disco`.
pub(crate) fn model_in_workspace() -> Option<PathBuf> {
    Some(workspace()?.join("models").join("tiny-shakespeare"))
}
