//! `cargo xtask demo` and `cargo xtask run`: from the command line to a spec.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;

use crate::{
    Backend, Error, Result, backend,
    spec::{ModelSource, Spec, read_spec},
};
#[cfg(feature = "lm")]
use crate::{
    Interrupt, ProgressTarget, Session, Start, backend::workspace_root, output::terminal_table,
    standard_output::print,
};

/// What can be changed about a run from the command line.
#[derive(Clone, Debug, Default, Args)]
pub struct RunOptions {
    /// The backend that the language model runs on, instead of the file's.
    #[arg(long, value_enum)]
    pub backend: Option<Backend>,
    /// Where the results go; replaced if it holds those of an earlier run. [default: target/runs/NAME]
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
    /// Go on from the latest checkpoint of this run; where there is none, begin.
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
    /// [`Error::Argument`] for a model that there is not; for a divergence that there is not, or that cannot have the spec's constraints.
    pub fn apply(&self, mut spec: Spec) -> Result<Spec> {
        if let Some(model) = &self.model {
            spec.model.source = Error::argument("--model", model, ModelSource::find(model, Path::new("")))?;
        }
        if let Some(name) = &self.divergence {
            spec.tune.divergence = name.parse()?;
        }
        spec.seed = self.seed.unwrap_or(spec.seed);
        spec.backend = self.backend.unwrap_or(spec.backend);
        spec.check_divergence()?;
        Ok(spec)
    }
}

#[cfg(feature = "lm")]
impl RunOptions {
    /// A run on this terminal that Ctrl-C ends.
    fn session(&self) -> Result<Session> {
        let start = match (self.resume, self.restart) {
            (true, _) => Start::Resume,
            (_, true) => Start::Restart,
            _ => Start::New,
        };
        Ok(Session { progress: ProgressTarget::detect(), start, interrupt: Interrupt::install()? })
    }
}

/// Runs the demo.
pub(crate) fn demo(options: &RunOptions) -> Result<()> {
    let (name, text) = ("xtask/specs/demo.toml", include_str!("../specs/demo.toml"));
    steer("demo", options.apply(read_spec(name, text, Path::new("xtask/specs"))?)?, options)
}

/// Runs a spec file.
pub(crate) fn run(path: &Path, options: &RunOptions) -> Result<()> {
    let text = fs::read_to_string(path).map_err(|source| Error::read(path, source))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let spec = read_spec(&path.display().to_string(), &text, folder)?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    steer(&name, options.apply(spec)?, options)
}

/// Runs a spec here if its backend is compiled in, else runs cargo again to have it.
///
/// The spec has been read by then, so that what is wrong with it is said before anything is built.
fn steer(name: &str, spec: Spec, options: &RunOptions) -> Result<()> {
    #[cfg(feature = "lm")]
    if backend::is_compiled(spec.backend, spec.asks_a_hub()) {
        let folder = workspace_root().join("target").join("runs").join(name);
        let session = options.session()?;
        let (folder, record) = crate::model::run(&spec, options.out.as_ref().unwrap_or(&folder), &session)?;
        print(format_args!("\n{}", terminal_table(&record)))?;
        return print(folder.join("report.html").display());
    }
    let _ = (name, options);
    backend::replace(backend::relaunch(spec.backend, spec.asks_a_hub())?)
}
