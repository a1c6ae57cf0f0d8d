//! The score of one sample, and the ways in which scoring it can fail.

use std::fmt;

use crate::{Error, Result, numerics::check_log_scores};

/// The answer of a scorer or feature for one sample of a batch: a number, or that the sample is to be left out.
pub type Score = std::result::Result<f64, Skipped>;

/// A sample that could not be scored and is to be left out, and counted, while the run goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped(Box<(String, String)>);

impl Skipped {
    /// `by` could not score the sample because of `reason`.
    pub fn new(by: impl Into<String>, reason: impl Into<String>) -> Self {
        Self(Box::new((by.into(), reason.into())))
    }

    /// The scorer or feature that gave up.
    pub fn by(&self) -> &str {
        &self.0.0
    }

    /// Why it gave up.
    pub fn reason(&self) -> &str {
        &self.0.1
    }
}

/// All scores of a batch where none may be skipped: `by` must have given `expected` numbers.
pub(crate) fn every_score(by: &str, scores: Vec<Score>, expected: usize) -> Result<Vec<f64>> {
    Error::check_length("scores, one per sample", expected, scores.len())?;
    let scores: Vec<f64> = scores
        .into_iter()
        .collect::<std::result::Result<_, _>>()
        .map_err(|skipped| Error::failed(by, skipped))?;
    check_log_scores(by, &scores)?;
    Ok(scores)
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} skipped the sample: {}", self.by(), self.reason())
    }
}

impl std::error::Error for Skipped {}

/// How a computation that can fail says whether the run can go on.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure {
    /// Leave this sample out, count it, and go on.
    Skip(String),
    /// Stop the run.
    Stop(Box<dyn std::error::Error + Send + Sync>),
}

impl Failure {
    /// The score of one sample of a batch, or the error that stops the run; `by` names the scorer or feature that
    /// failed.
    pub(crate) fn named(self, by: &str) -> Result<Score> {
        match self {
            Self::Skip(reason) => Ok(Err(Skipped::new(by, reason))),
            Self::Stop(source) => Err(Error::failed(by, source)),
        }
    }
}
