//! How a batch is split: into micro-batches of similar size, or, for a narrow model, into passes.

use crate::{TokenModel, model::forward::SequenceInContext};

/// About how many tokens a micro-batch has: enough rows for efficient matmuls.
pub(super) const MICRO_BATCH_TOKENS: usize = 84;

/// The limit on the tokens of a micro-batch is at least this multiple of the longest context, because every micro-batch has to
/// compute its contexts again.
const CONTEXT_MULTIPLE: usize = 12;

/// From this hidden size on, the matmuls of a batch are large enough to be shared by all threads.
const WIDE: usize = 512;

/// The number of passes into which the gradient of a narrow model splits its sequences.
const NARROW_PASSES: usize = 4;

/// Splits sequences, in their order, into micro-batches with about the same number of tokens: at most about `most`, contexts
/// included, unless a context is long ([`CONTEXT_MULTIPLE`]).
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
    /// How many of `count` sequences one forward and backward pass has.
    ///
    /// The matmuls of a narrow model are too small to be shared among threads, so its sequences are split into passes instead,
    /// which run at the same time. The number of passes is fixed, so that the gradient does not depend on the machine.
    pub(crate) fn sequences_per_pass(&self, count: usize) -> usize {
        let passes = if self.shared.config.hidden_size < WIDE { NARROW_PASSES } else { 1 };
        count.div_ceil(passes).max(1)
    }
}
