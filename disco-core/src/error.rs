//! Errors of sampling, scoring and averaging.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

/// A result whose error is disco-core's [`enum@Error`], unless another is named.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a distribution, scorer or estimate could not answer.
///
/// The message of an error is complete: it contains the messages of the errors behind it (`cause`), which
/// [`source`](std::error::Error::source) therefore does not return.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A parameter is outside its range.
    #[error("{field} is {value}; allowed: {allowed}")]
    Invalid {
        /// The parameter.
        field: Cow<'static, str>,
        /// The value it was given.
        value: String,
        /// The values it may have.
        allowed: Cow<'static, str>,
    },
    /// Two lengths that must be equal differ.
    #[error("{what}: expected {expected} values, got {actual}")]
    Length {
        /// The values that were counted.
        what: Cow<'static, str>,
        /// How many there should be.
        expected: usize,
        /// The number found.
        actual: usize,
    },
    /// There is nothing to compute from.
    #[error("{what} is empty")]
    Empty {
        /// The name of the empty input.
        what: Cow<'static, str>,
    },
    /// A source gave NaN, or +inf where a log-score or log-probability is wanted.
    #[error("{by} gave {value} for sample {index}")]
    NotANumber {
        /// The scorer, feature or distribution that gave it.
        by: String,
        /// The position of the sample in the batch.
        index: usize,
        /// The value: NaN or +inf.
        value: f64,
    },
    /// Every importance weight is zero: the samples say nothing of the target.
    #[error("all {count} importance weights are zero: no sample lies in the target's support")]
    ZeroWeights {
        /// How many weights there were.
        count: usize,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        cause: std::io::Error,
    },
    /// A line of a file cannot be read as a record.
    #[error("{}, line {line}: {}", path.display(), with_sources(cause.as_ref()))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The reason.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A user's scorer, feature or model cannot go on.
    #[error("{by} failed: {}", with_sources(cause.as_ref()))]
    Failed {
        /// The scorer, feature or model.
        by: String,
        /// Its error.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// An [`Error::Invalid`]: `field` is `value`, and only `allowed` would do.
    pub fn invalid(
        field: impl Into<Cow<'static, str>>,
        value: impl ToString,
        allowed: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::Invalid { field: field.into(), value: value.to_string(), allowed: allowed.into() }
    }

    /// An [`Error::Failed`] that keeps `cause`.
    pub fn failed(by: impl Into<String>, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Failed { by: by.into(), cause: cause.into() }
    }

    /// The same error for a larger batch: an [`Error::NotANumber`] names its sample by `place(index)`, the position in the larger
    /// batch of sample `index` of this one. Other errors stay as they are.
    pub fn at_sample(self, place: impl Fn(usize) -> usize) -> Self {
        match self {
            Self::NotANumber { by, index, value } => Self::NotANumber { by, index: place(index), value },
            other => other,
        }
    }

    /// An [`Error::Malformed`] at a line counted from 1.
    pub(crate) fn malformed(
        path: &Path,
        line: usize,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Malformed { path: path.to_path_buf(), line, cause: cause.into() }
    }

    /// Checks that the number of values is `expected`; `what` names them in the error.
    pub fn check_length(what: &'static str, expected: usize, actual: usize) -> Result<()> {
        if expected == actual { Ok(()) } else { Err(Self::Length { what: what.into(), expected, actual }) }
    }
}

/// An error and the errors behind it in one line, each once: the whole message, so that `source()` need not repeat it.
fn with_sources(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let more = source.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = source.source();
    }
    text
}
