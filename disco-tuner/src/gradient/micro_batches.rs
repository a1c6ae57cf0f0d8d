//! Micro-batches: the samples of an update in parts that the policy can hold in memory.

use crate::config::MicroBatch;

/// Positions of samples, in batches each within the limits.
///
/// With lengths, the longest samples come first: a batch then needs little padding, and a batch that does not fit into
/// memory fails at once, not after an hour.
pub(crate) fn micro_batches(count: usize, lengths: Option<&[usize]>, limits: MicroBatch) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..count).collect();
    if let Some(lengths) = lengths {
        order.sort_by_key(|&at| std::cmp::Reverse(lengths[at]));
    }
    let mut batches = Vec::new();
    let mut rest = order.as_slice();
    while let Some(&first) = rest.first() {
        let mut size = limits.samples.min(rest.len());
        if let (Some(tokens), Some(lengths)) = (limits.tokens, lengths) {
            // The first is the longest, and pads the others.
            size = size.min((tokens / lengths[first].max(1)).max(1));
        }
        let (batch, others) = rest.split_at(size);
        batches.push(batch.to_vec());
        rest = others;
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::micro_batches;
    use crate::config::MicroBatch;

    #[test]
    fn batches_keep_to_both_limits_and_begin_with_the_longest() {
        let lengths = [2, 9, 3, 3, 30, 0];
        let limits = MicroBatch { samples: 3, tokens: Some(9) };
        assert_eq!(micro_batches(6, Some(&lengths), limits), [vec![4], vec![1], vec![2, 3, 0], vec![5]]);
        let by_count = MicroBatch { samples: 4, tokens: Some(9) };
        assert_eq!(micro_batches(6, None, by_count), [vec![0, 1, 2, 3], vec![4, 5]]);
        assert!(micro_batches(0, None, limits).is_empty());
    }
}
