#![doc = include_str!("../README.md")]

mod backend;
mod ci;
mod cli;
mod error;
mod tidy;

pub use backend::{Backend, workspace_root};
pub use cli::main;
pub use error::{Error, Result};
pub use tidy::{CrateGraph, Finding, check_crates, check_source, findings};
