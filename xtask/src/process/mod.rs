//! Other processes: how commands are started, where the workspace is, and how much memory this process has used.

mod command;
mod memory;
mod workspace;

pub(crate) use command::{cargo, output, replace, run};
pub(crate) use memory::peak_bytes;
pub use workspace::workspace_root;
