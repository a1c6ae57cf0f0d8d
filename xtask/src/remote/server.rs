//! A server and the requests to it.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::RemoteSample;
use crate::{
    http::{Client, Unanswered},
    spec::{ModelSpec, ServerDialect},
};

/// A log-probability of this or less is that of what cannot be drawn: vLLM writes this number for `-inf`, and llama.cpp a far smaller one.
pub(super) const NEVER: f64 = -9999.0;
/// A log-probability that is above 0 by no more than this is one of 0 whose rounding is the server's.
const ROUNDING: f64 = 1e-3;

/// A server, and the model there.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) client: Client,
    /// The address without `/v1`.
    pub(super) root: String,
    pub(super) dialect: ServerDialect,
    /// The name of the model there.
    pub(super) name: String,
    /// The number of tokens of its vocabulary, if it tells that.
    pub(super) vocabulary: Option<usize>,
    /// The model's settings.
    pub(super) decoding: ModelSpec,
}

/// The sample of a request with its log-probability, or the problem, as a sentence about the server.
pub(super) type Drawn = Result<(RemoteSample, f64), String>;

/// A sample as the server tells of it.
pub(super) struct Told {
    pub(super) sample: RemoteSample,
    /// Of each token; `None` where the server tells none.
    pub(super) log_probs: Vec<Option<f64>>,
}

impl Server {
    /// Sends a request, and reads the answer.
    ///
    /// # Errors
    /// The problem, as a sentence about the server.
    pub(super) fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, String> {
        self.try_post(path, body).map_err(|unanswered| unanswered.problem)
    }

    /// As [`post`](Self::post), with the status of an answer that is an error.
    pub(super) fn try_post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, Unanswered> {
        let answer = self.client.post(&format!("{}{path}", self.root), body.to_string().as_bytes())?;
        read(&self.client, path, &answer).map_err(|problem| Unanswered { problem, status: None })
    }

    /// Checks a sample, and adds its log-probabilities up.
    ///
    /// # Errors
    /// The problem, as a sentence about the server.
    pub(super) fn checked(&self, told: Told) -> Drawn {
        let Told { sample, log_probs } = told;
        let most = self.decoding.max_new_tokens;
        if sample.tokens == 0 {
            return Err("it gave a sample without tokens, or without their log-probabilities".into());
        }
        if sample.tokens != log_probs.len() {
            return Err(format!(
                "it gave {} log-probabilities for the {} tokens of a sample",
                log_probs.len(),
                sample.tokens
            ));
        }
        if sample.tokens > most || (!sample.finished && sample.tokens < most) {
            return Err(format!(
                "it gave {} tokens and cut the sample there, where `max_new_tokens` is {most}: its context length or a limit of its \
                 own is in the way",
                sample.tokens
            ));
        }
        let mut sum = 0.0;
        for log_prob in log_probs {
            let log_prob = one_log_prob(log_prob)?;
            if log_prob <= NEVER {
                return Err("it drew a token to which it gives the probability 0".into());
            }
            sum += log_prob;
        }
        Ok((sample, sum))
    }
}

/// The log-probability of a token.
///
/// # Errors
/// The problem, as a sentence about the server.
pub(super) fn one_log_prob(told: Option<f64>) -> Result<f64, String> {
    match told {
        Some(log_prob) if log_prob <= ROUNDING => Ok(log_prob.min(0.0)),
        Some(log_prob) => Err(format!("it gave a token the log-probability {log_prob}, which is above 0")),
        None => Err("it gave a token without its log-probability".into()),
    }
}

/// The answer to a request.
///
/// # Errors
/// The problem, as a sentence about the server.
pub(super) fn read<T: DeserializeOwned>(client: &Client, path: &str, answer: &[u8]) -> Result<T, String> {
    serde_json::from_slice(answer).map_err(|cause| {
        let shown = client.secrets().beginning(answer);
        format!("its answer to {path} is not as documented ({cause}): {shown}")
    })
}
