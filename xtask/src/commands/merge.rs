//! `cargo xtask merge`: the files of shards become the file that one process would have written.

use std::path::PathBuf;

use clap::Args;

use crate::{Result, results::keep_file_apart, stages::merge, terminal::say};

#[derive(Clone, Debug, Args)]
pub(crate) struct MergeArguments {
    /// The files of all shards, in any order.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The file to write, which appears whole or not at all.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Joins the files of shards.
///
/// # Errors
/// As [`merge`]; [`crate::Error::Place`] for a place that is one of the files.
pub(crate) fn run(arguments: &MergeArguments) -> Result<()> {
    keep_file_apart(&arguments.out, &arguments.files)?;
    let lines = merge(&arguments.files, &arguments.out)?;
    say(format_args!("{:<16} {lines} samples of {} files", "merge", arguments.files.len()));
    Ok(())
}
