//! The HTTP client of a hub: requests, and the problems that its responses stand for.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;
use ureq::{
    Agent,
    config::RedirectAuthHeaders,
    http::{HeaderMap, Response},
};

use crate::{
    Error, HubProblem, Result,
    hub::model::{HubModel, is_name},
};

/// Timeout for making a connection, for the response, and for each read of its body.
const PATIENCE: Duration = Duration::from_secs(30);

/// The most redirections that are followed for one file.
const REDIRECTS: usize = 5;

/// A result whose error is the reason why the hub did not fulfil a request.
pub(crate) type Answer<T> = std::result::Result<T, HubProblem>;

/// A connection to a hub.
#[derive(Clone)]
pub(crate) struct Client {
    /// The URL, without a slash at its end.
    pub(crate) endpoint: String,
    pub(crate) token: Option<String>,
    agent: Agent,
}

/// The files of a repository at one commit.
pub(crate) struct Listing {
    pub(crate) commit: String,
    pub(crate) files: BTreeSet<String>,
}

/// A file of a repository.
pub(crate) struct RemoteFile {
    pub(crate) name: String,
    pub(crate) url: String,
    /// Identifies the content: the SHA-256 in hexadecimal digits for large files.
    pub(crate) etag: String,
    pub(crate) size: u64,
}

impl Client {
    pub(crate) fn new(endpoint: &str) -> Result<Self> {
        let endpoint = endpoint.trim_end_matches('/');
        let is_url = |scheme| endpoint.strip_prefix(scheme).is_some_and(|host| !host.is_empty());
        if !is_url("https://") && !is_url("http://") {
            return Err(Error::invalid(
                "HF_ENDPOINT",
                format!("{endpoint:?}"),
                "https://HOST or http://HOST",
            ));
        }
        let agent = Agent::config_builder()
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE))
            .http_status_as_error(false)
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .user_agent(concat!("disco-lm/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { endpoint: endpoint.into(), token: None, agent: agent.into() })
    }

    /// Whether this build can connect to the hub: `https` needs TLS.
    pub(crate) fn is_compiled(&self) -> bool {
        cfg!(feature = "hub") || self.endpoint.starts_with("http://")
    }

    /// The commit of a model's revision and its files. `commit`, if given, replaces the revision.
    pub(crate) fn listing(&self, model: &HubModel, commit: Option<&str>) -> Answer<Listing> {
        let revision = commit.unwrap_or(model.revision());
        let url = format!(
            "{}/api/models/{}/revision/{}",
            self.endpoint,
            model.repository(),
            revision.replace('/', "%2F")
        );
        let mut response = self.get(&url, None)?;
        self.check(&response, &url, model, None)?;
        let no_answer = |reason: String| HubProblem::Answer { url: url.clone(), reason };
        let text = response.body_mut().read_to_string().map_err(unreachable)?;
        let json: Value = serde_json::from_str(&text)
            .map_err(|error| no_answer(format!("with text that is not JSON ({error})")))?;
        let commit = json["sha"].as_str().filter(|commit| is_name(commit));
        let files = json["siblings"].as_array().map(|files| {
            files.iter().filter_map(|file| file["rfilename"].as_str()).map(String::from).collect()
        });
        match (commit, files) {
            (Some(commit), Some(files)) => Ok(Listing { commit: commit.into(), files }),
            _ => Err(no_answer("without `sha` and `siblings`".into())),
        }
    }

    /// URL, ETag and size of a file, before it is downloaded.
    ///
    /// Redirections within the hub are followed, but not a redirection to the server that stores contents: the hub gives
    /// the hash of the content, the storage server only that of its own copy.
    pub(crate) fn file(&self, model: &HubModel, commit: &str, name: &str) -> Answer<RemoteFile> {
        let url = format!("{}/{}/resolve/{commit}/{name}", self.endpoint, model.repository());
        let mut asked = url.clone();
        for _ in 0..=REDIRECTS {
            let request = self.agent.head(&asked).config().max_redirects(0).build();
            let request = request.header("Accept-Encoding", "identity");
            let request = match &self.token {
                Some(token) => request.header("Authorization", format!("Bearer {token}")),
                None => request,
            };
            let response = request.call().map_err(unreachable)?;
            let headers = response.headers();
            if let Some(path) = header(headers, "location").filter(|path| path.starts_with('/')) {
                asked = format!("{}{path}", origin(&self.endpoint));
                continue;
            }
            if !response.status().is_redirection() {
                self.check(&response, &asked, model, Some(name))?;
            }
            let first = |names: [&str; 2]| names.into_iter().find_map(|name| header(headers, name));
            let etag = first(["x-linked-etag", "etag"])
                .map(|etag| etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"').to_string());
            let size = first(["x-linked-size", "content-length"]).and_then(|size| size.parse().ok());
            return match (etag.filter(|etag| is_name(etag)), size) {
                (Some(etag), Some(size)) => Ok(RemoteFile { name: name.into(), url, etag, size }),
                _ => Err(HubProblem::Answer { url: asked, reason: "without an ETag or a size".into() }),
            };
        }
        Err(HubProblem::Answer { url, reason: format!("with more than {REDIRECTS} redirections") })
    }

    /// Requests `url`, from byte `from` on if it is given.
    pub(crate) fn get(&self, url: &str, from: Option<u64>) -> Answer<Response<ureq::Body>> {
        let mut request = self.agent.get(url).header("Accept-Encoding", "identity");
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if let Some(from) = from {
            request = request.header("Range", format!("bytes={from}-"));
        }
        request.call().map_err(unreachable)
    }

    /// The problem that an unsuccessful response stands for; `file` is the requested file of the model.
    fn check(
        &self,
        response: &Response<ureq::Body>,
        url: &str,
        model: &HubModel,
        file: Option<&str>,
    ) -> Answer<()> {
        let with_token = self.token.is_some();
        // The header tells more than the status, which may be the same for a repository that does not exist and for one that
        // the user may not see.
        let code = header(response.headers(), "x-error-code");
        Err(match (response.status().as_u16(), code, file) {
            (status, _, _) if (200..300).contains(&status) => return Ok(()),
            (_, Some("GatedRepo"), _) | (403, None, _) => HubProblem::Gated { with_token },
            (_, Some("RevisionNotFound"), _) => HubProblem::NoRevision { revision: model.revision().into() },
            (_, Some("EntryNotFound"), Some(file)) | (404, None, Some(file)) => {
                HubProblem::NoFile { wanted: format!("`{file}`"), present: Vec::new() }
            }
            (_, Some("RepoNotFound"), _) | (401 | 404, _, _) => HubProblem::NoRepository { with_token },
            (status, _, _) => HubProblem::Status { url: url.into(), status },
        })
    }
}

/// A header's value, if it is text.
pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Scheme, host and port of a URL that has a scheme.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    url[host..].find('/').map_or(url, |end| &url[..host + end])
}

fn unreachable(error: ureq::Error) -> HubProblem {
    HubProblem::Unreachable { reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_that_are_not_urls_are_refused() {
        for endpoint in ["", "huggingface.co", "http://", "ftp://host"] {
            let error = Client::new(endpoint).err().expect(endpoint).to_string();
            assert!(error.contains("HF_ENDPOINT"), "{error}");
        }
    }

    #[test]
    fn the_origin_of_a_url_has_no_path() {
        assert_eq!(origin("http://host:1/mirror/x"), "http://host:1");
        assert_eq!(origin("https://host"), "https://host");
    }
}
