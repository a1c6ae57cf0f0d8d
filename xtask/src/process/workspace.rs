//! The root folder of the workspace.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The root folder of the workspace: the one that cargo names at run time, else the one that this program was compiled in.
pub fn workspace_root() -> PathBuf {
    let manifest =
        env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    manifest.parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// The folder of the model in this repository.
pub(crate) fn embedded_model() -> PathBuf {
    workspace_root().join("models").join("tiny-shakespeare")
}
