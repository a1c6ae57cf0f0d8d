//! The problems of getting a model from a hub or from its cache.

use std::path::PathBuf;

/// The reason why a hub did not give a model; its message says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HubProblem {
    /// There is no such repository, or it is private: a hub does not say which of the two.
    #[error(
        "there is no such model, or it is private{}",
        if *.with_token { " and not for the token that was shown" } else { ": check the id, or set HF_TOKEN to a token of who may read it" }
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
    /// The repository is gated: only accounts that have accepted its conditions may download its files.
    #[error(
        "it is gated: accept its conditions on its page there, and set HF_TOKEN to a token of that account{}",
        if *.with_token { "; the token that was shown is not enough" } else { "" }
    )]
    Gated {
        /// Whether the request had a token.
        with_token: bool,
    },
    /// The repository lacks a file that is needed.
    #[error("it has no {wanted}; there is: {}", if .present.is_empty() { "nothing".into() } else { .present.join(", ") })]
    NoFile {
        /// The file, or the kind of file, that is needed.
        wanted: String,
        /// The files of the repository, the first of them if there are many.
        present: Vec<String>,
    },
    /// The repository holds its weights only as GGUF files, and the id names none of them.
    #[error("it holds GGUF files: put the name of one behind the id, as in `:{}`; there is: {}", .files[0], .files.join(", "))]
    GgufFiles {
        /// Their names, at least one.
        files: Vec<String>,
    },
    /// The hub does not answer.
    #[error(
        "it does not answer: {reason}. What is in the cache already needs no connection; HF_ENDPOINT names another hub"
    )]
    Unreachable {
        /// The error of the system.
        reason: String,
    },
    /// Only the cache may be used, and it does not have all files.
    #[error("HF_HUB_OFFLINE is set, and the cache {} lacks {}", cache.display(), lacking.join(", "))]
    Offline {
        /// The cache.
        cache: PathBuf,
        /// The files that it lacks.
        lacking: Vec<String>,
    },
    /// A download ended early, in several attempts.
    #[error(
        "`{file}` broke off after {received} of {size} bytes ({reason}): the same call goes on from there"
    )]
    Interrupted {
        /// The file.
        file: String,
        /// The number of bytes that were received.
        received: u64,
        /// The number of bytes of the file.
        size: u64,
        /// The reason why it ended.
        reason: String,
    },
    /// A downloaded file differs from the one that the hub announced. The file has been removed.
    #[error("`{file}` is not what was announced: {reason}. It was removed; try again")]
    Damaged {
        /// The file.
        file: String,
        /// The difference.
        reason: String,
    },
    /// The server gave an answer that a hub does not give.
    #[error("{url} answers {reason}: is this a hub?")]
    Answer {
        /// The URL of the request.
        url: String,
        /// The problem with the answer.
        reason: String,
    },
    /// The hub answered with an HTTP status for which there is no other variant.
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
    pub(crate) fn is_of_the_moment(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Status { status: 429 | 500.., .. })
    }
}
