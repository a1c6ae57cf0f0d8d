//! The command lines of `disco` and of `cargo xtask`: one variant per command.

use std::{path::PathBuf, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::{
    Backend, Error, INTERRUPTED, Result,
    commands::{
        self, BenchOptions, DiagnoseArguments, DoctorOptions, DryRunArgument, ExampleOptions, FitArguments,
        MeasureArguments, MergeArguments, PretrainArguments, ReportArguments, RunOptions, SampleArguments,
        ScoreArguments, ServeArguments, TuneArguments,
    },
    launch::start_with_fast_allocator,
    process::{leave_workspace, survive_full_files},
    repository::{self, CiOptions, TidyOptions},
    terminal::{print, say, say_error},
};

/// Distributional control of generative models: every workflow of disco.
#[derive(Debug, Parser)]
#[command(name = "disco", bin_name = "disco", version)]
struct Disco {
    #[command(subcommand)]
    command: Command,
}

/// Every workflow of disco, and the checks of its repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Xtask {
    #[command(subcommand)]
    command: XtaskCommand,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Steer the embedded language model to a distribution: measure, fit, tune, sample, report.
    Demo {
        #[command(flatten)]
        options: RunOptions,
        #[command(flatten)]
        dry: DryRunArgument,
    },
    /// Do what `demo` does for a spec file, which names model, contexts, features with targets, and settings.
    Run {
        /// The file; `examples demo` prints one in which every field is explained.
        spec: PathBuf,
        #[command(flatten)]
        options: RunOptions,
        #[command(flatten)]
        dry: DryRunArgument,
    },
    /// Draw samples of the base of a run file, and compute all features on them: the first stage of a run.
    Measure(MeasureArguments),
    /// Fit the target of a run file to samples in files, of `measure` or of any other program. No model is needed.
    Fit(FitArguments),
    /// Tune a policy towards a saved target.
    Tune(TuneArguments),
    /// Join the files of shards to the file that one process would have written.
    Merge(MergeArguments),
    /// Compute log-probabilities of given texts under a model, and their log-scores under a target.
    Score(ScoreArguments),
    /// Tell how far samples in files are from a saved target: divergences, weights, acceptance rates. No model is run.
    Diagnose(DiagnoseArguments),
    /// Print every field of a spec file, with its meaning, the values that are allowed, and its default.
    Spec,
    /// Sample from a model or from the policy of a finished run, or search it: JSON lines of completions with log-probabilities.
    Sample(Box<SampleArguments>),
    /// Render the report of a finished run again, or one page that compares several runs.
    Report(ReportArguments),
    /// Serve a model, or the policy of a finished run, over HTTP, as OpenAI's API does.
    Serve(ServeArguments),
    /// Train a small model like the embedded one from nothing, on a text.
    Pretrain(PretrainArguments),
    /// Show example spec files, or write them with the files that they read.
    Examples(ExampleOptions),
    /// Show what this program and this machine have: backends, devices, memory, libtorch, caches, the hub; and what to do about what is missing.
    Doctor(DoctorOptions),
    /// Print the shell completions of `disco`.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the man page of `disco`, or of one of its commands.
    Man {
        /// The command.
        command: Option<String>,
    },
}

/// All commands: those of `disco`, and those for the repository.
#[derive(Debug, Subcommand)]
enum XtaskCommand {
    #[command(flatten)]
    Disco(Command),
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

/// Runs the command of the command line of `cargo xtask`; prints an error to standard error, and returns the exit code.
pub fn main() -> ExitCode {
    survive_full_files();
    exit_code(dispatch_xtask(Xtask::parse().command))
}

/// As [`main`], for the program `disco`, which needs neither cargo nor the workspace.
pub fn disco() -> ExitCode {
    start_with_fast_allocator();
    leave_workspace();
    survive_full_files();
    exit_code(dispatch(Disco::parse().command))
}

fn exit_code(outcome: Result<()>) -> ExitCode {
    match outcome {
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
        Command::Demo { options, dry } => commands::demo(&options, dry),
        Command::Run { spec, options, dry } => commands::run(&spec, &options, dry),
        Command::Measure(arguments) => commands::measure(&arguments),
        Command::Fit(arguments) => commands::fit(&arguments),
        Command::Tune(arguments) => commands::tune(&arguments),
        Command::Merge(arguments) => commands::merge(&arguments),
        Command::Diagnose(arguments) => commands::diagnose(&arguments),
        Command::Score(arguments) => commands::score(&arguments),
        Command::Spec => commands::spec(),
        Command::Sample(arguments) => commands::sample(&arguments),
        Command::Report(arguments) => commands::report(&arguments),
        Command::Serve(arguments) => commands::serve(&arguments),
        Command::Pretrain(arguments) => commands::pretrain(&arguments),
        Command::Examples(options) => commands::examples(&options),
        Command::Doctor(options) => commands::doctor(&options),
        Command::Completions { shell } => completions(shell),
        Command::Man { command } => man(command.as_deref()),
    }
}

fn dispatch_xtask(command: XtaskCommand) -> Result<()> {
    match command {
        XtaskCommand::Disco(command) => dispatch(command),
        XtaskCommand::Bench(Bench::Lm(options)) => commands::bench_lm(&options),
        #[cfg(feature = "lm")]
        XtaskCommand::BenchJob { job } => commands::run_job(&job),
        XtaskCommand::Test { backend, arguments } => repository::test(backend, &arguments),
        XtaskCommand::Ci(options) => repository::ci(&options),
        XtaskCommand::Tidy(options) => repository::tidy(&options),
    }
}

/// Prints completions, which the shell is to read.
fn completions(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Disco::command(), "disco", &mut script);
    print(String::from_utf8_lossy(&script).trim_end())
}

/// Prints the page of `disco`, or of one command, for `man -l`.
fn man(command: Option<&str>) -> Result<()> {
    let mut all = Disco::command();
    all.build();
    let page = match command {
        None => all,
        Some(name) => all.find_subcommand(name).cloned().ok_or_else(|| Error::Argument {
            flag: "man",
            problem: format!("knows no command \"{name}\""),
            allowed: all.get_subcommands().map(|command| command.get_name()).collect::<Vec<_>>().join(", "),
        })?,
    };
    let mut text = Vec::new();
    // The name with which it is called, such as `disco-run`.
    let name = page.get_display_name().unwrap_or(page.get_name()).to_owned();
    let page = clap_mangen::Man::new(page.display_name(name));
    page.render(&mut text).map_err(|cause| Error::write("the man page".as_ref(), cause))?;
    print(String::from_utf8_lossy(&text).trim_end())
}
