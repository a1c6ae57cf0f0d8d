//! The blocks into which the samples of a target are cut, so that several processes draw what one would.

use super::{Accept, SamplerKind};

/// The most blocks.
const BLOCKS: u64 = 64;
/// The least samples of a block of sampling-importance-resampling: a pool may give none.
const POOLED: u64 = 16;
/// The standard deviations by which the samples that a block can expect from its proposals are above those that are asked of it.
const MARGIN: f64 = 5.0;

/// Some samples of each context, with random streams of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) number: u64,
    /// The number of samples in each context.
    pub(super) draws: u64,
    /// The largest number of proposals in each context: its share of those that are allowed.
    pub(super) proposals: u64,
}

/// All blocks, whichever shard they are of. `rate` is the acceptance rate that is expected in the worst context, if it is known.
pub(super) fn blocks(asked: Accept, rate: Option<f64>) -> Vec<Block> {
    let Accept { count, proposals, .. } = asked;
    let size = size(asked, rate).clamp(1, count.max(1));
    let share = |draws: u64| (u128::from(proposals) * u128::from(draws) / u128::from(count.max(1))) as u64;
    let block = |number: u64| {
        let (first, end) = (number * size, ((number + 1) * size).min(count));
        Block { number, draws: end - first, proposals: share(end) - share(first) }
    };
    (0..count.div_ceil(size)).map(block).collect()
}

/// The number of samples of a block: as few as possible, so that there is work for many processes, but so many that its proposals suffice
/// wherever all of them together would.
fn size(asked: Accept, rate: Option<f64>) -> u64 {
    let least = asked.count.div_ceil(BLOCKS);
    match (asked.sampler, rate) {
        (SamplerKind::Rejection, Some(rate)) => {
            // `s` samples are asked of a block that can expect `k s`, give or take the square root.
            let k = rate * asked.proposals as f64 / asked.count as f64;
            let enough = MARGIN * MARGIN * k / (k - 1.0).powi(2);
            if k > 1.0 { least.max(enough.ceil() as u64) } else { asked.count }
        }
        (SamplerKind::Sir, _) => least.max(POOLED),
        // One chain, or no knowledge of the rate.
        (SamplerKind::Rejection, None) | (SamplerKind::Imh, _) => asked.count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shard;

    fn asked(count: u64, proposals: u64) -> Accept {
        Accept {
            sampler: SamplerKind::Rejection,
            count,
            proposals,
            is_base: false,
            exact: false,
            shard: Shard::default(),
        }
    }

    #[test]
    fn blocks_share_the_samples_and_the_proposals() {
        for (count, proposals) in [(1, 1000), (8, 8000), (100, 12_345), (5000, 60_000), (7, 3)] {
            for rate in [None, Some(1e-9), Some(0.05), Some(1.0)] {
                let found = blocks(asked(count, proposals), rate);
                assert!(found.len() as u64 <= BLOCKS && found.iter().all(|block| block.draws > 0));
                assert_eq!(found.iter().map(|block| block.draws).sum::<u64>(), count);
                assert_eq!(found.iter().map(|block| block.proposals).sum::<u64>(), proposals);
            }
        }
    }

    #[test]
    fn blocks_are_as_small_as_their_proposals_allow() {
        // 100 proposals would do for one sample on average, and 1,000 are allowed.
        assert_eq!(blocks(asked(8, 8000), Some(0.01)).len(), 2);
        assert_eq!(blocks(asked(8, 8000), Some(0.5)).len(), 8);
        assert_eq!(blocks(asked(1000, 1_000_000), Some(0.5))[0].draws, 16);
        // Half of the proposals would do: a block needs many to be sure of it.
        assert_eq!(blocks(asked(1000, 2000), Some(1.0))[0].draws, 50);
        assert_eq!(blocks(asked(1000, 900), Some(1.0)).len(), 1);
    }
}
