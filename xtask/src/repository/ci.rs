//! The gate that every change passes, cheapest check first.

use std::{fs, process::Command, time::Instant};

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::{
    clients, loggers, report,
    test_commands::{LANGUAGE_MODELS, WORKSPACE, disco_lm, tests},
    tidy, wheel,
};
use crate::{
    Backend, Error, Result,
    launch::run_xtask,
    prerequisites::{smollm2, smollm2_gguf, with_transformers},
    process::{self, workspace_root},
    terminal::say,
};

/// A named check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Formatting, by rustfmt.
    Format,
    /// The hygiene of the repository.
    Tidy,
    /// Clippy, warnings denied.
    Clippy,
    /// Documentation, warnings denied.
    Docs,
    /// All tests, on the backend flex.
    Tests,
    /// The demo, and whether it reached the means that it asks for.
    Demo,
    /// The other run files in `xtask/specs`, each of which shows what can be asked.
    Specs,
    /// The report in headless Chromium, which is installed by apt-get where there is none.
    Report,
    /// The program `disco` as a wheel, in a clean environment without cargo: maturin is downloaded from PyPI.
    Wheel,
    /// disco-tuner with every feature, its loggers against TensorBoard and an MLflow server: both are downloaded from PyPI.
    Loggers,
    /// The tests that need SmolLM2-135M, or Python with transformers: both are downloaded from PyPI.
    Smollm2,
    /// The official clients of OpenAI's API, from PyPI, against `serve`; lm-evaluation-harness beside transformers; the documented Python programs.
    Clients,
    /// The language model's tests on libtorch, which is downloaded from PyPI.
    Tch,
    /// The golden tests on wgpu, where this machine has a device or a software driver for it.
    Wgpu,
    /// That the backends vulkan and cuda compile.
    Compile,
    /// The tests that take minutes each, such as 100,000 damaged files; only where `--only` names it.
    Sweeps,
}

impl Step {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether it runs without being named.
    fn by_default(self) -> bool {
        self != Self::Sweeps
    }

    /// Runs the step; returns the parts of it that this machine cannot do.
    fn run(self) -> Result<Vec<&'static str>> {
        match self {
            Self::Format => format(),
            Self::Tidy => tidy::run(&tidy::TidyOptions::default()),
            Self::Clippy => clippy(),
            Self::Docs => docs(),
            Self::Tests => process::run(tests(Backend::default(), WORKSPACE, &[])?),
            Self::Demo => demo(),
            Self::Specs => return specs(),
            Self::Report => report::run(),
            Self::Wheel => wheel::run(),
            Self::Loggers => loggers::run(),
            Self::Smollm2 => smollm2_tests(),
            Self::Clients => clients::run(),
            Self::Tch => tch(),
            Self::Wgpu => return wgpu(),
            Self::Compile => compile(),
            Self::Sweeps => process::run(tests(Backend::default(), WORKSPACE, &SWEEPS.map(str::to_owned))?),
        }?;
        Ok(Vec::new())
    }
}

/// The arguments of `cargo xtask ci`.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct CiOptions {
    /// Only these steps. [default: all but sweeps]
    #[arg(long, value_enum, value_name = "STEP", num_args = 1..)]
    only: Vec<Step>,
    /// All steps but these.
    #[arg(long, value_enum, value_name = "STEP", num_args = 1..)]
    skip: Vec<Step>,
}

/// The language model's tests.
const SUITE: [&str; 2] = ["--test", "suite"];

/// The tests that run by hand: ignored by default, and named for it.
const SWEEPS: [&str; 3] = ["--", "--ignored", "sweep_"];

/// The backends that can compute on a machine without a GPU, beside flex. One build serves both: Burn takes ten minutes.
const WITHOUT_GPU: [Backend; 2] = [Backend::Tch, Backend::Wgpu];

/// The largest distance of the demo's means from those that are asked for: of the tuned policy, and by quasi-rejection.
const DEMO_TOLERANCES: [(&str, f64); 2] = [("tuned", 0.1), ("qrs", 0.05)];

/// Runs the steps in turn, and stops at the first that fails.
///
/// # Errors
/// [`Error::Step`] with the name of the step.
pub(crate) fn run(options: &CiOptions) -> Result<()> {
    let wanted = |step: &Step| {
        let named = options.only.contains(step) || (options.only.is_empty() && step.by_default());
        named && !options.skip.contains(step)
    };
    let steps: Vec<Step> = Step::value_variants().iter().copied().filter(wanted).collect();
    let mut done = Vec::with_capacity(steps.len());
    for (index, step) in steps.iter().enumerate() {
        say(format_args!("\n== ci {}/{}: {} ==", index + 1, steps.len(), step.name()));
        let start = Instant::now();
        let outcome = step.run();
        let seconds = start.elapsed().as_secs_f64();
        let line = match &outcome {
            Ok(skipped) if skipped.is_empty() => format!("ok     {seconds:>8.1} s"),
            Ok(skipped) => format!("ok     {seconds:>8.1} s, without {}", skipped.join(" and ")),
            Err(_) => format!("failed {seconds:>8.1} s"),
        };
        done.push(format!("ci {:<8} {line}", step.name()));
        // Each line at once, and all lines at the end: also a gate that is cut off in the middle shows where the time went.
        say(&done[index]);
        if let Err(cause) = outcome {
            say(format_args!("\n{}", done.join("\n")));
            return Err(Error::Step { step: step.name(), cause: Box::new(cause) });
        }
    }
    say(format_args!("\n{}", done.join("\n")));
    Ok(())
}

fn format() -> Result<()> {
    process::run(with(["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    let mut command =
        with(["clippy", "--workspace", "--all-targets", "--features", "xtask/flex,xtask/hub,xtask/serve"]);
    command.args(["--", "--deny", "warnings"]);
    process::run(command)
}

fn docs() -> Result<()> {
    let mut command = with(["doc", "--workspace", "--no-deps", "--features", "xtask/flex,xtask/serve"]);
    command.env("RUSTDOCFLAGS", "--deny warnings");
    process::run(command)
}

/// The demo as a user runs it, and whether it reached the means that it asks for.
fn demo() -> Result<()> {
    let out = workspace_root().join("target").join("runs").join("ci");
    let mut command = run_xtask(Backend::default(), &[Backend::default().feature()])?;
    // A gate that was cut off may have left checkpoints.
    command.args(["demo", "--restart", "--out"]).arg(&out);
    process::run(command)?;
    let path = out.join("summary.json");
    let text = fs::read_to_string(&path).map_err(|cause| Error::read(&path, cause))?;
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

/// Runs each run file of the repository; returns those that need more than this machine has.
fn specs() -> Result<Vec<&'static str>> {
    // The first needs a server, which the tests of scorers have on loopback; the other needs SmolLM2 and a quarter of an hour.
    const WITHOUT: [&str; 2] = ["http.toml", "professions.toml"];
    let folder = workspace_root().join("xtask").join("specs");
    let entries = fs::read_dir(&folder).map_err(|cause| Error::read(&folder, cause))?;
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(|cause| Error::read(&folder, cause))?.file_name();
        let name = name.to_string_lossy().into_owned();
        if name.ends_with(".toml") && name != "demo.toml" && !WITHOUT.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names.sort();
    for name in names {
        let out = workspace_root().join("target").join("runs").join(format!("ci-{name}"));
        let mut command = run_xtask(Backend::default(), &[Backend::default().feature()])?;
        command.arg("run").arg(folder.join(&name)).args(["--restart", "--out"]).arg(&out);
        say(format_args!("-- {name}"));
        process::run(command)?;
    }
    say(format_args!(
        "skipped: {} need a server, and SmolLM2 and a quarter of an hour",
        WITHOUT.join(" and ")
    ));
    Ok(WITHOUT.to_vec())
}

/// The language model's tests with the model and the Python that some of them need.
fn smollm2_tests() -> Result<()> {
    let suite = SUITE.map(str::to_owned);
    let mut command = tests(Backend::default(), LANGUAGE_MODELS, &suite)?;
    command.env("DISCO_HF_PYTHON", with_transformers()?);
    command.env("DISCO_SMOLLM2", smollm2()?).env("DISCO_SMOLLM2_GGUF", smollm2_gguf()?);
    process::run(command)
}

/// The language model's tests on libtorch.
fn tch() -> Result<()> {
    process::run(without_gpu(Backend::Tch, &["test", SUITE[0], SUITE[1]])?)
}

/// The golden tests on wgpu: a software driver takes minutes for them alone. Returns that there is no device, if so.
fn wgpu() -> Result<Vec<&'static str>> {
    let mut probe = without_gpu(Backend::Wgpu, &["run", "--example", "devices"])?;
    probe.args(["--", Backend::Wgpu.feature()]);
    match process::run(probe) {
        Ok(()) => {}
        // It was built, and has said why it cannot compute.
        Err(Error::Failed { code: Some(1), .. }) => {
            say(format_args!("skipped: this machine has no device for {}", Backend::Wgpu.feature()));
            return Ok(vec![Backend::Wgpu.feature()]);
        }
        Err(error) => return Err(error),
    }
    let mut golden = without_gpu(Backend::Wgpu, &["test", SUITE[0], SUITE[1]])?;
    // Every kernel that is tried for its speed is compiled first, which takes most of the time there is.
    golden.env("CUBECL_AUTOTUNE_LEVEL", "minimal").args(["--", "golden_"]);
    process::run(golden)?;
    Ok(Vec::new())
}

/// Cargo, doing `what` with disco-lm on one of [`WITHOUT_GPU`].
fn without_gpu(backend: Backend, what: &[&str]) -> Result<Command> {
    // The environment that is made for transformers has the libtorch that is looked for.
    with_transformers()?;
    disco_lm(backend, &WITHOUT_GPU, what)
}

/// Checks the backends without linking: cubecl's build script would download an LLVM from outside of the package registries. It
/// leaves that out where documentation is built, which takes no linking either. Mesa's software driver has Vulkan, but
/// crashes over the matrix products that `vulkan` gives it (22.3.6 and 25.0.7, in `vkCreateComputePipelines`).
fn compile() -> Result<()> {
    let backends = [Backend::Vulkan, Backend::Cuda];
    let mut command = disco_lm(Backend::Cuda, &backends, &["check"])?;
    command.env("DOCS_RS", "1");
    process::run(command)
}

/// Cargo with these arguments, in the workspace.
fn with<const N: usize>(arguments: [&str; N]) -> Command {
    let mut command = process::cargo();
    command.current_dir(workspace_root()).args(arguments);
    command
}
