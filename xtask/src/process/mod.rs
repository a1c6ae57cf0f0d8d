//! Other processes: how commands are started, where the workspace is, and how much memory this process has used.

mod command;
mod limits;
mod memory;
mod workspace;

pub(crate) use command::{cargo, output, replace, run};
#[cfg(feature = "lm")]
pub(crate) use limits::memory_limit;
pub(crate) use limits::survive_full_files;
pub(crate) use memory::peak_bytes;
pub(crate) use workspace::embedded_model;
pub use workspace::workspace_root;
