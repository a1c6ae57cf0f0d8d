//! What can go wrong when distributions are sampled, scored and averaged.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

/// A result whose error is disco-core's [`enum@Error`], unless another is named.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a distribution, scorer or estimate could not answer.
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
    /// Two things that must have equal lengths have not.
    #[error("{what}: expected {expected} values, got {actual}")]
    Length {
        /// What was counted.
        what: Cow<'static, str>,
        /// How many there should be.
        expected: usize,
        /// How many there are.
        actual: usize,
    },
    /// There is nothing to compute from.
    #[error("{what} is empty")]
    Empty {
        /// What is empty.
        what: Cow<'static, str>,
    },
    /// A source gave NaN, or +inf where a log-score or log-probability is wanted.
    #[error("{by} gave {value} for sample {index}")]
    NotANumber {
        /// The scorer, feature or distribution that gave it.
        by: String,
        /// The position of the sample in the batch.
        index: usize,
        /// What it gave: NaN or +inf.
        value: f64,
    },
    /// Every importance weight is zero: the samples say nothing of the target.
    #[error("all {count} importance weights are zero: no sample lies in the target's support")]
    ZeroWeights {
        /// How many weights there were.
        count: usize,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line of a file is not what it should be.
    #[error("{}, line {line}: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A user's scorer, feature or model cannot go on.
    #[error("{by} failed: {source}")]
    Failed {
        /// What failed.
        by: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
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

    /// An [`Error::Failed`] that keeps `source` as its cause.
    pub fn failed(
        by: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Failed { by: by.into(), source: source.into() }
    }

    /// An [`Error::Malformed`] at a line counted from 1.
    pub(crate) fn malformed(
        path: &Path,
        line: usize,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Malformed { path: path.to_path_buf(), line, source: source.into() }
    }

    /// Checks that there are `expected` values of `what`.
    pub fn check_length(what: &'static str, expected: usize, actual: usize) -> Result<()> {
        if expected == actual { Ok(()) } else { Err(Self::Length { what: what.into(), expected, actual }) }
    }
}
