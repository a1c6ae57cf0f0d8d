//! `cargo xtask demo` and `cargo xtask run`: a spec file is read, changed as the command line says, and run.

use std::path::{Path, PathBuf};

use clap::Args;
use disco_core::input;

use super::{
    dry_run::{DryRunArgument, dry_run},
    stage_arguments::show,
};
use crate::{
    Backend, Error, Interrupt, ProgressTarget, Result, RunControl, StartMode,
    features::TextScorers,
    launch::{Requirements, with_language_model},
    process::workspace,
    results::{REPORT, keep_apart},
    spec::{Change, FeatureKind, ModelSource, Spec, read_spec_with},
    stages::keep_results,
    steering::{DryStages, remote_model},
};
#[cfg(feature = "lm")]
use crate::{models::text_scorers, steering::language_model};

/// The arguments of `--set` that are allowed.
const SET: &str = "FIELD=VALUE, such as tune.steps=200, features.1.mean=0.4, tune.divergence=js or model.choices='[\"yes\", \"no\"]'";

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
    /// A model instead of the one that the file names: a folder in Hugging Face's format, a GGUF file, the results of a run,
    /// an id of the hub (organisation/name, with @revision and :FILE.gguf behind it if need be), or a server's address.
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// The divergence to tune by, instead of the file's: forward-kl, tv, js, ...
    #[arg(long, value_name = "NAME")]
    pub divergence: Option<String>,
    /// The seed of every random draw, instead of the file's.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Another value for any field of the file, such as `tune.steps=200`, `features.1.mean=0.4` or `features.NAME.mean=0.4`: TOML, or a text
    /// without quotes. Can be given more than once.
    #[arg(long, value_name = "FIELD=VALUE")]
    pub set: Vec<String>,
    /// Continue from the latest checkpoint of this run; where there is none, begin.
    #[arg(long)]
    pub resume: bool,
    /// Begin anew, and remove the checkpoints of a run that was interrupted.
    #[arg(long, conflicts_with = "resume")]
    pub restart: bool,
}

impl RunOptions {
    /// Reads a spec, as [`read_spec`](crate::read_spec), with these changes, which are checked as if they were in the file.
    ///
    /// # Errors
    /// [`Error::Spec`]; [`Error::Argument`] for a `--set` that names no field, and for a model that does not exist.
    pub fn read(&self, name: &str, text: &str, folder: &Path) -> Result<Spec> {
        Ok(read_spec_with(name, text, folder, &self.changes()?)?)
    }

    /// The fields that get another value. Arguments of their own come last, and win.
    fn changes(&self) -> Result<Vec<Change>> {
        let refused = |problem| Error::Argument { flag: "--set", problem, allowed: SET.into() };
        let mut changes = Vec::new();
        for given in &self.set {
            changes.push(Change::parse("--set", given).map_err(refused)?);
        }
        if let Some(backend) = self.backend {
            changes.push(Change::string("--backend", &["backend"], backend.feature()));
        }
        if let Some(model) = &self.model {
            // The file's paths are seen from its own folder, and this one from here.
            let source = match ModelSource::from_argument("--model", model)? {
                ModelSource::Folder(folder) => std::path::absolute(&folder).unwrap_or(folder),
                ModelSource::Embedded | ModelSource::Hub(_) | ModelSource::Server(_) => model.into(),
            };
            changes.push(Change::string("--model", &["model", "source"], &source.to_string_lossy()));
        }
        if let Some(name) = &self.divergence {
            changes.push(Change::string("--divergence", &["tune", "divergence"], name));
        }
        if let Some(seed) = self.seed {
            changes.push(Change::number("--seed", &["seed"], seed));
        }
        Ok(changes)
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
pub(crate) fn demo(options: &RunOptions, dry: DryRunArgument) -> Result<()> {
    let text = include_str!("../../specs/demo.toml");
    run_spec("demo", options.read("demo.toml", text, Path::new(""))?, options, dry)
}

/// Runs a spec file.
///
/// # Errors
/// [`Error::Core`] and [`Error::Spec`] for the file, and as [`RunOptions::read`], before anything is built; those of the run.
pub(crate) fn run(path: &Path, options: &RunOptions, dry: DryRunArgument) -> Result<()> {
    let text = input::read_text(path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let spec = options.read(&path.display().to_string(), &text, folder)?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    run_spec(&name, spec, options, dry)
}

/// The folder for the results that are called `name`, unless the command line names one.
pub(crate) fn default_folder(name: &str) -> PathBuf {
    workspace().map(|root| root.join("target")).unwrap_or_default().join("runs").join(name)
}

/// Runs a spec whose results are called `name`. It has been read and checked by now, before anything is built.
fn run_spec(name: &str, spec: Spec, options: &RunOptions, dry: DryRunArgument) -> Result<()> {
    let folder = default_folder(name);
    let out = options.out.as_ref().unwrap_or(&folder);
    keep_apart(out, &spec)?;
    keep_results(out, None)?;
    if dry.dry_run {
        return dry_run(&spec, out, options, DryStages::Run, None);
    }
    let is_remote = matches!(spec.model.source, ModelSource::Server(_));
    let has_classifier =
        spec.features.iter().any(|feature| matches!(feature.kind, FeatureKind::Classifier(_)));
    if is_remote && !has_classifier {
        let (folder, record) = remote_model::run(&spec, out, &options.control()?, || Ok(TextScorers::new()))?;
        return show(&folder, &record, REPORT);
    }
    let requirements = Requirements { hub: spec.asks_a_hub(), ..Requirements::of(spec.backend) };
    with_language_model(requirements, || {
        #[cfg(feature = "lm")]
        {
            let (folder, record) = match is_remote {
                true => remote_model::run(&spec, out, &options.control()?, || text_scorers(&spec))?,
                false => language_model::run(&spec, out, &options.control()?)?,
            };
            show(&folder, &record, REPORT)?;
        }
        Ok(())
    })
}
