//! The command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{
    Error, Result,
    backend::{self, Backend},
    ci, tidy,
};

/// Every workflow of disco, and the checks of its repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run all tests of the workspace.
    Test {
        /// The backend that the tests of the language model run on.
        #[arg(long, value_enum, default_value_t)]
        backend: Backend,
        /// Arguments for `cargo test`, such as `--package disco-qrs`, a name to filter by, or `-- --nocapture`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Check everything that has to hold for a change to land: format, tidy, clippy, docs, tests.
    Ci,
    /// Check the hygiene of the repository: edges between crates, documentation, leftovers.
    Tidy,
}

/// Does what the command line asks; prints an error, with its causes, to standard error.
pub fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        // Cargo has already said what is wrong; its exit code is passed on.
        Err(Error::Failed { code: Some(code), .. }) if (1..=255).contains(&code) => {
            ExitCode::from(code as u8)
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<()> {
    match command {
        Command::Test { backend, arguments } => backend::run(backend::workspace_tests(backend, &arguments)),
        Command::Ci => ci::run(),
        Command::Tidy => tidy::run(),
    }
}
