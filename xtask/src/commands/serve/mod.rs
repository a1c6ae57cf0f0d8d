//! `cargo xtask serve`: a model, the policy of a finished run, or a target, over HTTP.

#[cfg(all(feature = "lm", feature = "serve"))]
mod model;
#[cfg(all(feature = "lm", feature = "serve"))]
mod target;

use std::{
    fs,
    path::{Path, PathBuf},
};
#[cfg(all(feature = "lm", feature = "serve"))]
use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use clap::Args;

use crate::{
    Backend, Error, Result,
    launch::{Requirements, with_language_model},
    spec::ModelSource,
    stages::TargetFile,
};
#[cfg(all(feature = "lm", feature = "serve"))]
use crate::{
    serving::{Engine, Server, ServerSettings},
    terminal::say,
};

/// The arguments of `cargo xtask serve`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServeArguments {
    /// "embedded", a folder in Hugging Face's format, a GGUF file, an id of the hub (organisation/name[@revision][:FILE.gguf]), or the results of
    /// a run, whose policy is served. With --target it proposes samples.
    #[arg(long, value_name = "MODEL")]
    model: String,
    /// An adapter beside its weights: a folder in PEFT's layout, or the id of one on the hub.
    #[arg(long, value_name = "ADAPTER")]
    adapter: Option<String>,
    /// Serve samples of this target: `target.json` of `fit` or of a run. Each answer says at which rate proposals were accepted, and how far
    /// accepted ones are from the target. Base, decoding and the columns of contexts are those of the target's run file.
    #[arg(long, value_name = "FILE", conflicts_with = "adapter")]
    target: Option<PathBuf>,
    /// The run file that says how the features of the target are computed. [default: `run.toml` beside the target]
    #[arg(long, value_name = "FILE", requires = "target")]
    spec: Option<PathBuf>,
    /// The largest number of proposals for each completion.
    #[arg(long, value_name = "N", requires = "target", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    proposals: u64,
    /// How many samples of the model choose the acceptance rate of a context, the first time that it is asked for.
    #[arg(long, value_name = "N", requires = "target", default_value_t = 512, value_parser = clap::value_parser!(u64).range(2..=1_000_000))]
    pilot: u64,
    /// The name that clients call the model by. [default: MODEL, without the folders above it]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The address to listen at. Others than this machine can ask if it is not a loopback address.
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    host: String,
    /// The port; 0: any that is free.
    #[arg(long, value_name = "PORT", default_value_t = 8000)]
    port: u16,
    /// A file with the bearer token that clients must send.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The most new tokens of a completion.
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    max_tokens: u64,
    /// The most completions of a request.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    max_completions: u64,
    /// The most sequences that are drawn at a time.
    #[arg(long, value_name = "N", default_value_t = 128, conflicts_with = "target", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    batch: u64,
    /// The most requests that wait for a place in the batch; further ones are answered with status 429.
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    max_waiting: u64,
    /// The most bytes of a request.
    #[arg(long, value_name = "BYTES", default_value_t = 4 << 20, value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    max_body: u64,
    /// How many seconds a request may take, waiting included.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// How many seconds requests may go on after SIGTERM or Ctrl-C. A second signal ends the process at once.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    grace: u64,
    /// The seed of requests that have none.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// The backend that computes.
    #[arg(long, value_enum, default_value_t)]
    backend: Backend,
}

/// A model or target to be served; everything has been checked that needs no model.
#[cfg_attr(
    not(all(feature = "lm", feature = "serve")),
    allow(dead_code, reason = "the code that serves is compiled with the language model")
)]
struct Serving<'a> {
    arguments: &'a ServeArguments,
    model: ModelSource,
    adapter: Option<ModelSource>,
    target: Option<TargetFile>,
    name: String,
    token: Option<String>,
}

/// Serves until a signal.
///
/// # Errors
/// [`Error::Argument`] or [`Error::File`] for wrong arguments, before anything is built or loaded; those of the model;
/// [`Error::Serve`] if the address cannot be listened at.
pub(crate) fn run(arguments: &ServeArguments) -> Result<()> {
    let source = ModelSource::from_argument("--model", &arguments.model)?;
    let target = arguments.target.as_deref();
    let target = target.map(|path| TargetFile::read(path, arguments.spec.as_deref())).transpose()?;
    let adapter = arguments.adapter.as_deref();
    let adapter = adapter.map(|adapter| ModelSource::adapter_from_argument("--adapter", adapter));
    let serving = Serving {
        arguments,
        model: source,
        adapter: adapter.transpose()?,
        target,
        name: arguments.name.clone().unwrap_or_else(|| name_of(&arguments.model)),
        token: arguments.token_file.as_deref().map(read_token).transpose()?,
    };
    let sources = [Some(&serving.model), serving.adapter.as_ref()];
    let hub = sources.into_iter().flatten().any(|source| matches!(source, ModelSource::Hub(_)));
    let hub = hub || serving.target.as_ref().is_some_and(|target| target.spec.asks_a_hub());
    with_language_model(Requirements { hub, serve: true, ..Requirements::of(arguments.backend) }, || {
        #[cfg(all(feature = "lm", feature = "serve"))]
        match &serving.target {
            Some(target) => target::run(&serving, target)?,
            None => model::run(&serving)?,
        }
        Ok(())
    })
}

#[cfg(all(feature = "lm", feature = "serve"))]
impl Serving<'_> {
    /// The server, before anything is loaded: a port that is in use is found at once, and clients that are early wait.
    fn bind(&self) -> Result<Server> {
        let arguments = self.arguments;
        let settings = ServerSettings {
            model: self.name.clone(),
            token: self.token.clone(),
            max_body: size(arguments.max_body),
            max_tokens: size(arguments.max_tokens),
            max_completions: size(arguments.max_completions),
            request_time: Duration::from_secs(arguments.timeout),
            grace: Duration::from_secs(arguments.grace),
            seed: arguments.seed,
            ..ServerSettings::default()
        };
        let server = Server::bind(&arguments.host, arguments.port, settings)?;
        if self.token.is_none() && !server.address().ip().to_canonical().is_loopback() {
            say("warning: other machines can ask this server, and need no token (--token-file)");
        }
        Ok(server)
    }

    /// Serves an engine until a signal.
    fn serve(&self, server: Server, engine: Arc<dyn Engine>, stop: &AtomicBool) -> Result<()> {
        say(format_args!("{:<16} {} at http://{}/v1, until Ctrl-C", "serve", self.name, server.address()));
        server.run(engine, stop)?;
        say("stopped");
        Ok(())
    }
}

/// A number on the command line as a size.
#[cfg(all(feature = "lm", feature = "serve"))]
fn size(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// The last part of a path, or all of an id.
fn name_of(model: &str) -> String {
    let path = Path::new(model);
    let last = path.file_name().filter(|_| path.exists()).and_then(|name| name.to_str());
    last.unwrap_or(model).to_owned()
}

/// The token in a file.
fn read_token(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path).map_err(|source| Error::read(path, source))?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let problem = format!("{} holds no token", path.display());
        let allowed = "a file with one token of visible ASCII characters, without spaces".into();
        return Err(Error::Argument { flag: "--token-file", problem, allowed });
    }
    Ok(token.to_owned())
}
