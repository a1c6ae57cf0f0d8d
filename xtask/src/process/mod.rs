//! Other processes: how commands are started, where the workspace is, and how much memory this process has used.

mod command;
mod disk;
mod limits;
mod memory;
mod workspace;

pub(crate) use command::{cargo, output, replace, run, without_package};
pub(crate) use disk::{check_writable, free_bytes};
pub(crate) use limits::{memory_limit, survive_full_files};
pub(crate) use memory::{forget_peak, peak_bytes, system_memory};
pub use workspace::workspace_root;
pub(crate) use workspace::{leave_workspace, model_in_workspace, workspace};
