//! A model that runs on a server, as a spec file describes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    ModelSource, Spec,
    allowed::SOME_TEXT,
    command::{SECONDS, WORKERS},
    document::Conflict,
    http::{HEADERS, check_address, resolved_headers},
    names::Alias,
    section::Section,
};

/// How a model on a server is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerSpec {
    /// The kind of server; `None` to find it out.
    pub dialect: Option<ServerDialect>,
    /// The name that the model has on the server; `None` for the only one there.
    pub name: Option<String>,
    /// The number of requests that are under way at a time.
    pub connections: usize,
    /// The time within which a request has to be answered, in seconds.
    pub timeout: f64,
    /// How often a request is sent.
    pub tries: usize,
    /// Headers of the requests, by name, as the file has them: with the names of environment variables, not with their values.
    pub headers: BTreeMap<String, String>,
}

impl Default for ServerSpec {
    fn default() -> Self {
        Self { dialect: None, name: None, connections: 8, timeout: 300.0, tries: 5, headers: BTreeMap::new() }
    }
}

/// A kind of server that runs language models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ServerDialect {
    /// `/v1/completions` of vLLM.
    #[serde(rename = "vllm")]
    Vllm,
    /// `/completion` of llama.cpp's server.
    #[serde(rename = "llama.cpp")]
    LlamaCpp,
    /// `/v1/completions` of disco's own server.
    #[serde(rename = "disco")]
    Disco,
}

impl ServerDialect {
    /// Its name in run files.
    pub fn name(self) -> &'static str {
        DIALECTS.iter().find(|(_, dialect)| *dialect == self).map_or("", |(name, _)| name)
    }
}

/// The fields of [model] for a model on a server.
pub(super) const SERVER_FIELDS: [&str; 6] = ["dialect", "name", "connections", "timeout", "tries", "headers"];

const DIALECTS: [(&str, ServerDialect); 3] =
    [("vllm", ServerDialect::Vllm), ("llama.cpp", ServerDialect::LlamaCpp), ("disco", ServerDialect::Disco)];
const ALIASES: &[Alias] =
    &[("openai", &["vllm", "disco"]), ("llama-cpp", &["llama.cpp"]), ("llama-server", &["llama.cpp"])];

/// The server's address, if `text` looks like one.
///
/// # Errors
/// The problem with it, as the end of a sentence that begins with `text`.
pub(super) fn server_address(text: &str) -> Option<Result<String, String>> {
    let is_address = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
    is_address.then(|| {
        check_address(text, cfg!(feature = "tls"))?;
        match text.contains(['?', '#']) {
            true => Err("has a query or fragment, which the address of a server has not".into()),
            false => Ok(text.trim_end_matches('/').to_owned()),
        }
    })
}

/// Reads the fields of a model on a server; for another `source` none of them may be there.
pub(super) fn read_server(model: &Section<'_>, source: Option<&ModelSource>) -> ServerSpec {
    let default = ServerSpec::default();
    if !matches!(source, Some(ModelSource::Server(_)) | None) {
        for field in SERVER_FIELDS.into_iter().filter(|field| model.has(field)) {
            let allowed = "a source that is a server's address: \"http://HOST:PORT/v1\"";
            model.wrong(field, "is of a model on a server, and this one runs here", allowed);
        }
        return default;
    }
    let headers = model.strings_by_name("headers", HEADERS).unwrap_or_default();
    if let Err((name, problem)) = resolved_headers(&headers) {
        model.wrong("headers", &format!("has `{name}`, which {problem}"), HEADERS);
    }
    let count = |field, default| model.integer(field, &WORKERS).map_or(default, |count| count as usize);
    ServerSpec {
        dialect: model.choice("dialect", &DIALECTS, ALIASES),
        name: model.string("name", &SOME_TEXT),
        connections: count("connections", default.connections),
        timeout: model.number("timeout", &SECONDS).unwrap_or(default.timeout),
        tries: count("tries", default.tries),
        headers,
    }
}

/// Settings that a model on a server cannot have.
pub(super) fn server_conflicts(spec: &Spec, found: &mut Vec<Conflict>) {
    let ModelSource::Server(_) = &spec.model.source else { return };
    let steps = spec.tune.steps;
    let refused = [
        (
            steps > 0,
            "tune.steps",
            format!("is {steps}, but the model runs on a server, and tuning needs its weights here"),
            "0 (quasi-rejection sampling then goes from the base), or a model that runs here",
        ),
        (
            spec.model.choices.is_some(),
            "model.choices",
            "needs a model whose tokens can be chosen here, and this one runs on a server".into(),
            "no choices, or a model that runs here",
        ),
        (
            spec.model.grammar.is_some(),
            "model.grammar",
            "needs a model whose tokens can be chosen here, and this one runs on a server".into(),
            "no grammar, or a model that runs here",
        ),
        (
            spec.contexts.chat.is_some(),
            "contexts.chat",
            "needs the model's chat template, and the model runs on a server".into(),
            "contexts that hold the template's text already (`template`), or a model that runs here",
        ),
    ];
    for (_, field, message, allowed) in refused.into_iter().filter(|(holds, ..)| *holds) {
        // Each of them is a problem of its own, with the same source.
        let others = vec!["model.source".into()];
        found.push(Conflict { others, ..Conflict::new([field], message, allowed) });
    }
}
