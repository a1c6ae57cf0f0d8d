//! The problems of getting a model from a hub or from its cache.

use std::path::PathBuf;

/// The problem with fetching a model from a hub. The message says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HubProblem {
    /// There is no such repository, or it is private and the token, if any, does not give access: a hub does not tell which.
    #[error(
        "there is no such model, or it is private{}",
        if *.with_token { " and the given token has no access to it" } else { ": check the id, or set HF_TOKEN to a token that has access" }
    )]
    NoRepository {
        /// Whether the request had a token.
        with_token: bool,
    },
    /// The repository has no such branch, tag or commit.
    #[error("it has no revision `{revision}`: check what follows the `@`")]
    NoRevision {
        /// The revision.
        revision: String,
    },
    /// The repository is gated: only accounts that have accepted its conditions can download its files.
    #[error(
        "it is gated: accept its conditions on its page there, and set HF_TOKEN to a token of that account{}",
        if *.with_token { "; the given token is not enough" } else { "" }
    )]
    Gated {
        /// Whether the request had a token.
        with_token: bool,
    },
    /// The repository lacks a file that is needed.
    #[error("it has no {wanted}; there is: {}", if .present.is_empty() { "nothing".into() } else { .present.join(", ") })]
    NoFile {
        /// The file, or a description of the files, that the model needs.
        wanted: String,
        /// The files of the repository; only the first ones if there are many.
        present: Vec<String>,
    },
    /// The repository has no weights other than GGUF files, and the id names none of them.
    #[error("it holds GGUF files: add the name of one to the id, as in `:{}`; there is: {}", .files[0], .files.join(", "))]
    GgufFiles {
        /// Their names, at least one.
        files: Vec<String>,
    },
    /// The hub does not answer.
    #[error(
        "it does not answer: {reason}. What is in the cache already needs no connection; HF_ENDPOINT names another hub"
    )]
    Unreachable {
        /// The error of the connection.
        reason: String,
    },
    /// The hub is offline ([`Hub::offline`](crate::Hub::offline), `HF_HUB_OFFLINE`), and the cache lacks some files.
    #[error("the hub is offline (HF_HUB_OFFLINE, or by this program), and the cache {} lacks {}", cache.display(), lacking.join(", "))]
    Offline {
        /// The folder of the cache.
        cache: PathBuf,
        /// The files that the cache lacks.
        lacking: Vec<String>,
    },
    /// A download broke off in each of several attempts. A later call continues it.
    #[error(
        "`{file}` broke off after {received} of {size} bytes ({reason}): the same call goes on from there"
    )]
    Interrupted {
        /// The file.
        file: String,
        /// Number of bytes received so far.
        received: u64,
        /// Number of bytes of the whole file.
        size: u64,
        /// The error of the last attempt.
        reason: String,
    },
    /// The size or hash of a downloaded file is not the one that the hub announced. The file has been removed.
    #[error("`{file}` is not what was announced: {reason}. It was removed; try again")]
    Damaged {
        /// The file.
        file: String,
        /// The difference.
        reason: String,
    },
    /// The answer does not follow the protocol of a hub.
    #[error("{url} answers {reason}: is this a hub?")]
    Answer {
        /// The URL of the request.
        url: String,
        /// The reason.
        reason: String,
    },
    /// The hub answers with an HTTP status that means none of the other problems, such as 429 (too many requests) or 500.
    #[error("{url} answers with status {status}{}", if *.status == 429 { ": too many requests, try later" } else { "" })]
    Status {
        /// The URL of the request.
        url: String,
        /// The HTTP status code.
        status: u16,
    },
}

impl HubProblem {
    /// Whether the same request may succeed at another time.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Status { status: 429 | 500.., .. })
    }
}
