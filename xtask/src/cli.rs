//! The command line.

use std::{fs, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{
    Error, INTERRUPTED, Result,
    backend::{self, Backend},
    bench::{self, BenchOptions},
    ci::{self, CiOptions},
    sample::{self, SampleArguments},
    steer::{self, RunOptions},
    tidy,
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
    /// The same from a file that names model, contexts, features with targets, and settings.
    Run {
        /// The file; `xtask/specs/demo.toml` is one in which every field is explained.
        spec: PathBuf,
        #[command(flatten)]
        options: RunOptions,
    },
    /// Draw from a model or from the policy of a finished run, or search it: JSON lines of completions with log-probabilities.
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
    /// Measure how fast disco is, beside another program if that is asked for.
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
    /// Check the hygiene of the repository: edges between crates, documentation, leftovers.
    Tidy,
}

/// What can be measured.
#[derive(Debug, Subcommand)]
enum Bench {
    /// A language model: reading it, drawing from it, scoring and tuning.
    Lm(BenchOptions),
}

/// What `cargo xtask pretrain` is told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PretrainArguments {
    /// The text to learn from. Passages are separated by blank lines.
    #[arg(long)]
    pub(crate) corpus: PathBuf,
    /// The folder that receives the model; by default that of the embedded model.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    /// Seed of the initial weights, the examples and the dropout.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Number of training steps; by default what the embedded model was trained with.
    #[arg(long)]
    pub(crate) steps: Option<usize>,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) backend: Backend,
}

/// Does what the command line asks; prints an error, with its causes, to standard error.
pub fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        // Cargo has already said what is wrong; its exit code is passed on.
        Err(Error::Failed { code: Some(code), .. }) if (1..=255).contains(&code) => {
            ExitCode::from(code as u8)
        }
        Err(error @ Error::Interrupted { .. }) => {
            eprintln!("{error}");
            ExitCode::from(INTERRUPTED)
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<()> {
    match command {
        Command::Demo(options) => steer::demo(&options),
        Command::Run { spec, options } => steer::run(&spec, &options),
        Command::Sample(arguments) => sample::run(&arguments),
        Command::Pretrain(arguments) => pretrain(&arguments),
        Command::Test { backend, arguments } => {
            backend::run(backend::tests(backend, backend::WORKSPACE, &arguments)?)
        }
        Command::Bench(Bench::Lm(options)) => bench::lm(&options),
        #[cfg(feature = "lm")]
        Command::BenchJob { job } => bench::run_job(&job),
        Command::Ci(options) => ci::run(&options),
        Command::Tidy => tidy::run(),
    }
}

/// Trains here if a language model is compiled in, else runs cargo again to have one.
fn pretrain(arguments: &PretrainArguments) -> Result<()> {
    // Said before anything is built.
    fs::File::open(&arguments.corpus).map_err(|source| Error::read(&arguments.corpus, source))?;
    #[cfg(feature = "lm")]
    if arguments.backend.is_compiled() {
        return crate::pretrain::run(arguments);
    }
    backend::run(backend::relaunch(arguments.backend, false)?)
}
