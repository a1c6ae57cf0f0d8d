//! The kind of a server, and the model there.

use serde::Deserialize;
use serde_json::Value;

use super::server::read;
use crate::{
    http::Client,
    spec::{ServerDialect, ServerSpec},
};

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
    let answer = get(MODELS).map_err(|unanswered| unanswered.problem)?;
    let models = read::<Models>(client, MODELS, &answer)?.data;
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
    let says = |path: &str, field: &str| {
        let told = get(path).ok().and_then(|answer| serde_json::from_slice::<Value>(&answer).ok());
        told.is_some_and(|told| told.get(field).is_some())
    };
    let dialect = match (spec.dialect, model.owned_by.as_deref()) {
        (Some(dialect), _) => dialect,
        (None, Some("vllm")) => ServerDialect::Vllm,
        (None, Some("llamacpp")) => ServerDialect::LlamaCpp,
        (None, Some("disco")) => ServerDialect::Disco,
        (None, _) if says("/props", "default_generation_settings") => ServerDialect::LlamaCpp,
        (None, _) if says("/version", "version") => ServerDialect::Vllm,
        (None, _) => {
            return Err("it does not say which kind of server it is: give `dialect`, one of \"vllm\", \"llama.cpp\", \"disco\"".into());
        }
    };
    let vocabulary = model.meta.as_ref().and_then(|meta| meta.n_vocab);
    Ok(Detected { dialect, name: model.id.clone(), vocabulary })
}
