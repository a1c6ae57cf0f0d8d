//! The tools of this repository, which only the developers of disco run: its gate, its tests and its hygiene.

mod ci;
mod clients;
mod environment;
mod loggers;
mod report;
mod test_commands;
mod tidy;
mod wheel;

pub(crate) use ci::{CiOptions, run as ci};
pub(crate) use test_commands::run as test;
pub use tidy::{
    CrateGraph, Finding, Import, ModuleGraph, Tree, check_crates, check_document, check_modules, check_order,
    check_source, findings, graph_text,
};
pub(crate) use tidy::{TidyOptions, run as tidy};
