//! How a batch is split: into micro-batches of similar size, and into passes.

use crate::{TokenModel, model::forward::SequenceInContext};

/// About how many tokens a micro-batch has: enough rows for its matmuls to be efficient.
pub(super) const MICRO_BATCH_TOKENS: usize = 84;

/// A micro-batch has at least this multiple of the tokens of its longest context: each micro-batch runs its contexts again.
const CONTEXT_MULTIPLE: usize = 12;

/// From this width on, the products of a batch keep all threads busy by themselves.
const WIDE: usize = 512;

/// The parts into which the sequences of a narrow model are cut for its gradient.
const PARTS: usize = 4;

/// Splits sequences, in their order, into micro-batches of about equally many tokens: at most about `most`, contexts included,
/// unless a context is long ([`CONTEXT_MULTIPLE`]).
pub(super) fn split_into_micro_batches<'s, 'a>(
    sequences: &'s [SequenceInContext<'a>],
    most: usize,
) -> Vec<&'s [SequenceInContext<'a>]> {
    let longest = sequences.iter().map(|sequence| sequence.context.len()).max().unwrap_or(0);
    let most = most.max(CONTEXT_MULTIPLE * longest) - longest;
    let all: usize = sequences.iter().map(|sequence| sequence.tokens.len()).sum();
    let even = all.div_ceil(all.div_ceil(most).max(1)).max(1);
    let mut micro_batches = Vec::new();
    let (mut start, mut before) = (0, 0);
    for (at, sequence) in sequences.iter().enumerate() {
        let middle = before + sequence.tokens.len() / 2;
        if middle / even > micro_batches.len() && at > start {
            micro_batches.push(&sequences[start..at]);
            start = at;
        }
        before += sequence.tokens.len();
    }
    micro_batches.push(&sequences[start..]);
    micro_batches
}

impl TokenModel {
    /// How many of `count` sequences are of one forward and backward pass.
    ///
    /// A narrow model's products are too small to be shared among threads, so its sequences are cut into parts instead.
    /// The number of parts is fixed, for the sums over them not to depend on the machine.
    pub(crate) fn sequences_per_pass(&self, count: usize) -> usize {
        let parts = if self.shared.config.hidden_size < WIDE { PARTS } else { 1 };
        count.div_ceil(parts).max(1)
    }
}
