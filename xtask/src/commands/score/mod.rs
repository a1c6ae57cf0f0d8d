//! `cargo xtask score`: log-probabilities of given texts under a model, and their log-scores under a target.

#[cfg(feature = "lm")]
mod texts;
#[cfg(feature = "lm")]
mod with_target;

use std::path::PathBuf;

use clap::Args;

use super::sample::run_of;
use crate::{
    Backend, Result, Shard,
    launch::{Requirements, with_language_model},
    results::keep_file_apart,
    samples::{StoredLine, read_texts},
    spec::{ModelSource, ModelSpec},
    stages::{Inputs, TargetFile},
};

#[derive(Clone, Debug, Args)]
pub(crate) struct ScoreArguments {
    /// The model whose log-probabilities are written as `log_prob`: "embedded", a folder, a GGUF file, an id of the hub, a server's
    /// address (http://HOST:PORT/v1), or the results of a run, which are decoded, and cut at a length, as in the run.
    #[arg(long, value_name = "MODEL")]
    model: String,
    /// A target: the lines get its log-score `log_target` too, and that of its base, `log_base`. The model is decoded as its base.
    #[arg(long, value_name = "FILE")]
    target: Option<PathBuf>,
    /// The run file that says how the features of the target are computed. [default: `run.toml` beside the target]
    #[arg(long, value_name = "FILE", requires = "target")]
    spec: Option<PathBuf>,
    /// A file of texts: JSON lines with `context` and `text` (or `sample`, whose token ids are scored as they are).
    /// Given more than once, all of them count.
    #[arg(long, value_name = "FILE", required = true)]
    samples: Vec<PathBuf>,
    /// Score shard I of N of the lines; `merge` joins the files to the file of one process.
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// A file for the JSON lines, which appears whole or not at all. [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The backend that computes.
    #[arg(long, value_enum, default_value_t)]
    backend: Backend,
}

/// The lines to be scored; everything has been checked.
#[cfg_attr(
    not(feature = "lm"),
    allow(dead_code, reason = "the code that scores is compiled with the language model")
)]
struct Scoring {
    lines: Vec<StoredLine>,
    model: ModelSpec,
    /// Whether a run or a target says how the model is decoded, and after how many tokens a completion is cut.
    of_run: bool,
    target: Option<TargetFile>,
    out: Option<PathBuf>,
    /// The inputs, where only a shard is scored.
    shard: Option<Inputs>,
    backend: Backend,
}

/// Scores texts.
///
/// # Errors
/// Those of the files, before anything is built; those of the model.
pub(crate) fn run(arguments: &ScoreArguments) -> Result<()> {
    if let Some(out) = &arguments.out {
        let named = arguments.target.iter().chain(&arguments.spec);
        keep_file_apart(
            out,
            arguments.samples.iter().chain(named).chain([&PathBuf::from(&arguments.model)]),
        )?;
    }
    let source = ModelSource::from_argument("--model", &arguments.model)?;
    let mut target = match &arguments.target {
        Some(path) => Some(TargetFile::read(path, arguments.spec.as_deref())?),
        None => None,
    };
    if let Some(target) = &mut target {
        target.spec.backend = arguments.backend;
    }
    let run = run_of(arguments.model.as_ref())?;
    let of_run = target.is_some() || run.is_some();
    let model = match (&target, run) {
        (Some(target), _) => ModelSpec { source, ..target.spec.model.clone() },
        (None, Some(run)) => ModelSpec { source, ..run.model },
        (None, None) => ModelSpec::plain(source),
    };
    let shard = match arguments.shard {
        Some(shard) => {
            let files: Vec<PathBuf> = arguments.samples.iter().chain(&arguments.target).cloned().collect();
            let spec = target.as_ref().map(|target| &target.spec);
            Some(Inputs::new("score", &spec, &files, &model)?.of_shard(shard))
        }
        None => None,
    };
    let mut lines = read_texts(&arguments.samples)?;
    let numbers = arguments.shard.unwrap_or_default().range(lines.len());
    lines.truncate(numbers.end);
    lines.drain(..numbers.start);
    let hub = |source: &ModelSource| matches!(source, ModelSource::Hub(_));
    let asks_a_hub = hub(&model.source) || target.as_ref().is_some_and(|target| target.spec.asks_a_hub());
    let requirements = Requirements { hub: asks_a_hub, ..Requirements::of(arguments.backend) };
    #[cfg_attr(not(feature = "lm"), expect(unused_variables, reason = "a launcher only checks it"))]
    let scoring = Scoring {
        lines,
        model,
        of_run,
        target,
        shard,
        out: arguments.out.clone(),
        backend: arguments.backend,
    };
    with_language_model(requirements, || {
        #[cfg(feature = "lm")]
        match &scoring.target {
            Some(target) => with_target::run(&scoring, target)?,
            None => texts::run(&scoring)?,
        }
        Ok(())
    })
}
