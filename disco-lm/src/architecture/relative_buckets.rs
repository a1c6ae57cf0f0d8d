//! Buckets of relative distances (T5: Raffel et al. 2020, section 2.1).

use crate::{Result, architecture::config_reader::ConfigReader};

/// How distances between tokens are grouped into buckets: each small distance has its own, larger distances are grouped by their
/// logarithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Buckets {
    pub(crate) count: usize,
    /// From this distance on, all distances share one bucket.
    farthest: usize,
}

impl Buckets {
    pub(crate) fn from_config(reader: &ConfigReader<'_>) -> Result<Self> {
        let count = reader.size("relative_attention_num_buckets", Some(32))?;
        let farthest = reader.size("relative_attention_max_distance", Some(128))?;
        // An encoder uses half of the buckets for each direction, and half of those for small distances.
        if !(4..=1 << 16).contains(&count) || !count.is_multiple_of(4) {
            let allowed = "a multiple of 4, at most 65536";
            return Err(reader.refused("relative_attention_num_buckets", count, allowed));
        }
        if farthest <= count / 2 || farthest > 1 << 24 {
            let allowed = "above half of relative_attention_num_buckets, at most 2^24";
            return Err(reader.refused("relative_attention_max_distance", farthest, allowed));
        }
        Ok(Self { count, farthest })
    }

    /// The bucket of the distance between a query and a key, given their positions.
    pub(crate) fn of(self, query: usize, key: usize, bidirectional: bool) -> usize {
        let (first, count, distance) = match (bidirectional, key > query) {
            (true, true) => (self.count / 2, self.count / 2, key - query),
            (true, false) => (0, self.count / 2, query - key),
            (false, _) => (0, self.count, query.saturating_sub(key)),
        };
        let exact = count / 2;
        if distance < exact {
            return first + distance;
        }
        // In f32, as in training: at the bounds between buckets this value is a whole number, so that rounding decides the bucket.
        let ratio = (distance as f32 / exact as f32).ln() / (self.farthest as f64 / exact as f64).ln() as f32;
        first + (exact + (ratio * (count - exact) as f32) as usize).min(count - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::Buckets;

    /// The smallest distance of each bucket, from transformers' `T5Attention._relative_position_bucket`.
    #[test]
    fn buckets_begin_where_those_of_transformers_do() {
        let starts = |buckets: Buckets, bidirectional: bool| -> Vec<usize> {
            let of = |distance: usize| buckets.of(distance, 0, bidirectional);
            (0..300).filter(|&distance| distance == 0 || of(distance) != of(distance - 1)).collect()
        };
        let usual = Buckets { count: 32, farthest: 128 };
        let exact = |count: usize, more: &[usize]| (0..count).chain(more.iter().copied()).collect::<Vec<_>>();
        let causal = [19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113];
        assert_eq!(starts(usual, false), exact(17, &causal));
        assert_eq!(starts(usual, true), exact(9, &[12, 16, 23, 32, 46, 64, 91]));
        let few = Buckets { count: 8, farthest: 12 };
        assert_eq!(starts(few, false), exact(5, &[6, 7, 10]));
        assert_eq!(starts(few, true), exact(3, &[5]));
        // Keys after a query have the other half of the buckets.
        for distance in 1..200 {
            assert_eq!(usual.of(0, distance, true), 16 + usual.of(distance, 0, true));
            assert_eq!(usual.of(0, distance, false), 0);
        }
    }
}
