//! The gate that every change passes, cheapest check first.

use std::{process::Command, time::Instant};

use crate::{
    Error, Result,
    backend::{self, Backend},
    tidy,
};

/// A named check.
struct Step {
    name: &'static str,
    run: fn() -> Result<()>,
}

const STEPS: [Step; 5] = [
    Step { name: "format", run: format },
    Step { name: "tidy", run: tidy::run },
    Step { name: "clippy", run: clippy },
    Step { name: "docs", run: docs },
    Step { name: "tests", run: || backend::run(backend::workspace_tests(Backend::default(), &[])) },
];

/// Runs every step in turn, and stops at the first that fails.
///
/// # Errors
/// [`Error::Step`] with the name of the step.
pub(crate) fn run() -> Result<()> {
    let mut seconds = Vec::with_capacity(STEPS.len());
    for (index, step) in STEPS.iter().enumerate() {
        eprintln!("\n== ci {}/{}: {} ==", index + 1, STEPS.len(), step.name);
        let start = Instant::now();
        let outcome = (step.run)();
        seconds.push((step.name, start.elapsed().as_secs_f64()));
        if let Err(source) = outcome {
            print_times(&seconds, "failed");
            return Err(Error::Step { step: step.name, source: Box::new(source) });
        }
    }
    print_times(&seconds, "ok");
    Ok(())
}

/// The seconds of each step; the last one's outcome is `outcome`.
fn print_times(seconds: &[(&str, f64)], outcome: &str) {
    eprintln!();
    for (index, (name, taken)) in seconds.iter().enumerate() {
        let outcome = if index + 1 == seconds.len() { outcome } else { "ok" };
        eprintln!("ci {name:<8} {outcome:<6} {taken:>8.1} s");
    }
}

fn format() -> Result<()> {
    backend::run(with(["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    let mut command = with(["clippy", "--workspace", "--all-targets", "--features", "xtask/flex"]);
    command.args(["--", "--deny", "warnings"]);
    backend::run(command)
}

fn docs() -> Result<()> {
    let mut command = with(["doc", "--workspace", "--no-deps", "--features", "xtask/flex"]);
    command.env("RUSTDOCFLAGS", "--deny warnings");
    backend::run(command)
}

/// Cargo with these arguments, in the workspace.
fn with<const N: usize>(arguments: [&str; N]) -> Command {
    let mut command = backend::cargo();
    command.current_dir(backend::workspace_root()).args(arguments);
    command
}
