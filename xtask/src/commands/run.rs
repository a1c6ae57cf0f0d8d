//! `cargo xtask demo` and `cargo xtask run`: a spec file is read, changed as the command line says, and run.

use std::path::{Path, PathBuf};

use clap::Args;
use disco_core::input;

use crate::{
    Backend, Error, Interrupt, ProgressTarget, Result, RunControl, RunRecord, StartMode,
    features::TextScorers,
    launch::{Requirements, with_language_model},
    process::workspace,
    results::{keep_apart, terminal_table},
    spec::{FeatureKind, ModelSource, Spec, find_divergence, read_spec_with},
    steering::remote_model,
    terminal::{print, visible_line},
};
#[cfg(feature = "lm")]
use crate::{models::text_scorers, steering::language_model};

/// The settings of a run on the command line, which replace those of the file.
#[derive(Clone, Debug, Default, Args)]
pub struct RunOptions {
    /// The backend that the language model runs on, instead of the file's.
    #[arg(long, value_enum)]
    pub backend: Option<Backend>,
    /// The folder for the results; earlier results in it are replaced. [default: runs/NAME in the current folder; of `cargo
    /// xtask`, target/runs/NAME in the workspace]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// A model instead of the one that the file names: a folder in Hugging Face's format, a GGUF file, the results of a run, or
    /// an id of the hub (organisation/name, with @revision and :FILE.gguf behind it if need be).
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// The divergence to tune by, instead of the file's: forward-kl, tv, js, ...
    #[arg(long, value_name = "NAME")]
    pub divergence: Option<String>,
    /// The seed of every random draw, instead of the file's.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Continue from the latest checkpoint of this run; where there is none, begin.
    #[arg(long)]
    pub resume: bool,
    /// Begin anew, and remove the checkpoints of a run that was interrupted.
    #[arg(long, conflicts_with = "resume")]
    pub restart: bool,
}

impl RunOptions {
    /// The spec with these changes.
    ///
    /// # Errors
    /// [`Error::Argument`] for a model or a divergence that does not exist; [`Error::HardConstraints`].
    pub fn apply(&self, mut spec: Spec) -> Result<Spec> {
        if let Some(model) = &self.model {
            spec.model.source = ModelSource::from_argument("--model", model)?;
        }
        if let Some(name) = &self.divergence {
            let refused = |(problem, allowed)| Error::Argument { flag: "--divergence", problem, allowed };
            spec.tune.divergence = find_divergence(name).map_err(refused)?;
        }
        spec.seed = self.seed.unwrap_or(spec.seed);
        spec.backend = self.backend.unwrap_or(spec.backend);
        spec.validate_divergence()?;
        if self.model.is_some() {
            spec.validate_source("--model")?;
        }
        Ok(spec)
    }

    /// Reads a spec, with these changes.
    pub(super) fn read(&self, name: &str, text: &str, folder: &Path) -> Result<Spec> {
        let replaced: &[&str] = if self.divergence.is_some() { &["tune.divergence"] } else { &[] };
        self.apply(read_spec_with(name, text, folder, replaced)?)
    }
}

impl RunOptions {
    /// A run on this terminal that Ctrl-C ends.
    pub(super) fn control(&self) -> Result<RunControl> {
        let start = match (self.resume, self.restart) {
            (true, _) => StartMode::Resume,
            (_, true) => StartMode::Restart,
            _ => StartMode::New,
        };
        Ok(RunControl { progress: ProgressTarget::detect(), start, interrupt: Interrupt::install()? })
    }
}

/// Runs the demo.
///
/// # Errors
/// As [`run`].
pub(crate) fn demo(options: &RunOptions) -> Result<()> {
    let text = include_str!("../../specs/demo.toml");
    run_spec("demo", options.read("demo.toml", text, Path::new(""))?, options)
}

/// Runs a spec file.
///
/// # Errors
/// [`Error::Core`] and [`Error::Spec`] for the file, and as [`RunOptions::apply`], before anything is built; those of the run.
pub(crate) fn run(path: &Path, options: &RunOptions) -> Result<()> {
    let text = input::read_text(path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let spec = options.read(&path.display().to_string(), &text, folder)?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    run_spec(&name, spec, options)
}

/// The folder for the results that are called `name`, unless the command line names one.
pub(crate) fn default_folder(name: &str) -> PathBuf {
    workspace().map(|root| root.join("target")).unwrap_or_default().join("runs").join(name)
}

/// Runs a spec whose results are called `name`. It has been read and checked by now, before anything is built.
fn run_spec(name: &str, spec: Spec, options: &RunOptions) -> Result<()> {
    let folder = default_folder(name);
    let out = options.out.as_ref().unwrap_or(&folder);
    keep_apart(out, &spec)?;
    let is_remote = matches!(spec.model.source, ModelSource::Server(_));
    let has_classifier =
        spec.features.iter().any(|feature| matches!(feature.kind, FeatureKind::Classifier(_)));
    if is_remote && !has_classifier {
        return show(remote_model::run(&spec, out, &options.control()?, || Ok(TextScorers::new()))?);
    }
    let requirements = Requirements { hub: spec.asks_a_hub(), ..Requirements::of(spec.backend) };
    with_language_model(requirements, || {
        #[cfg(feature = "lm")]
        show(match is_remote {
            true => remote_model::run(&spec, out, &options.control()?, || text_scorers(&spec))?,
            false => language_model::run(&spec, out, &options.control()?)?,
        })?;
        Ok(())
    })
}

/// Shows the results of a run, and where its report is.
fn show((folder, record): (PathBuf, RunRecord)) -> Result<()> {
    print(format_args!("\n{}", terminal_table(&record)))?;
    print(visible_line(&folder.join("report.html").to_string_lossy()))
}
