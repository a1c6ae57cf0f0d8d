//! Features whose values a server gives.

use std::{collections::BTreeMap, fmt, thread, time::Duration};

use disco_core::Score;
use serde_json::{Value, json};
use ureq::{
    Agent, Body,
    http::{HeaderName, HeaderValue, Response, StatusCode},
};

use super::{
    ExternalScorer, ScoredSample,
    external_scorer::{BatchSource, Rows},
    protocol::{self, BatchFault, LONGEST_ANSWER},
    secrets::Secrets,
};
use crate::{
    Error, Result,
    spec::{Dialect, check_url},
};

/// The id of a request to a server: its answer needs none to be found.
const ID: u64 = 0;
/// The pause before the second try; each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause, also where a server asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The column of a context that is the label of OpenRLHF.
const LABEL: &str = "label";

/// A server that gives the values of features, and how it is asked.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// The address: `http://HOST[:PORT][/PATH]`.
    pub url: String,
    /// The form of requests and answers.
    pub dialect: Dialect,
    /// The name of the model in the dialect of LLaMA-Factory.
    pub model: String,
    /// Headers of the requests, which may be secret.
    pub headers: Vec<(String, String)>,
    /// The number of requests that are under way at a time, at least one.
    pub workers: usize,
    /// The largest number of samples of a request, at least one.
    pub batch: usize,
    /// The time within which a request has to be answered.
    pub timeout: Duration,
    /// How often a batch is sent, if the server cannot be reached or answers with status 429 or 500 to 599. The pauses between the
    /// tries grow from half a second, or are as long as the server says (at most a minute).
    pub tries: usize,
}

impl fmt::Debug for HttpSettings {
    /// Without the values of headers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, dialect, model, headers, workers, batch, timeout, tries } = self;
        let headers: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("HttpSettings")
            .field("url", url)
            .field("dialect", dialect)
            .field("model", model)
            .field("headers", &headers)
            .field("workers", workers)
            .field("batch", batch)
            .field("timeout", timeout)
            .field("tries", tries)
            .finish()
    }
}

impl ExternalScorer {
    /// A scorer that asks a server. It is not asked before there are samples. Proxies that the environment names are not used.
    ///
    /// # Errors
    /// [`Error::Scorer`] for an address or header of another form, and for more than one feature where the dialect has one.
    pub fn from_server(features: Vec<String>, settings: HttpSettings) -> Result<Self> {
        // A password in the address is not shown.
        let shown = settings.url.rsplit('@').next().unwrap_or_default().to_owned();
        let refused = |problem: String| Error::Scorer { scorer: shown.clone(), problem };
        check_url(&settings.url).map_err(|problem| refused(format!("the address {problem}")))?;
        if features.len() != 1 && settings.dialect != Dialect::Disco {
            let problem = format!("gives one feature in its dialect; {} are asked of it", features.len());
            return Err(refused(problem));
        }
        let mut headers = Vec::new();
        for (name, value) in &settings.headers {
            match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                (Ok(name), Ok(value)) => headers.push((name, value)),
                _ => return Err(refused(format!("the header `{name}` is none that can be sent"))),
            }
        }
        let agent = Agent::config_builder()
            .timeout_global(Some(settings.timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections_per_host(settings.workers)
            .proxy(None)
            .user_agent(concat!("disco/", env!("CARGO_PKG_VERSION")))
            .build();
        let (name, workers, batch) = (settings.url.clone(), settings.workers, settings.batch);
        let secrets = Secrets::of(settings.headers.iter().map(|(_, value)| value.as_str()));
        let server = Server { settings, headers, secrets, agent: agent.into() };
        Ok(Self::new(name, features, Box::new(server), workers, batch))
    }
}

/// A server and the connections to it.
struct Server {
    settings: HttpSettings,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The words of the headers.
    secrets: Secrets,
    agent: Agent,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// A try that gave no answer.
struct Fault {
    problem: String,
    /// Whether another try can help, and the pause that the server asks for.
    again: Option<Option<Duration>>,
}

impl Server {
    fn try_once(&self, request: &[u8]) -> std::result::Result<Vec<u8>, Fault> {
        let unreachable = |cause: ureq::Error| Fault { problem: cause.to_string(), again: Some(None) };
        let mut post = self.agent.post(&self.settings.url).content_type("application/json");
        for (name, value) in &self.headers {
            post = post.header(name, value);
        }
        let mut response = post.send(request).map_err(unreachable)?;
        let status = response.status();
        let is_busy = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
        let again = is_busy.then(|| retry_after(&response));
        let body = response.body_mut().with_config().limit(LONGEST_ANSWER as u64).read_to_vec();
        if status.is_success() {
            return body.map_err(|cause| match cause {
                ureq::Error::BodyExceedsLimit(limit) => {
                    Fault { problem: format!("its answer has more than {} MiB", limit >> 20), again: None }
                }
                cause => Fault { problem: format!("its answer broke off: {cause}"), again: Some(None) },
            });
        }
        let said = body.map_or_else(|_| String::new(), |body| format!(": {}", self.secrets.beginning(&body)));
        let target = response.headers().get("location").and_then(|target| target.to_str().ok());
        let target = target.map_or_else(String::new, |target| {
            format!(" to {}, which is not followed", self.secrets.beginning(target.as_bytes()))
        });
        Err(Fault { problem: format!("it answered with status {status}{target}{said}"), again })
    }

    /// The request of a batch in the server's dialect.
    fn request(&self, features: &[String], samples: &[ScoredSample<'_>]) -> Vec<u8> {
        let whole =
            || samples.iter().map(|sample| format!("{}{}", sample.context, sample.text)).collect::<Vec<_>>();
        match self.settings.dialect {
            Dialect::Disco => protocol::request(ID, features, samples),
            Dialect::OpenRlhf => {
                let prompts: Vec<&str> = samples.iter().map(|sample| sample.context).collect();
                let labels: Vec<_> = samples.iter().map(|sample| sample.columns.get(LABEL)).collect();
                json!({"query": whole(), "prompts": prompts, "labels": labels}).to_string().into_bytes()
            }
            Dialect::LlamaFactory => {
                json!({"model": self.settings.model, "messages": whole()}).to_string().into_bytes()
            }
        }
    }

    fn rows(
        &self,
        answer: &[u8],
        features: &[String],
        samples: usize,
    ) -> std::result::Result<Rows, BatchFault> {
        let field = match self.settings.dialect {
            Dialect::Disco => return protocol::rows(answer, ID, features, samples, &self.secrets),
            Dialect::OpenRlhf => "rewards",
            Dialect::LlamaFactory => "scores",
        };
        let answer: BTreeMap<String, Value> = serde_json::from_slice(answer)
            .map_err(|cause| protocol::unreadable(answer, &cause, &self.secrets))?;
        let Some(Value::Array(values)) = answer.get(field) else {
            return Err(format!("its answer has no list `{field}`").into());
        };
        if values.len() != samples {
            return Err(format!("it answered with {} values for {samples} samples", values.len()).into());
        }
        let row = |(index, value): (usize, &Value)| -> std::result::Result<Vec<Score>, BatchFault> {
            // Servers that keep a dimension for the batch's columns give lists of one number.
            let value = match value {
                Value::Array(only) if only.len() == 1 => &only[0],
                other => other,
            };
            Ok(vec![protocol::score(value, &features[0], index, &self.secrets)?])
        };
        values.iter().enumerate().map(row).collect()
    }
}

impl BatchSource for Server {
    fn ask(
        &self,
        _: usize,
        features: &[String],
        samples: &[ScoredSample<'_>],
    ) -> std::result::Result<Rows, BatchFault> {
        let request = self.request(features, samples);
        // Also in what a library says of the answer.
        let hide = |fault: BatchFault| BatchFault { problem: self.secrets.hide(&fault.problem), ..fault };
        let mut pause = FIRST_PAUSE;
        let mut tries = 1;
        loop {
            match self.try_once(&request) {
                Ok(answer) => return self.rows(&answer, features, samples.len()).map_err(hide),
                Err(Fault { again: Some(asked), .. }) if tries < self.settings.tries => {
                    thread::sleep(asked.unwrap_or(pause).min(LONGEST_PAUSE));
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    tries += 1;
                }
                Err(fault) => {
                    let tried = if tries == 1 { String::new() } else { format!(" (tried {tries} times)") };
                    return Err(hide(format!("{}{tried}", fault.problem).into()));
                }
            }
        }
    }
}

/// The seconds of the header `Retry-After`; a date is not read.
fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let seconds = response.headers().get("retry-after")?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
