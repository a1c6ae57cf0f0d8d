//! How does a model get from a hub onto this machine? Downloads from the Hugging Face Hub, into the cache that Python's
//! huggingface_hub and hf-hub share.

mod cache;
mod client;
mod content;
mod download;
mod environment;
mod files;
mod model;
mod own_file;
mod request;
mod url;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::{
    Error, HubProblem, Result,
    hub::{cache::Cache, client::Client, content::unsound, files::Kind},
};

pub use model::HubModel;

/// The Hugging Face Hub, or a server with the same protocol, and the cache on this machine.
///
/// A model is downloaded to a folder, which [`LanguageModel::load`](crate::LanguageModel::load) and others read:
///
/// ```no_run
/// use disco_lm::{Backend, Generation, Hub, LanguageModel};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let folder = Hub::from_env()?.language_model(&"HuggingFaceTB/SmolLM2-135M@main".parse()?)?;
/// let model = LanguageModel::load(&folder, &Backend::Flex.device()?, Generation::default())?;
/// # Ok(())
/// # }
/// ```
///
/// Files in the cache are used as they are, without asking whether the hub has something newer. A file appears in the
/// cache when all of it has been received: until then it has another name, under which an interrupted download is
/// resumed. Its size is checked, and its SHA-256 if the hub gives one (it does for weights); without a SHA-256, a web page
/// or a pointer of Git LFS is refused. A file of the cache that is one of these, or is damaged and does not have the SHA-256
/// that its name says, is downloaded again.
///
/// The token is sent to the scheme, host and port of the hub's URL alone, and a redirection from `https` to `http` is refused.
/// A download that stalls ([`with_timeout`](Self::with_timeout)) twice in a row is given up; the next call resumes it.
#[derive(Clone)]
pub struct Hub {
    client: Client,
    cache: PathBuf,
    offline: bool,
    progress: Arc<dyn Fn(&HubProgress<'_>) + Send + Sync>,
}

/// The progress of the download of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HubProgress<'a> {
    /// The file's name.
    pub file: &'a str,
    /// Number of bytes received so far.
    pub received: u64,
    /// Number of bytes of the whole file.
    pub size: u64,
}

impl Hub {
    /// A hub, given its URL and the folder of the cache.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an endpoint that is not a URL; [`Error::Io`] for a cache without an absolute path.
    pub fn new(endpoint: &str, cache: &Path) -> Result<Self> {
        let cache = std::path::absolute(cache).map_err(|source| Error::io(cache, source))?;
        Ok(Self { client: Client::new(endpoint)?, cache, offline: false, progress: Arc::new(|_| {}) })
    }

    /// Returns this hub with a token that gives access to private or gated models, or without one.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a token that cannot be sent in a header; the message does not repeat it.
    pub fn with_token(mut self, token: Option<&str>) -> Result<Self> {
        let token = token.map(str::trim).filter(|token| !token.is_empty());
        if token.is_some_and(|token| !token.chars().all(|c| c.is_ascii_graphic())) {
            return Err(Error::invalid("HF_TOKEN", "a token that is not shown", "letters, digits and signs"));
        }
        self.client.requests.token = token.map(String::from);
        Ok(self)
    }

    /// Returns this hub with another timeout than 30 seconds: for a connection, for the response to a request, and for a stall. A
    /// body that brings fewer than 1000 bytes per second, as a mean over the timeout, counts as stalled.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a timeout of zero, or of more than a day.
    pub fn with_timeout(mut self, timeout: Duration) -> Result<Self> {
        if timeout.is_zero() || timeout > Duration::from_secs(24 * 3600) {
            let allowed = "above zero, at most a day";
            return Err(Error::invalid("timeout of a hub", format!("{timeout:?}"), allowed));
        }
        self.client.requests.patience = timeout;
        Ok(self)
    }

    /// This hub, using its cache alone: nothing is asked for over the network.
    #[must_use]
    pub fn offline(self) -> Self {
        Self { offline: true, ..self }
    }

    /// Its URL, without a slash at its end.
    pub fn endpoint(&self) -> &str {
        &self.client.endpoint
    }

    /// The folder of its cache, which may not exist yet.
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// Whether its cache alone is used.
    pub fn is_offline(&self) -> bool {
        self.offline
    }

    /// Whether this build can download from it: `https` needs the feature `hub`.
    pub fn is_compiled(&self) -> bool {
        self.client.is_compiled()
    }

    /// Returns this hub with a callback that is called each time that a download has received some bytes.
    #[must_use]
    pub fn with_progress(self, progress: impl Fn(&HubProgress<'_>) + Send + Sync + 'static) -> Self {
        Self { progress: Arc::new(progress), ..self }
    }

    /// The folder of a language model: configuration, tokenizer, and safetensors, single or sharded. Files that are not in
    /// the cache are downloaded, and no others.
    ///
    /// Or the path of its GGUF file: the file that `model` names, or the only GGUF file of a repository without
    /// safetensors. In the second case the hub is asked each time which file that is.
    ///
    /// # Errors
    /// [`Error::Hub`], with the hub, the model and the problem; [`Error::Feature`] for a file that is not in the cache of
    /// an `https` hub if the feature `hub` is not compiled in, or for a GGUF file without the feature `gguf`;
    /// [`Error::Io`] for a file that cannot be written to the cache; [`Error::Format`] for an invalid index of shards.
    pub fn language_model(&self, model: &HubModel) -> Result<PathBuf> {
        if let Some(file) = model.file() {
            if !cfg!(feature = "gguf") {
                let what = format!("`{model}` is a GGUF file, and those are not compiled in");
                return Err(Error::Feature { what, feature: "gguf" });
            }
            return Ok(self.folder(model, &Kind::of_file(file))?.join(file));
        }
        match self.folder(model, &files::LANGUAGE_MODEL) {
            Err(Error::Hub { problem: HubProblem::GgufFiles { files }, .. }) if files.len() == 1 => {
                self.language_model(&model.with_file(&files[0]))
            }
            other => other,
        }
    }

    /// The folder of a classifier, downloaded as for [`language_model`](Self::language_model).
    ///
    /// # Errors
    /// As [`language_model`](Self::language_model); [`Error::Invalid`] for the name of a GGUF file.
    pub fn classifier(&self, model: &HubModel) -> Result<PathBuf> {
        self.whole_folder(model, &files::CLASSIFIER)
    }

    /// The folder of an adapter in the layout of PEFT, downloaded as for [`language_model`](Self::language_model).
    ///
    /// # Errors
    /// As [`classifier`](Self::classifier).
    pub fn adapter(&self, model: &HubModel) -> Result<PathBuf> {
        self.whole_folder(model, &files::ADAPTER)
    }

    fn whole_folder(&self, model: &HubModel, kind: &Kind<'_>) -> Result<PathBuf> {
        match model.file() {
            None => self.folder(model, kind),
            Some(_) => Err(Error::invalid(
                "model of a hub",
                model,
                "an id without a file: only language models are GGUF files",
            )),
        }
    }

    fn folder(&self, model: &HubModel, kind: &Kind<'_>) -> Result<PathBuf> {
        let cache = Cache::new(&self.cache, model);
        let known = cache.commit(model.revision())?;
        let lacking = match &known {
            Some(commit) => kind.lacking(&cache.snapshot(commit))?,
            None => kind.at_least(),
        };
        let complete = known.filter(|_| lacking.is_empty());
        // Another program may have fetched only the files that it needs itself, so other optional files may still exist on the hub.
        let unsure = |commit: &String| kind.optional.iter().any(|name| !cache.is_settled(commit, name));
        match &complete {
            Some(commit) if self.offline || !self.client.is_compiled() || !unsure(commit) => {
                return Ok(cache.snapshot(commit));
            }
            None if self.offline => {
                return Err(self.problem(model, HubProblem::Offline { lacking, cache: self.cache.clone() }));
            }
            None if !self.client.is_compiled() => {
                let what = format!("`{model}` is to be fetched from {} over TLS", self.client.endpoint);
                return Err(Error::Feature { what, feature: "hub" });
            }
            _ => {}
        }
        let failed = |problem| self.problem(model, problem);
        // A complete snapshot is completed by optional files of its own commit, not replaced by a newer one.
        let listing = match (self.client.listing(model, complete.as_deref()), &complete) {
            (Ok(listing), _) => listing,
            // The snapshot is usable without optional files that could not be looked for.
            (Err(problem), Some(commit)) if problem.is_transient() => return Ok(cache.snapshot(commit)),
            (Err(problem), _) => return Err(failed(problem)),
        };
        let commit = &listing.commit;
        let fetch = |name: &str| self.fetch(&cache, model, commit, name);
        for name in kind.present(&listing.files).map_err(failed)? {
            fetch(name)?;
        }
        for shard in kind.shards(&cache.snapshot(commit))? {
            fetch(&shard)?;
        }
        for name in kind.optional.iter().filter(|name| !listing.files.contains(**name)) {
            cache.settle_absent(commit, name)?;
        }
        cache.refer(model.revision(), commit)?;
        Ok(cache.snapshot(commit))
    }

    /// Downloads a file unless it is in the snapshot, and links it there.
    fn fetch(&self, cache: &Cache, model: &HubModel, commit: &str, name: &str) -> Result<()> {
        if cache.has(commit, name) {
            return Ok(());
        }
        let failed = |problem| self.problem(model, problem);
        let file = self.client.file(model, commit, name).map_err(failed)?;
        // Waits for another process that downloads the same file, after which nothing is left to do.
        let _lock = cache.lock(&file.etag)?;
        let blob = cache.blob(&file.etag);
        let is_there =
            blob.metadata().is_ok_and(|blob| blob.len() == file.size) && unsound(&blob, name).is_none();
        if !is_there {
            let partial = cache.partial(&file.etag)?;
            let progress = |received| (self.progress)(&HubProgress { file: name, received, size: file.size });
            self.client.download(&file, &partial, &progress)?.map_err(failed)?;
            std::fs::rename(&partial, &blob).map_err(|source| Error::io(&blob, source))?;
        }
        cache.link(commit, name, &file.etag)
    }

    fn problem(&self, model: &HubModel, problem: HubProblem) -> Error {
        Error::Hub { endpoint: self.client.endpoint.clone(), model: model.to_string(), problem }
    }
}

impl fmt::Debug for Hub {
    /// Leaves out the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Hub");
        fields.field("endpoint", &self.client.endpoint).field("cache", &self.cache);
        fields.field("offline", &self.offline).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(feature = "hub")))]
mod tests {
    use super::*;

    #[test]
    fn without_tls_only_the_cache_is_used() {
        let cache = tempfile::tempdir().expect("a folder");
        let hub = Hub::new("https://huggingface.co", cache.path()).expect("valid");
        let model: HubModel = "org/name".parse().expect("valid");
        let error = hub.adapter(&model).expect_err("not there").to_string();
        assert!(error.contains("org/name") && error.contains("--features hub"), "{error}");
        let snapshot = cache.path().join("models--org--name/snapshots/main");
        std::fs::create_dir_all(&snapshot).expect("made");
        for name in ["adapter_config.json", "adapter_model.safetensors"] {
            std::fs::write(snapshot.join(name), "{}").expect("written");
        }
        assert_eq!(hub.adapter(&model).expect("found"), snapshot);
    }
}
