//! `cargo xtask sample`: completions of a model, or of the policy of a finished run.

mod arguments;
#[cfg(feature = "lm")]
mod draw;
mod on_server;
#[cfg(feature = "lm")]
mod target;

use std::{
    fs,
    path::{Path, PathBuf},
};

pub(crate) use arguments::SampleArguments;
use disco_core::Contexts;
use serde::Deserialize;

use crate::{
    Backend, Error, Result, Shard,
    contexts::TextContext,
    launch::{Requirements, with_language_model},
    results::{SUMMARY, keep_file_apart},
    spec::{ChatSpec, ModelSource, ModelSpec, allowed::TEXTS},
    stages::{Inputs, SAMPLE, TargetFile},
    steering::{Accept, SamplerKind},
};

/// The completions that were asked for; everything has been checked.
#[cfg_attr(
    not(feature = "lm"),
    allow(dead_code, reason = "the code that draws is compiled with the language model")
)]
struct Sampling {
    /// The model and how it is decoded.
    model: ModelSpec,
    adapter: Option<ModelSource>,
    /// Whether contexts are messages of a user, behind the message of the system if there is one.
    chat: bool,
    system: Option<String>,
    contexts: Vec<String>,
    decoder: Decoder,
    /// The part of the draws.
    shard: Shard,
    /// The inputs, where only a shard is drawn.
    inputs: Option<Inputs>,
    out: Option<PathBuf>,
    backend: Backend,
}

/// How completions are found.
#[cfg_attr(
    not(feature = "lm"),
    allow(dead_code, reason = "the code that draws is compiled with the language model")
)]
enum Decoder {
    /// `count` completions at random in each context.
    Draw { count: usize, seed: u64 },
    /// The completion whose tokens are each the most probable one.
    Greedy,
    /// The `count` most probable completions in each context that a beam search finds.
    Beam { count: usize, width: usize, length_penalty: f64 },
}

/// The part of an earlier run's summary that is read.
#[derive(Deserialize)]
struct Summary {
    spec: RunSpec,
}

#[derive(Deserialize)]
pub(super) struct RunSpec {
    pub(super) model: ModelSpec,
    contexts: RunContexts,
}

/// The contexts of a run.
#[derive(Default, Deserialize)]
struct RunContexts {
    items: Vec<TextContext>,
    chat: Option<ChatSpec>,
}

/// Samples of a target that were asked for.
#[cfg_attr(
    not(feature = "lm"),
    allow(dead_code, reason = "the code that draws is compiled with the language model")
)]
struct TargetSampling {
    target: TargetFile,
    /// The model that proposes.
    model: ModelSource,
    accept: Accept,
    /// The inputs, where only a shard is drawn.
    inputs: Option<Inputs>,
    out: Option<PathBuf>,
}

/// Samples a target.
fn run_target(arguments: &SampleArguments, path: &Path) -> Result<()> {
    let mut target = TargetFile::read(path, arguments.spec.as_deref())?;
    let model = ModelSource::from_argument("--model", &arguments.model)?;
    // Another decoding is another base, for which the target was not fitted.
    if let Some(flag) = arguments.decoding.given() {
        let problem = "is given with --target, whose run file says how base and model are decoded".into();
        let allowed = "the flag without --target, or `fit` with another run file".into();
        return Err(Error::Argument { flag, problem, allowed });
    }
    target.spec.seed = arguments.seed.unwrap_or(target.spec.seed);
    target.spec.backend = arguments.backend;
    let count = arguments.accept.unwrap_or(1) as u64;
    let accept = Accept {
        sampler: arguments.sampler,
        count,
        proposals: arguments.proposals.map_or(count.saturating_mul(1000), |proposals| proposals as u64),
        is_base: model.is_same(&target.spec.model.source),
        exact: arguments.exact,
        shard: arguments.shard.unwrap_or_default(),
    };
    let allowed = |sampler: &str| format!("`--sampler {sampler}` with it");
    if accept.exact && accept.sampler != SamplerKind::Rejection {
        let problem = "asks for samples of the target itself, and this sampler's only approach it".into();
        return Err(Error::Argument { flag: "--exact", problem, allowed: allowed("rejection") });
    }
    if accept.shard.is_part() && accept.sampler == SamplerKind::Imh {
        let problem = format!("is {}, and the samples of a context are one chain", accept.shard);
        return Err(Error::Argument {
            flag: "--shard",
            problem,
            allowed: allowed("rejection` or `--sampler sir"),
        });
    }
    let settings = (&model, format!("{:?}", accept.sampler), count, accept.proposals, accept.exact);
    let inputs = Inputs::new("sample a target", &target.spec, &[path.to_path_buf()], settings)?;
    let inputs = arguments.shard.map(|shard| inputs.of_shard(shard));
    let hub = target.spec.asks_a_hub() || matches!(model, ModelSource::Hub(_));
    let requirements = Requirements { hub, ..Requirements::of(arguments.backend) };
    #[cfg_attr(not(feature = "lm"), expect(unused_variables, reason = "a launcher only checks it"))]
    let sampling = TargetSampling { target, model, accept, inputs, out: arguments.out.clone() };
    with_language_model(requirements, || {
        #[cfg(feature = "lm")]
        target::run(&sampling)?;
        Ok(())
    })
}

/// Prints completions, or writes them to a file.
///
/// # Errors
/// [`Error::Argument`] or [`Error::File`] for wrong arguments, before anything is built or loaded; those of the model.
pub(crate) fn run(arguments: &SampleArguments) -> Result<()> {
    if let Some(out) = &arguments.out {
        let named = arguments.target.iter().chain(&arguments.spec);
        keep_file_apart(out, named.chain([&PathBuf::from(&arguments.model)]))?;
    }
    if let Some(target) = &arguments.target {
        return run_target(arguments, target);
    }
    let sampling = sampling(arguments)?;
    on_server::draws_on_server(&sampling)?;
    let sources = [Some(&sampling.model.source), sampling.adapter.as_ref()];
    let hub = sources.into_iter().flatten().any(|source| matches!(source, ModelSource::Hub(_)));
    with_language_model(Requirements { hub, ..Requirements::of(sampling.backend) }, || {
        #[cfg(feature = "lm")]
        draw::run(&sampling)?;
        Ok(())
    })
}

fn sampling(arguments: &SampleArguments) -> Result<Sampling> {
    let source = ModelSource::from_argument("--model", &arguments.model)?;
    let adapter = arguments.adapter.as_deref();
    let adapter = adapter.map(|adapter| ModelSource::adapter_from_argument("--adapter", adapter));
    let run = run_of(Path::new(&arguments.model))?;
    let (model, of_run) = match run {
        Some(RunSpec { model, contexts }) => (ModelSpec { source, ..model }, contexts),
        None => (ModelSpec::plain(source), RunContexts::default()),
    };
    let model = arguments.decoding.over(model)?;
    let given = !arguments.context.is_empty();
    let contexts = match &arguments.contexts {
        Some(file) => Contexts::from_text_file(file)?.items().to_vec(),
        None if given => arguments.context.clone(),
        None => of_run.items.iter().map(|context| context.text().to_owned()).collect(),
    };
    // The run's own contexts are shown to the model as in the run.
    let is_own = arguments.contexts.is_none() && !given;
    let chat_of_run = of_run.chat.filter(|_| is_own);
    if contexts.is_empty() {
        let problem = "is missing: what is to be continued?".into();
        let allowed = format!("--context TEXT once or more, or --contexts FILE ({})", TEXTS.words);
        return Err(Error::Argument { flag: "--context", problem, allowed });
    }
    let (adapter, decoder) = (adapter.transpose()?, arguments.decoder()?);
    let chat = arguments.chat || chat_of_run.is_some();
    let system = arguments.system.clone().or_else(|| chat_of_run?.system);
    let drawn = match decoder {
        Decoder::Draw { count, seed } => Some((count, seed)),
        Decoder::Greedy | Decoder::Beam { .. } => None,
    };
    let inputs = Inputs::new(SAMPLE, &model, &[], (&adapter, chat, &system, &contexts, drawn))?;
    Ok(Sampling {
        model,
        adapter,
        chat,
        system,
        contexts,
        decoder,
        shard: arguments.shard.unwrap_or_default(),
        inputs: arguments.shard.map(|shard| inputs.of_shard(shard)),
        out: arguments.out.clone(),
        backend: arguments.backend,
    })
}

/// The settings of the run whose results are in this folder; `None` if it holds no results.
pub(super) fn run_of(folder: &Path) -> Result<Option<RunSpec>> {
    let path = folder.join(SUMMARY);
    if !path.is_file() {
        return Ok(None);
    }
    let text = fs::read_to_string(&path).map_err(|source| Error::read(&path, source))?;
    let summary: Summary = serde_json::from_str(&text)
        .map_err(|error| Error::read(&path, std::io::Error::new(std::io::ErrorKind::InvalidData, error)))?;
    Ok(Some(summary.spec))
}
