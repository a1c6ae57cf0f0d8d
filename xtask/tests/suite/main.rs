//! The tests of the workflows, as one program, which is linked once.

mod command_line;
mod common;
#[cfg(unix)]
mod interrupt;
#[cfg(feature = "flex")]
mod language_model;
mod outputs;
mod pipeline;
mod report;
mod skipping;
mod spec;
mod spec_conflicts;
mod spec_contexts;
mod spec_mutations;
mod text;
mod tidy;
