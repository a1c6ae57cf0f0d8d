//! The kind of a server, and the model there.

use serde::Deserialize;
use serde_json::Value;

use super::server::read;
use crate::{
    http::Client,
    spec::{ServerDialect, ServerSpec},
};

/// The owner of a model in the list of each kind of server.
const OWNERS: [(&str, ServerDialect); 3] =
    [("vllm", ServerDialect::Vllm), ("llamacpp", ServerDialect::LlamaCpp), ("disco", ServerDialect::Disco)];

/// A path of `transformers serve` alone, in the description of its interface.
const TRANSFORMERS: &str = "/paths/~1load_model";
/// `transformers serve` (5.23) leaves `logprobs` of requests out with a warning in its own log.
const NO_LOG_PROBS: &str = "it is `transformers serve`, which gives no log-probabilities of what it samples; allowed: the same weights as a \
                            folder here, or behind `disco serve`, vLLM or llama.cpp's server";

/// The facts that a server tells about itself.
pub(super) struct Detected {
    pub(super) dialect: ServerDialect,
    /// The name of the model there.
    pub(super) name: String,
    /// The number of tokens of its vocabulary, if it tells that.
    pub(super) vocabulary: Option<usize>,
}

#[derive(Deserialize)]
struct Models {
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
    owned_by: Option<String>,
    #[serde(default)]
    meta: Option<Meta>,
}

#[derive(Deserialize)]
struct Meta {
    n_vocab: Option<usize>,
}

/// Finds the model, and, unless it is given, the kind of the server at `root`: by the list of its models, or by what it has beside it.
///
/// # Errors
/// The problem, as a sentence about the server.
pub(super) fn detect(client: &Client, root: &str, spec: &ServerSpec) -> Result<Detected, String> {
    const MODELS: &str = "/v1/models";
    let get = |path: &str| client.get(&format!("{root}{path}"));
    let says = |path: &str, field: &str| {
        let told = get(path).ok().and_then(|answer| serde_json::from_slice::<Value>(&answer).ok());
        told.is_some_and(|told| told.pointer(field).is_some())
    };
    let listed = get(MODELS);
    let is_there = listed.as_ref().map_or_else(|unanswered| unanswered.status.is_some(), |_| true);
    let listed = listed.map_err(|unanswered| unanswered.problem);
    let listed = listed.and_then(|answer| Ok(read::<Models>(client, MODELS, &answer)?.data));
    let owner = listed.as_ref().ok().and_then(|models| models.first()?.owned_by.as_deref());
    let is_known = OWNERS.iter().any(|(name, _)| owner == Some(name));
    // The list of `transformers serve` has the models of the hub's cache, or is an error: it says nothing about the model there.
    if is_there && !is_known && says("/openapi.json", TRANSFORMERS) {
        return Err(NO_LOG_PROBS.into());
    }
    let models = listed?;
    let names: Vec<&str> = models.iter().map(|model| model.id.as_str()).collect();
    let list = || client.secrets().beginning(names.join(", ").as_bytes());
    let model = match &spec.name {
        Some(name) => models.iter().find(|model| model.id == *name),
        None if models.len() > 1 => {
            return Err(format!("it has {} models: choose one by `name`, of {}", models.len(), list()));
        }
        None => models.first(),
    };
    let model = model.ok_or_else(|| match &spec.name {
        Some(name) => format!("it has no model \"{name}\"; allowed: {}", list()),
        None => "it has no model".into(),
    })?;
    let own = OWNERS.iter().find(|(name, _)| model.owned_by.as_deref() == Some(name));
    let dialect = match (spec.dialect, own) {
        (Some(dialect), _) => dialect,
        (None, Some((_, dialect))) => *dialect,
        (None, _) if says("/props", "/default_generation_settings") => ServerDialect::LlamaCpp,
        (None, _) if says("/version", "/version") => ServerDialect::Vllm,
        (None, _) => {
            return Err("it does not say which kind of server it is: give `dialect`, one of \"vllm\", \"llama.cpp\", \"disco\"".into());
        }
    };
    let vocabulary = model.meta.as_ref().and_then(|meta| meta.n_vocab);
    Ok(Detected { dialect, name: model.id.clone(), vocabulary })
}
