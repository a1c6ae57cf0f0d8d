//! The client of a hub: its listings and the descriptions of its files, and the problems that its responses stand for.

use std::{collections::BTreeSet, io::Read};

use serde_json::Value;
use ureq::{Body, http::Response};

use crate::{
    HubProblem, Result,
    hub::{
        model::{HubModel, is_name},
        request::{Answer, Method, Request, Requests, foreign_encoding, header},
        url,
    },
};

/// The most bytes of a list of files.
const LONGEST_LIST: u64 = 1 << 25;

/// A connection to a hub.
#[derive(Clone)]
pub(crate) struct Client {
    /// The URL, without a slash at its end.
    pub(crate) endpoint: String,
    pub(crate) requests: Requests,
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
    pub(crate) commit: String,
    /// Identifies the content: the SHA-256 in hexadecimal digits for large files.
    pub(crate) etag: String,
    pub(crate) size: u64,
}

impl Client {
    pub(crate) fn new(endpoint: &str) -> Result<Self> {
        let endpoint = url::endpoint(endpoint)?;
        Ok(Self { requests: Requests::new(&endpoint), endpoint })
    }

    /// Whether this build can connect to the hub: `https` needs TLS.
    pub(crate) fn is_compiled(&self) -> bool {
        cfg!(feature = "hub") || !self.endpoint.to_ascii_lowercase().starts_with("https:")
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
        let request = Request { method: Method::Get, from: None, size: 0 };
        let (response, _) = self.requests.send(request, &url, |_| false)?;
        self.check(&response, &url, model, None)?;
        let no_answer = |reason: String| HubProblem::Answer { url: url.clone(), reason };
        if let Some(reason) = foreign_encoding(response.headers()) {
            return Err(no_answer(reason));
        }
        let mut bytes = Vec::new();
        let read = self.requests.body(response).take(LONGEST_LIST + 1).read_to_end(&mut bytes);
        read.map_err(|error| HubProblem::Unreachable { reason: error.to_string() })?;
        if bytes.len() as u64 > LONGEST_LIST {
            return Err(no_answer(format!("with a list of files of more than {LONGEST_LIST} bytes")));
        }
        let json: Value = serde_json::from_slice(&bytes)
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
    /// A redirection to the server that stores contents is not followed if it comes with the hash and size of the content:
    /// the storage server gives only the hash of its own copy.
    pub(crate) fn file(&self, model: &HubModel, commit: &str, name: &str) -> Answer<RemoteFile> {
        let url = format!("{}/{}/resolve/{commit}/{name}", self.endpoint, model.repository());
        let request = Request { method: Method::Head, from: None, size: 0 };
        let is_enough = |headers: &_| {
            header(headers, "x-linked-size").is_some() && header(headers, "x-linked-etag").is_some()
        };
        let (response, asked) = self.requests.send(request, &url, is_enough)?;
        if !response.status().is_redirection() {
            self.check(&response, &asked, model, Some(name))?;
        }
        let headers = response.headers();
        let no_answer = |reason: String| HubProblem::Answer { url: url.clone(), reason };
        if let Some(reason) = foreign_encoding(headers).or_else(|| other_commit(&response, commit)) {
            return Err(no_answer(reason));
        }
        let etag = ["x-linked-etag", "etag"].into_iter().find_map(|name| header(headers, name)).map(unquoted);
        let size = ["x-linked-size", "content-length"].into_iter().find_map(|name| header(headers, name));
        match (etag.filter(|etag| is_etag(etag)), size.and_then(|size| size.parse().ok())) {
            (Some(etag), Some(size)) => {
                Ok(RemoteFile { name: name.into(), url, commit: commit.into(), etag: etag.into(), size })
            }
            _ => Err(no_answer("without an ETag or a size".into())),
        }
    }

    /// The problem that an unsuccessful response stands for; `file` is the requested file of the model.
    fn check(
        &self,
        response: &Response<Body>,
        url: &str,
        model: &HubModel,
        file: Option<&str>,
    ) -> Answer<()> {
        let with_token = self.requests.token.is_some();
        // The header tells more than the status, which may be the same for a repository that does not exist and for one that
        // the user may not see.
        let code = header(response.headers(), "x-error-code");
        Err(match (response.status().as_u16(), code, file) {
            (200, _, _) => return Ok(()),
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

impl RemoteFile {
    /// The SHA-256 of the content in lower case, if the hub gives it.
    pub(crate) fn sha256(&self) -> Option<String> {
        sha256_of(&self.etag)
    }
}

/// The SHA-256 that an ETag is, in lower case; `None` for an ETag of another kind.
pub(crate) fn sha256_of(etag: &str) -> Option<String> {
    let is_hash = etag.len() == 64 && etag.chars().all(|digit| digit.is_ascii_hexdigit());
    is_hash.then(|| etag.to_ascii_lowercase())
}

/// An ETag without its quotes and its mark of weakness.
pub(crate) fn unquoted(etag: &str) -> &str {
    etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"')
}

/// Whether an ETag can name a content in the cache, and is not taken for one of the cache's other files.
fn is_etag(etag: &str) -> bool {
    is_name(etag) && ![".disco-partial", ".incomplete", ".lock"].iter().any(|end| etag.ends_with(end))
}

/// Why a response is not of the commit that was asked for, if it says so.
pub(crate) fn other_commit(response: &Response<Body>, commit: &str) -> Option<String> {
    let found = header(response.headers(), "x-repo-commit").filter(|found| *found != commit)?;
    Some(format!("with a file of commit `{found}` in the place of `{commit}`"))
}
