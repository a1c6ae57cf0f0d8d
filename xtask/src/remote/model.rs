//! A language model on a server, as a distribution.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use disco_core::{
    Distribution, Error as CoreError, Result as CoreResult, Sampled, Score, Scorer, StreamRng, Streams,
};
use rand::Rng;

use super::{
    RemoteSample, completions,
    detect::{Detected, detect},
    llama_cpp,
    memory::Memory,
    next_tokens::NextTokens,
    probe::probe,
    server::{Drawn, NEVER, Server},
};
use crate::{
    Error, Result,
    contexts::TextContext,
    http::{Client, ClientSettings, in_order},
    spec::{ModelSource, ModelSpec, ServerDialect, resolved_headers},
};

/// A language model on a server: a distribution over samples, given a context's text.
///
/// Each sample is a request of its own, whose `seed` comes from the sample's stream: which samples there are does not depend on the
/// number of connections, as far as the server gives the same sample for the same seed. (Servers compute the requests of a moment
/// together, and round differently each time; llama.cpp's has 2^32 seeds, so that two of n samples of a context have the same
/// with a probability of n^2 / 2^33.)
///
/// A sample that was drawn has the log-probability with which it was drawn, whenever it is scored. Other samples are asked of the server:
///
/// | server | scores | cost of a sample |
/// |---|---|---|
/// | vLLM, disco | samples with ids, at temperature 1 without truncation or penalty | a request |
/// | llama.cpp | the same | a request per token |
///
/// The log-probability of a sample is the sum over its tokens, the end token included.
#[derive(Clone, Debug)]
pub struct RemoteModel {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    address: String,
    server: Server,
    connections: usize,
    memory: Mutex<Memory>,
    context_ids: Mutex<HashMap<String, Arc<[u32]>>>,
}

impl RemoteModel {
    /// The model of a run file on its server. Nothing but requests about the text `context` is sent: they check that what the server
    /// samples is what it gives log-probabilities of.
    ///
    /// # Errors
    /// [`Error::Server`] if the server cannot be reached, has no such model, cannot honour a setting of the model, or failed the
    /// checks; the message names the setting to change.
    ///
    /// # Cost
    /// About 130 requests of one token, and two of a sample (of llama.cpp, one of a sample and one per token of it).
    pub fn connect(model: &ModelSpec, context: &str) -> Result<Self> {
        let ModelSource::Server(address) = &model.source else {
            let problem = "this model runs here, and not on a server".to_owned();
            return Err(Error::Server { server: model.source.name(), problem });
        };
        let failed = |problem: String| Error::Server { server: address.clone(), problem };
        let spec = &model.server;
        let headers = resolved_headers(&spec.headers)
            .map_err(|(name, problem)| failed(format!("the header `{name}` {problem}")))?;
        let client = Client::new(&ClientSettings {
            headers: &headers,
            connections: spec.connections,
            timeout: Duration::from_secs_f64(spec.timeout),
            tries: spec.tries,
        })
        .map_err(failed)?;
        let root = address.strip_suffix("/v1").unwrap_or(address).to_owned();
        let Detected { dialect, name, vocabulary } = detect(&client, &root, spec).map_err(failed)?;
        let refused = match dialect {
            ServerDialect::LlamaCpp => llama_cpp::refused(model),
            ServerDialect::Vllm | ServerDialect::Disco => completions::refused(model, dialect),
        };
        if let Some((field, reason)) = refused {
            let name = dialect.name();
            return Err(failed(format!("{name} cannot honour `model.{field}` of the run file: {reason}")));
        }
        let server = Server { client, root, dialect, name, vocabulary, decoding: model.clone() };
        let remote = Self {
            shared: Arc::new(Shared {
                address: address.clone(),
                server,
                connections: spec.connections,
                memory: Mutex::default(),
                context_ids: Mutex::default(),
            }),
        };
        probe(&remote, context).map_err(failed)?;
        Ok(remote)
    }

    /// The facts about the server and the model, for a report.
    pub fn facts(&self) -> BTreeMap<String, String> {
        let Server { dialect, name, vocabulary, .. } = &self.shared.server;
        let facts = [
            ("server", Some(self.shared.address.clone())),
            ("dialect", Some(dialect.name().to_owned())),
            ("name on the server", Some(name.clone())),
            ("vocabulary", vocabulary.map(|count| count.to_string())),
        ];
        facts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }

    /// Whether samples that it has not drawn can be scored.
    pub fn scores_samples(&self) -> bool {
        let decoding = self.decoding();
        match self.shared.server.dialect {
            ServerDialect::LlamaCpp => llama_cpp::scores_samples(decoding),
            ServerDialect::Vllm | ServerDialect::Disco => completions::scores_samples(decoding),
        }
    }

    /// Checks that another model has the same tokens: a sample is scored by their ids.
    ///
    /// # Errors
    /// [`Error::Server`] if the ids of the tokens of the text `context` differ, or are not told.
    #[cfg(feature = "lm")]
    pub(crate) fn check_same_tokens(&self, other: &Self, context: &str) -> Result<()> {
        let ids = |model: &Self| {
            let server = model.shared.address.clone();
            model.context_ids(context).map_err(|problem| Error::Server { server, problem })
        };
        if ids(self)? == ids(other)? {
            return Ok(());
        }
        let problem = format!(
            "the tokens of its model are not those of the model at {}: a text of the one cannot be scored by the other",
            self.shared.address
        );
        Err(Error::Server { server: other.shared.address.clone(), problem })
    }

    /// A text behind a context, with the ids of its tokens in the running text. No end token is among them: a server does not tell its id.
    ///
    /// # Errors
    /// [`Error::Server`] if the server does not tell the ids, or the end of the context and the beginning of the text are one token.
    #[cfg(feature = "lm")]
    pub(crate) fn sample_of(&self, context: &str, text: &str) -> Result<RemoteSample> {
        let told = || {
            let before = self.context_ids(context)?;
            let all = self.ids(&format!("{context}{text}"))?;
            let ids = all.strip_prefix(&*before).filter(|ids| !ids.is_empty());
            ids.map(<[u32]>::to_vec).ok_or_else(|| {
                format!("the tokens of {text:?} behind its context do not begin where the context ends: give the ids of its tokens (`tokens`)")
            })
        };
        let server = self.shared.address.clone();
        let ids = told().map_err(|problem| Error::Server { server, problem })?;
        Ok(RemoteSample { text: text.into(), tokens: ids.len(), ids, finished: false })
    }

    pub(super) fn decoding(&self) -> &ModelSpec {
        &self.shared.server.decoding
    }

    pub(super) fn dialect(&self) -> ServerDialect {
        self.shared.server.dialect
    }

    pub(super) fn connections(&self) -> usize {
        self.shared.connections
    }

    /// A sample from the random numbers of a stream.
    pub(super) fn draw(&self, context: &str, rng: StreamRng) -> Drawn {
        let server = &self.shared.server;
        match server.dialect {
            ServerDialect::LlamaCpp => llama_cpp::draw(server, context, self.seed(rng)),
            ServerDialect::Vllm | ServerDialect::Disco => completions::draw(server, context, self.seed(rng)),
        }
    }

    /// The most probable tokens behind a context, and one that is drawn; `raw` without any setting.
    pub(super) fn next_tokens(&self, context: &str, rng: StreamRng, raw: bool) -> Result<NextTokens, String> {
        let (server, seed) = (&self.shared.server, self.seed(rng));
        match server.dialect {
            ServerDialect::LlamaCpp => llama_cpp::next_tokens(server, context, seed, raw),
            ServerDialect::Vllm | ServerDialect::Disco => {
                let plain = ModelSpec::plain(server.decoding.source.clone());
                let decoding = if raw { &plain } else { &server.decoding };
                completions::next_tokens(server, decoding, context, seed)
            }
        }
    }

    /// A token that is drawn behind a context.
    pub(super) fn next_token(&self, context: &str, rng: StreamRng) -> Result<String, String> {
        match self.shared.server.dialect {
            ServerDialect::LlamaCpp => llama_cpp::next_token(&self.shared.server, context, self.seed(rng)),
            ServerDialect::Vllm | ServerDialect::Disco => {
                self.next_tokens(context, rng, false).map(|tokens| tokens.drawn)
            }
        }
    }

    /// The log-probability of a sample, asked of the server.
    pub(super) fn score(&self, context: &str, sample: &RemoteSample) -> Result<f64, String> {
        if !self.scores_samples() {
            return Err(format!(
                "{} gives no log-probabilities of samples that it has not drawn itself under these settings: that takes temperature 1, \
                 no truncation and no penalty",
                self.dialect().name()
            ));
        }
        if sample.ids.is_empty() {
            return Err("a sample is scored by the ids of its tokens, and this one has none".into());
        }
        let (server, context) = (&self.shared.server, self.context_ids(context)?);
        match server.dialect {
            ServerDialect::LlamaCpp => llama_cpp::score(server, &context, &sample.ids),
            ServerDialect::Vllm | ServerDialect::Disco => {
                Ok(completions::score(server, &context, &sample.ids)?.iter().sum())
            }
        }
    }

    /// Whether the server gives a probability of 0 to a token of the context, behind all of it: nothing that is not asked to cut tokens off
    /// does. llama.cpp's server scores without any setting, so that it would not show there.
    pub(super) fn has_impossible_tokens(&self, context: &str) -> Result<bool, String> {
        let (server, context) = (&self.shared.server, self.context_ids(context)?);
        match server.dialect {
            ServerDialect::LlamaCpp => Ok(false),
            ServerDialect::Vllm | ServerDialect::Disco => {
                // As many as a sample may have: the model has room for them.
                let most = self.decoding().max_new_tokens;
                let improbable: Vec<u32> =
                    context.iter().rev().chain(&*context).copied().take(most).collect();
                Ok(completions::score(server, &context, &improbable)?
                    .iter()
                    .any(|log_prob| *log_prob <= NEVER))
            }
        }
    }

    /// The ids of a context's tokens, asked once.
    fn context_ids(&self, context: &str) -> Result<Arc<[u32]>, String> {
        if let Some(ids) = locked(&self.shared.context_ids).get(context) {
            return Ok(Arc::clone(ids));
        }
        let ids: Arc<[u32]> = self.ids(context)?.into();
        locked(&self.shared.context_ids).insert(context.to_owned(), Arc::clone(&ids));
        Ok(ids)
    }

    /// The ids of a text's tokens, asked of the server.
    fn ids(&self, text: &str) -> Result<Vec<u32>, String> {
        let server = &self.shared.server;
        match server.dialect {
            ServerDialect::LlamaCpp => llama_cpp::context_ids(server, text),
            ServerDialect::Vllm | ServerDialect::Disco => completions::context_ids(server, text),
        }
    }

    /// The seed of a request: the first random number of a stream, as far as the server's numbers go.
    fn seed(&self, mut rng: StreamRng) -> u64 {
        match self.shared.server.dialect {
            ServerDialect::LlamaCpp => (rng.next_u64() >> 32) % llama_cpp::SEEDS,
            // Programs that hold numbers of JSON as f64 lose nothing.
            ServerDialect::Vllm | ServerDialect::Disco => rng.next_u64() >> 11,
        }
    }

    fn failed(&self, problem: String) -> CoreError {
        CoreError::failed(format!("the server {}", self.shared.address), problem)
    }
}

impl Scorer<TextContext, RemoteSample> for RemoteModel {
    fn log_scores(&self, context: &TextContext, samples: &[&RemoteSample]) -> CoreResult<Vec<Score>> {
        let scores = in_order(samples, self.shared.connections, |_, sample| {
            let known = locked(&self.shared.memory).get(context.text(), sample);
            known.map_or_else(|| self.score(context.text(), sample), Ok)
        });
        Ok(scores.map_err(|problem| self.failed(problem))?.into_iter().map(Ok).collect())
    }

    fn scorer_name(&self) -> Cow<'_, str> {
        self.shared.address.as_str().into()
    }
}

impl Distribution<TextContext, RemoteSample> for RemoteModel {
    fn sample(&self, context: &TextContext, streams: &Streams) -> CoreResult<Vec<Sampled<RemoteSample>>> {
        let drawn = self.sample_each(&[context], std::slice::from_ref(streams))?;
        Ok(drawn.into_iter().flatten().collect())
    }

    fn sample_each(
        &self,
        contexts: &[&TextContext],
        streams: &[Streams],
    ) -> CoreResult<Vec<Vec<Sampled<RemoteSample>>>> {
        CoreError::check_length("streams, one run per context", contexts.len(), streams.len())?;
        let mut jobs = Vec::new();
        for (context, streams) in contexts.iter().zip(streams) {
            jobs.extend((0..streams.len()).map(|index| (context.text(), streams, index)));
        }
        let drawn = in_order(&jobs, self.shared.connections, |_, (context, streams, index)| {
            self.draw(context, streams.rng(*index))
        });
        let drawn = drawn.map_err(|problem| self.failed(problem))?;
        let mut memory = locked(&self.shared.memory);
        let mut remembered = drawn.into_iter().zip(&jobs).map(|((value, log_prob), (context, ..))| {
            let log_prob = memory.insert(context, &value, log_prob);
            Sampled { value, log_prob }
        });
        Ok(streams.iter().map(|streams| remembered.by_ref().take(streams.len()).collect()).collect())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
