//! The last line of the file of a shard, without which a file that was cut off would pass for a whole one.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::hex::hex;

/// The last line: it tells how many samples are before it, and their sum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShardEnd {
    /// The number of samples.
    lines: u64,
    /// The SHA-256 of all lines before this one, the first of the file included, each with `\n` at its end.
    sha256: String,
}

/// Whether a line is the last one of the file of a shard.
pub(crate) fn is_shard_end(line: &[u8]) -> bool {
    serde_json::from_slice::<ShardEnd>(line).is_ok()
}

/// The sum of the lines of a shard so far.
#[derive(Clone, Debug)]
pub(crate) struct ShardSum {
    lines: u64,
    digest: Sha256,
}

impl ShardSum {
    /// The sum of the first line alone, which says which shard it is.
    pub(crate) fn new(first: &[u8]) -> Self {
        Self { lines: 0, digest: Sha256::new().chain_update(first).chain_update(b"\n") }
    }

    /// Adds a sample.
    pub(crate) fn add(&mut self, line: &[u8]) {
        self.lines += 1;
        self.digest.update(line);
        self.digest.update(b"\n");
    }

    /// The last line.
    pub(crate) fn end(self) -> ShardEnd {
        ShardEnd { lines: self.lines, sha256: hex(&self.digest.finalize()) }
    }

    /// Checks the last line of a file, `None` if it has no such line.
    ///
    /// # Errors
    /// The problem, as a sentence.
    pub(crate) fn check(self, written: Option<&ShardEnd>) -> Result<(), String> {
        let found = self.end();
        match written {
            None => Err(format!(
                "the last line, which tells the number of lines and their SHA-256, is not there after {} lines: the file is cut off",
                found.lines
            )),
            Some(written) if written.lines != found.lines => Err(format!(
                "the last line tells of {} lines, and there are {}: lines are missing or were added",
                written.lines, found.lines
            )),
            Some(written) if *written != found => {
                Err("the lines do not have the SHA-256 that the last line tells: they were changed".into())
            }
            Some(_) => Ok(()),
        }
    }
}
