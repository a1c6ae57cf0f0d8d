//! The lines of kept samples: each has the number of its sample, and a checksum of itself and of all lines before it.

use std::{fmt::Write as _, ops::Range};

use disco_core::Sampled;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use crate::{Error, Result, hex::hex};

/// The text between a line and its checksum.
const SUM: &str = ",\"sum\":\"";

/// A sample.
#[derive(Serialize, Deserialize)]
struct Line<X> {
    context: usize,
    /// The number of the sample among those of its context.
    number: usize,
    sample: X,
    log_prob: f64,
}

/// The lines so far.
#[derive(Clone, Debug)]
pub(super) struct KeptChain {
    /// The SHA-256 of the last line and of the checksum before it.
    sum: String,
    /// The numbers of the samples that are still to come, by context.
    left: Vec<Range<usize>>,
}

impl KeptChain {
    /// No lines yet, of samples with these numbers in each context, behind a first line with this fingerprint.
    pub(super) fn new(fingerprint: &str, numbers: &Range<usize>, contexts: usize) -> Self {
        Self { sum: fingerprint.into(), left: vec![numbers.clone(); contexts] }
    }

    /// The line of the next sample of a context.
    ///
    /// # Errors
    /// [`Error::Json`].
    pub(super) fn write<X: Serialize>(&mut self, context: usize, value: &X, log_prob: f64) -> Result<String> {
        let number = self.left.get_mut(context).and_then(Iterator::next).unwrap_or_default();
        let mut line =
            serde_json::to_string(&Line { context, number, sample: value, log_prob }).map_err(Error::Json)?;
        self.sum = self.sum_with(&line);
        line.pop();
        let _ = write!(line, "{SUM}{}\"}}", self.sum);
        Ok(line)
    }

    /// The context and the sample of the next line; `None` if it does not fit to the lines before it.
    pub(super) fn read<X: DeserializeOwned>(&mut self, line: &str) -> Option<(usize, Sampled<X>)> {
        let (line, sum) = line.strip_suffix("\"}")?.rsplit_once(SUM)?;
        let line = format!("{line}}}");
        let found = self.sum_with(&line);
        let Line { context, number, sample, log_prob } = serde_json::from_str(&line).ok()?;
        let is_next = self.left.get_mut(context).and_then(Iterator::next) == Some(number);
        (is_next && found == sum).then(|| {
            self.sum = found;
            (context, Sampled { value: sample, log_prob })
        })
    }

    /// Whether no sample is still to come.
    pub(super) fn is_whole(&self) -> bool {
        self.left.iter().all(Range::is_empty)
    }

    fn sum_with(&self, line: &str) -> String {
        hex(&Sha256::new().chain_update(&self.sum).chain_update(line).finalize())
    }
}
