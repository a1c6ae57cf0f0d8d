//! The command line: one variant per command.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{
    Backend, Error, INTERRUPTED, Result,
    commands::{self, BenchOptions, PretrainArguments, RunOptions, SampleArguments},
    process::survive_full_files,
    repository::{self, CiOptions, TidyOptions},
    terminal::{say, say_error},
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
    /// Steer the embedded language model to a distribution: measure, fit, tune, sample, report.
    Demo(RunOptions),
    /// Do what `demo` does for a spec file, which names model, contexts, features with targets, and settings.
    Run {
        /// The file; `xtask/specs/demo.toml` is one in which every field is explained.
        spec: PathBuf,
        #[command(flatten)]
        options: RunOptions,
    },
    /// Print every field of a spec file, with its meaning, the values that are allowed, and its default.
    Spec,
    /// Sample from a model or from the policy of a finished run, or search it: JSON lines of completions with log-probabilities.
    Sample(Box<SampleArguments>),
    /// Train the embedded model from nothing, on a text.
    Pretrain(PretrainArguments),
    /// Run all tests of the workspace.
    Test {
        /// The backend that the tests of the language model run on.
        #[arg(long, value_enum, default_value_t)]
        backend: Backend,
        /// Arguments for `cargo test`, such as `--package disco-qrs`, a name to filter by, or `-- --nocapture`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Measure the speed of disco, beside another program if that is asked for.
    #[command(subcommand)]
    Bench(Bench),
    /// Do one job of a benchmark in a process of its own.
    #[cfg(feature = "lm")]
    #[command(hide = true)]
    BenchJob {
        /// The job, as JSON.
        job: String,
    },
    /// Check everything that has to hold for a change to land, cheapest check first.
    Ci(CiOptions),
    /// Check the hygiene of the repository: edges between crates and between folders, documentation, leftovers.
    Tidy(TidyOptions),
}

/// The subject of a measurement.
#[derive(Debug, Subcommand)]
enum Bench {
    /// A language model: loading, sampling, scoring and tuning.
    Lm(BenchOptions),
}

/// Runs the command of the command line; prints an error to standard error, and returns the exit code.
pub fn main() -> ExitCode {
    survive_full_files();
    match dispatch(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has all that it wanted.
        Err(Error::OutputClosed) => ExitCode::SUCCESS,
        // Cargo has already said what is wrong; its exit code is passed on.
        Err(Error::Failed { code: Some(code), .. }) if (1..=255).contains(&code) => {
            ExitCode::from(code as u8)
        }
        Err(error @ Error::Interrupted { .. }) => {
            say(error);
            ExitCode::from(INTERRUPTED)
        }
        Err(error) => {
            say_error(error);
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<()> {
    match command {
        Command::Demo(options) => commands::demo(&options),
        Command::Run { spec, options } => commands::run(&spec, &options),
        Command::Spec => commands::spec(),
        Command::Sample(arguments) => commands::sample(&arguments),
        Command::Pretrain(arguments) => commands::pretrain(&arguments),
        Command::Bench(Bench::Lm(options)) => commands::bench_lm(&options),
        #[cfg(feature = "lm")]
        Command::BenchJob { job } => commands::run_job(&job),
        Command::Test { backend, arguments } => repository::test(backend, &arguments),
        Command::Ci(options) => repository::ci(&options),
        Command::Tidy(options) => repository::tidy(&options),
    }
}
