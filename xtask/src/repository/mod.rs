//! The tools of this repository, which only the developers of disco run: its gate, its tests and its hygiene.

mod ci;
mod loggers;
mod test_commands;
mod tidy;

pub(crate) use ci::{CiOptions, run as ci};
pub(crate) use test_commands::run as test;
pub(crate) use tidy::run as tidy;
pub use tidy::{CrateGraph, Finding, check_crates, check_source, findings};
