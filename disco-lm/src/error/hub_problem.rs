//! What can go wrong between a hub and its cache.

use std::path::PathBuf;

/// Why a hub did not give a model, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HubProblem {
    /// There is no such repository, or whoever asks must not know of it: hubs do not tell which.
    #[error(
        "there is no such model, or it is private{}",
        if *.with_token { " and not for the token that was shown" } else { ": check the id, or set HF_TOKEN to a token of who may read it" }
    )]
    NoRepository {
        /// Whether a token was shown.
        with_token: bool,
    },
    /// The repository has no such branch, tag or commit.
    #[error("it has no revision `{revision}`: check what follows the `@`")]
    NoRevision {
        /// The revision.
        revision: String,
    },
    /// Its files are for those who have accepted its conditions.
    #[error(
        "it is gated: accept its conditions on its page there, and set HF_TOKEN to a token of that account{}",
        if *.with_token { "; the token that was shown is not enough" } else { "" }
    )]
    Gated {
        /// Whether a token was shown.
        with_token: bool,
    },
    /// The repository lacks a file that is needed.
    #[error("it has no {wanted}; there is: {}", if .present.is_empty() { "nothing".into() } else { .present.join(", ") })]
    NoFile {
        /// What was looked for.
        wanted: String,
        /// The files of the repository, the first of them if there are many.
        present: Vec<String>,
    },
    /// The repository holds no weights but GGUF files, and which of them is wanted is not said.
    #[error("it holds GGUF files: put the name of one behind the id, as in `:{}`; there is: {}", .files[0], .files.join(", "))]
    GgufFiles {
        /// Their names, at least one.
        files: Vec<String>,
    },
    /// Nobody answers.
    #[error(
        "it does not answer: {reason}. What is in the cache already needs no connection; HF_ENDPOINT names another hub"
    )]
    Unreachable {
        /// What the system said.
        reason: String,
    },
    /// Only the cache may be looked at, and it does not have all files.
    #[error("HF_HUB_OFFLINE is set, and the cache {} lacks {}", cache.display(), lacking.join(", "))]
    Offline {
        /// The cache.
        cache: PathBuf,
        /// What it lacks.
        lacking: Vec<String>,
    },
    /// A download ended early, again and again.
    #[error(
        "`{file}` broke off after {received} of {size} bytes ({reason}): the same call goes on from there"
    )]
    Interrupted {
        /// The file.
        file: String,
        /// How many bytes are here.
        received: u64,
        /// How many there are.
        size: u64,
        /// How it ended.
        reason: String,
    },
    /// What was received is not what was announced. It has been removed.
    #[error("`{file}` is not what was announced: {reason}. It was removed; try again")]
    Damaged {
        /// The file.
        file: String,
        /// What differs.
        reason: String,
    },
    /// An answer that is not one of a hub.
    #[error("{url} answers {reason}: is this a hub?")]
    Answer {
        /// What was asked for.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The hub refuses, or cannot.
    #[error("{url} answers with status {status}{}", if *.status == 429 { ": too many requests, try later" } else { "" })]
    Status {
        /// What was asked for.
        url: String,
        /// The status code of HTTP.
        status: u16,
    },
}

impl HubProblem {
    /// Whether the same question may be answered at another time.
    pub(crate) fn is_of_the_moment(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Status { status: 429 | 500.., .. })
    }
}
