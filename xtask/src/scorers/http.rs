//! Features whose values a server gives.

use std::{collections::BTreeMap, fmt, time::Duration};

use disco_core::Score;
use serde_json::{Value, json};

use super::{
    ExternalScorer, ScoredSample,
    external_scorer::{BatchSource, Rows},
    protocol::{self, BatchFault},
};
use crate::{
    Error, Result,
    http::{Client, ClientSettings},
    spec::{Dialect, check_url},
};

/// The id of a request to a server: its answer needs none to be found.
const ID: u64 = 0;
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
        let client = Client::new(&ClientSettings {
            headers: &settings.headers,
            connections: settings.workers,
            timeout: settings.timeout,
            tries: settings.tries,
        })
        .map_err(refused)?;
        let (name, workers, batch) = (settings.url.clone(), settings.workers, settings.batch);
        let server = Server { settings, client };
        Ok(Self::new(name, features, Box::new(server), workers, batch))
    }
}

/// A server and the connections to it.
#[derive(Debug)]
struct Server {
    settings: HttpSettings,
    client: Client,
}

impl Server {
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
            Dialect::Disco => return protocol::rows(answer, ID, features, samples, self.client.secrets()),
            Dialect::OpenRlhf => "rewards",
            Dialect::LlamaFactory => "scores",
        };
        let answer: BTreeMap<String, Value> = serde_json::from_slice(answer)
            .map_err(|cause| protocol::unreadable(answer, &cause, self.client.secrets()))?;
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
            Ok(vec![protocol::score(value, &features[0], index, self.client.secrets())?])
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
        let hide =
            |fault: BatchFault| BatchFault { problem: self.client.secrets().hide(&fault.problem), ..fault };
        let answer = self.client.post(&self.settings.url, &request);
        let answer = answer.map_err(|unanswered| BatchFault::from(unanswered.problem))?;
        self.rows(&answer, features, samples.len()).map_err(hide)
    }
}
