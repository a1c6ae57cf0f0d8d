//! A feature whose values a server gives, as a spec file describes it.

use std::{
    collections::BTreeMap,
    env::{self, VarError},
};

use serde::{Deserialize, Serialize};

use super::{
    allowed::SOME_TEXT,
    command::{BATCH, SECONDS, WORKERS, asked_name},
    names::Alias,
    section::Section,
};

/// A feature whose values a server gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpSpec {
    /// The form of requests and answers.
    pub dialect: Dialect,
    /// The feature that is asked of the server, in the dialect `disco`.
    pub feature: String,
    /// The name of the model, in the dialect `llamafactory`.
    pub model: Option<String>,
    /// Whether its values are 0 and 1.
    pub binary: bool,
    /// How it is asked. Its values do not depend on it.
    pub asking: HttpAsking,
}

/// The place of a server, and how it is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpAsking {
    /// The address: `http://HOST[:PORT][/PATH]`.
    pub url: String,
    /// The number of requests that are under way at a time.
    pub workers: usize,
    /// The largest number of samples of a request.
    pub batch: usize,
    /// The time within which a request has to be answered, in seconds.
    pub timeout: f64,
    /// How often a request is sent.
    pub tries: usize,
    /// Headers of the requests, by name, as the file has them: with the names of environment variables, not with their values.
    pub headers: BTreeMap<String, String>,
}

/// The form of the requests to a server, and of its answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Dialect {
    /// The protocol of programs: a batch of samples with contexts and columns, one value per sample and feature.
    #[default]
    Disco,
    /// A remote reward model of OpenRLHF: `{"query": [context + text], "prompts": [context], "labels": [..]}`, answered by
    /// `{"rewards": [..]}`. A label is the column `label` of the context, or null. One feature.
    OpenRlhf,
    /// A reward model of LLaMA-Factory: `{"model": "model", "messages": [context + text]}`, answered by `{"scores": [..]}`. One
    /// feature.
    LlamaFactory,
}

/// The fields of a feature of this kind, beside those of all kinds.
pub(super) const HTTP_FIELDS: &[&str] =
    &["url", "dialect", "feature", "model", "binary", "workers", "batch", "timeout", "tries", "headers"];

const DIALECTS: [(&str, Dialect); 3] =
    [("disco", Dialect::Disco), ("openrlhf", Dialect::OpenRlhf), ("llamafactory", Dialect::LlamaFactory)];
const ALIASES: &[Alias] = &[("open-rlhf", &["openrlhf"]), ("llama-factory", &["llamafactory"])];

const URL: &str = "http://HOST[:PORT][/PATH]";
pub(super) const HEADERS: &str =
    "headers whose values name environment variables: { Authorization = \"Bearer ${NAME}\" }";

/// Headers that the request itself has.
const OWN_HEADERS: [&str; 4] = ["content-type", "content-length", "host", "transfer-encoding"];

impl HttpAsking {
    /// The headers with the values of the environment's variables.
    ///
    /// # Errors
    /// The name of a header, and the problem with it.
    pub(crate) fn resolved_headers(&self) -> Result<Vec<(String, String)>, (String, String)> {
        resolved_headers(&self.headers)
    }
}

/// Headers with the values of the environment's variables.
///
/// # Errors
/// The name of a header, and the problem with it.
pub(crate) fn resolved_headers(
    headers: &BTreeMap<String, String>,
) -> Result<Vec<(String, String)>, (String, String)> {
    let resolve = |(name, value): (&String, &String)| {
        let refused = |problem| (name.clone(), problem);
        Ok((name.clone(), resolved(name, value).map_err(refused)?))
    };
    headers.iter().map(resolve).collect()
}

/// Reads the fields of a feature of this kind.
pub(super) fn read_http(section: &Section<'_>) -> HttpSpec {
    section.require("url", URL);
    let url = section.string("url", &SOME_TEXT).unwrap_or_default();
    if !section.is_doubtful("url")
        && section.has("url")
        && let Err(problem) = check_url(&url)
    {
        section.wrong("url", &problem, URL);
    }
    let dialect = section.choice("dialect", &DIALECTS, ALIASES).unwrap_or_default();
    for (field, own) in [("feature", Dialect::Disco), ("model", Dialect::LlamaFactory)] {
        if section.has(field) && dialect != own && !section.is_doubtful("dialect") {
            let name = DIALECTS.iter().find(|(_, dialect)| *dialect == own).map_or("", |(name, _)| name);
            section.wrong(field, "has no place in this dialect", &format!("dialect = \"{name}\" beside it"));
        }
    }
    let headers = section.strings_by_name("headers", HEADERS).unwrap_or_default();
    let count = |field, allowed| section.integer(field, allowed).map(|count| count as usize);
    let asking = HttpAsking {
        url,
        workers: count("workers", &WORKERS).unwrap_or(1),
        batch: count("batch", &BATCH).unwrap_or(64),
        timeout: section.number("timeout", &SECONDS).unwrap_or(60.0),
        tries: count("tries", &WORKERS).unwrap_or(5),
        headers,
    };
    if let Err((name, problem)) = asking.resolved_headers() {
        section.wrong("headers", &format!("has `{name}`, which {problem}"), HEADERS);
    }
    HttpSpec {
        dialect,
        feature: asked_name(section),
        model: section.string("model", &SOME_TEXT),
        binary: section.boolean("binary").unwrap_or(false),
        asking,
    }
}

/// Checks an address of a server that is asked without TLS.
///
/// # Errors
/// The problem, as the end of a sentence that begins with the field.
pub(crate) fn check_url(url: &str) -> Result<(), String> {
    match url.split_once("://") {
        Some(("https", _)) => {
            Err("is an address for TLS, which is not spoken here: name a proxy of your own in between".into())
        }
        _ => check_address(url, false),
    }
}

/// Checks an address, which may be one for TLS if this program has that.
///
/// # Errors
/// As [`check_url`].
pub(super) fn check_address(url: &str, has_tls: bool) -> Result<(), String> {
    let rest = match url.split_once("://") {
        Some(("http", rest)) => rest,
        Some(("https", rest)) if has_tls => rest,
        Some(("https", _)) => {
            return Err("is an address for TLS, which this program was built without: build it with the feature `tls`, or \
                        name a proxy of your own in between"
                .into());
        }
        _ => return Err("is no address of the form allowed".into()),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("has a user name or password in its address, which belongs into `headers`".into());
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err("has a port that is no number up to 65535".into());
    }
    let is_plain = |c: char| c.is_ascii_graphic();
    if host.is_empty() || !rest.chars().all(is_plain) {
        return Err("is no address of the form allowed".into());
    }
    Ok(())
}

/// The value of a header, its variables replaced by their values.
///
/// # Errors
/// The problem, as the end of a sentence that begins with the header's name. No value of a variable is part of it.
fn resolved(name: &str, value: &str) -> Result<String, String> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(is_token) {
        return Err("is no name of a header".into());
    }
    if OWN_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
        return Err("is part of every request already".into());
    }
    let mut parts = value.split("${");
    let mut resolved = parts.next().unwrap_or_default().to_owned();
    let mut variables = 0;
    for part in parts {
        let Some((variable, rest)) = part.split_once('}') else {
            return Err("has a `${` without `}`".into());
        };
        let found = env::var(variable).map_err(|cause| match cause {
            VarError::NotPresent => format!("needs the environment variable {variable}, which is not set"),
            VarError::NotUnicode(_) => {
                format!("needs the environment variable {variable}, which is not UTF-8")
            }
        })?;
        if !found.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
            return Err(format!(
                "needs the environment variable {variable}, which has characters that no header may have"
            ));
        }
        resolved.push_str(&found);
        resolved.push_str(rest);
        variables += 1;
    }
    if variables == 0 {
        return Err("names no environment variable: secrets do not belong into a run file".into());
    }
    if !resolved.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        return Err("has characters that no header may have".into());
    }
    Ok(resolved)
}
