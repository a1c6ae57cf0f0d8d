//! `cargo xtask sample`: what a model, or the policy of a finished run, says.

mod arguments;
#[cfg(feature = "lm")]
mod draw;

use std::{
    fs,
    path::{Path, PathBuf},
};

pub(crate) use arguments::SampleArguments;
use disco_core::Contexts;
use serde::Deserialize;

use crate::{
    Error, ModelSource, Result,
    backend::{self, Backend},
    output::SUMMARY,
    spec::{ModelSpec, allowed::TEXTS},
};

/// What is to be drawn; all of it has been checked.
#[cfg_attr(not(feature = "lm"), allow(dead_code, reason = "what draws is compiled with the language model"))]
struct Sampling {
    /// The model and how it is decoded.
    model: ModelSpec,
    adapter: Option<ModelSource>,
    /// Whether contexts are what a user says, after what the system says if that is something.
    chat: bool,
    system: Option<String>,
    contexts: Vec<String>,
    decoder: Decoder,
    out: Option<PathBuf>,
    backend: Backend,
}

/// How completions are found.
#[cfg_attr(not(feature = "lm"), allow(dead_code, reason = "what draws is compiled with the language model"))]
enum Decoder {
    /// So many at random in each context.
    Draw { count: usize, seed: u64 },
    /// The most probable token each time.
    Greedy,
    /// So many of the most probable ones in each context, as far as a beam of this width finds them.
    Beam { count: usize, width: usize, length_penalty: f64 },
}

/// What is read of an earlier run's summary.
#[derive(Deserialize)]
struct Summary {
    spec: RunSpec,
}

#[derive(Deserialize)]
struct RunSpec {
    model: ModelSpec,
    contexts: Vec<String>,
}

/// Draws here if what it takes is compiled in, else runs cargo again to have it.
///
/// # Errors
/// [`Error::Argument`] or [`Error::File`] for what is wrong with the arguments, before anything is built or loaded; those of
/// the model.
pub(crate) fn run(arguments: &SampleArguments) -> Result<()> {
    let sampling = sampling(arguments)?;
    let sources = [Some(&sampling.model.source), sampling.adapter.as_ref()];
    let asks_a_hub = sources.into_iter().flatten().any(|source| matches!(source, ModelSource::Hub(_)));
    #[cfg(feature = "lm")]
    if backend::is_compiled(sampling.backend, asks_a_hub) {
        return draw::run(&sampling);
    }
    backend::replace(backend::relaunch(sampling.backend, asks_a_hub)?)
}

fn sampling(arguments: &SampleArguments) -> Result<Sampling> {
    let here = Path::new("");
    let found = ModelSource::find(&arguments.model, here);
    let source = Error::argument("--model", &arguments.model, found)?;
    let adapter = arguments.adapter.as_ref().map(|adapter| {
        let found = ModelSource::find_with(adapter, here, "adapter_config.json");
        let allowed = "a folder in the layout of PEFT, or the id of one on the hub".into();
        found.map_err(|problem| Error::Argument {
            flag: "--adapter",
            problem: format!("\"{adapter}\" {problem}"),
            allowed,
        })
    });
    let run = run_of(Path::new(&arguments.model))?;
    let (model, of_run) = match run {
        Some(RunSpec { model, contexts }) => (ModelSpec { source, ..model }, contexts),
        None => (ModelSpec::plain(source), Vec::new()),
    };
    let model = arguments.decoding.over(model)?;
    let given = !arguments.context.is_empty();
    let contexts = match &arguments.contexts {
        Some(file) => Contexts::from_text_file(file)?.items().to_vec(),
        None if given => arguments.context.clone(),
        None => of_run,
    };
    if contexts.is_empty() {
        let problem = "is missing: what is to be continued?".into();
        let allowed = format!("--context TEXT once or more, or --contexts FILE ({})", TEXTS.words);
        return Err(Error::Argument { flag: "--context", problem, allowed });
    }
    Ok(Sampling {
        model,
        adapter: adapter.transpose()?,
        chat: arguments.chat,
        system: arguments.system.clone(),
        contexts,
        decoder: arguments.decoder()?,
        out: arguments.out.clone(),
        backend: arguments.backend,
    })
}

/// What is known of the run whose results are in this folder; none if it is another folder.
fn run_of(folder: &Path) -> Result<Option<RunSpec>> {
    let path = folder.join(SUMMARY);
    if !path.is_file() {
        return Ok(None);
    }
    let text = fs::read_to_string(&path).map_err(|source| Error::read(&path, source))?;
    let summary: Summary = serde_json::from_str(&text)
        .map_err(|error| Error::read(&path, std::io::Error::new(std::io::ErrorKind::InvalidData, error)))?;
    Ok(Some(summary.spec))
}
