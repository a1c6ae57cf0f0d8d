//! The scores that a program has given, by sample.

use std::collections::HashMap;

use disco_core::Score;
use sha2::{Digest, Sha256};

use super::ScoredSample;

/// The memory that scores may take, in bytes; when they take more, all are forgotten.
const MOST: usize = 256 << 20;

/// A sample's fingerprint: the SHA-256 of all that a program is told of it.
pub(super) type Key = [u8; 32];

/// The scores of samples, one per feature.
#[derive(Debug)]
pub(super) struct Cache {
    rows: HashMap<Key, Vec<Score>>,
    /// The memory that they take, about.
    bytes: usize,
    most: usize,
}

impl Default for Cache {
    fn default() -> Self {
        Self { rows: HashMap::new(), bytes: 0, most: MOST }
    }
}

impl Cache {
    pub(super) fn key(sample: &ScoredSample<'_>) -> Key {
        let told = serde_json::to_vec(sample).expect("text and numbers can always be written as JSON");
        Sha256::digest(told).into()
    }

    pub(super) fn get(&self, key: &Key) -> Option<&[Score]> {
        self.rows.get(key).map(Vec::as_slice)
    }

    pub(super) fn insert(&mut self, key: Key, row: Vec<Score>) {
        let bytes = bytes(&row);
        if self.bytes + bytes > self.most {
            (self.rows, self.bytes) = (HashMap::new(), 0);
        }
        if self.rows.insert(key, row).is_none() {
            self.bytes += bytes;
        }
    }
}

/// The memory that an entry takes, about.
fn bytes(row: &[Score]) -> usize {
    /// A place of the table, which is about half full, and the row's allocation.
    const ENTRY: usize = 2 * (size_of::<Key>() + size_of::<Vec<Score>>()) + 16;
    let text = |score: &Score| {
        score.as_ref().map_or_else(|skipped| skipped.by().len() + skipped.reason().len(), |_| 0)
    };
    ENTRY + row.iter().map(|score| size_of::<Score>() + text(score)).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use disco_core::Skipped;

    use super::*;

    #[test]
    fn its_memory_is_bounded() {
        let mut cache = Cache { most: 10_000, ..Cache::default() };
        let row = || vec![Ok(1.0), Err(Skipped::new("polite", "x".repeat(500)))];
        for number in 0..100_u8 {
            cache.insert([number; 32], row());
            assert!(cache.bytes <= 10_000 && cache.rows.len() < 20);
            assert_eq!(cache.get(&[number; 32]), Some(&row()[..]));
        }
        assert_eq!(cache.bytes, cache.rows.len() * bytes(&row()));
        let before = cache.bytes;
        cache.insert([99; 32], row());
        assert_eq!(cache.bytes, before);
    }
}
