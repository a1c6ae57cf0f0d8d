//! The tests of the workflows, as one program, which is linked once.

mod command_line;
mod common;
#[cfg(unix)]
mod interrupt;
#[cfg(target_os = "linux")]
mod kills;
mod kinds;
mod kinds_json;
mod kinds_made;
#[cfg(feature = "flex")]
mod language_model;
mod outputs;
mod ownership;
mod pipeline;
mod report;
mod skipping;
mod spec;
mod spec_conflicts;
mod spec_contexts;
mod spec_kinds;
mod spec_mutations;
#[cfg(target_os = "linux")]
mod terminal;
mod text;
mod tidy;
