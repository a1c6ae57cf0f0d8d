//! The gate that every change passes, cheapest check first.

use std::{fs, process::Command, time::Instant};

use serde_json::Value;

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

const STEPS: [Step; 6] = [
    Step { name: "format", run: format },
    Step { name: "tidy", run: tidy::run },
    Step { name: "clippy", run: clippy },
    Step { name: "docs", run: docs },
    Step { name: "tests", run: || backend::run(backend::workspace_tests(Backend::default(), &[])) },
    Step { name: "demo", run: demo },
];

/// How far the demo's moments may be from what was asked: of the tuned policy, and by quasi-rejection.
const DEMO_TOLERANCES: [(&str, f64); 2] = [("tuned", 0.1), ("qrs", 0.05)];

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

/// The demo as a user runs it, and whether it came where it was asked to.
fn demo() -> Result<()> {
    let out = backend::workspace_root().join("target").join("runs").join("ci");
    let mut command = backend::launch(Backend::default());
    command.arg("demo").arg("--out").arg(&out);
    backend::run(command)?;
    let path = out.join("summary.json");
    let text = fs::read_to_string(&path).map_err(|source| Error::read(&path, source))?;
    let summary: Value = serde_json::from_str(&text).map_err(Error::Json)?;
    let unusable = || Error::answer("cargo xtask demo", "summary.json has no features with moments");
    for feature in summary["features"].as_array().ok_or_else(unusable)? {
        let asked = feature["asked"].as_f64().ok_or_else(unusable)?;
        for (stage, tolerance) in DEMO_TOLERANCES {
            let reached = feature[stage]["value"].as_f64().ok_or_else(unusable)?;
            if !((reached - asked).abs() <= tolerance) {
                return Err(Error::Missed {
                    feature: feature["name"].to_string(),
                    stage,
                    asked,
                    reached,
                    tolerance,
                });
            }
        }
    }
    Ok(())
}

/// Cargo with these arguments, in the workspace.
fn with<const N: usize>(arguments: [&str; N]) -> Command {
    let mut command = backend::cargo();
    command.current_dir(backend::workspace_root()).args(arguments);
    command
}
