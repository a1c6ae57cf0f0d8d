//! The log-probabilities of samples that were drawn.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::RemoteSample;

/// The memory that log-probabilities may take, in bytes; when they take more, all are forgotten.
const MOST: usize = 512 << 20;
/// The memory of one, about: a place of the table, which is about half full.
const ENTRY: usize = 2 * size_of::<(Key, f64)>();

/// The first half of the SHA-256 of a context and a sample.
type Key = [u8; 16];

/// The log-probability with which each sample was drawn: what is drawn need not be scored, and has the very log-probability with
/// which it was drawn, although a server's numbers differ from one request to the next.
#[derive(Debug, Default)]
pub(super) struct Memory {
    log_probs: HashMap<Key, f64>,
}

impl Memory {
    pub(super) fn get(&self, context: &str, sample: &RemoteSample) -> Option<f64> {
        self.log_probs.get(&key(context, sample)).copied()
    }

    /// Remembers a log-probability. If the sample was drawn before, the first one stays.
    pub(super) fn insert(&mut self, context: &str, sample: &RemoteSample, log_prob: f64) -> f64 {
        if self.log_probs.len() * ENTRY > MOST {
            self.log_probs = HashMap::new();
        }
        *self.log_probs.entry(key(context, sample)).or_insert(log_prob)
    }
}

fn key(context: &str, sample: &RemoteSample) -> Key {
    let told =
        serde_json::to_vec(&(context, sample)).expect("text and numbers can always be written as JSON");
    let mut key = Key::default();
    key.copy_from_slice(&Sha256::digest(told)[..size_of::<Key>()]);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_log_probability_of_a_sample_stays() {
        let sample = RemoteSample { text: "a".into(), ids: vec![1], tokens: 1, finished: false };
        let mut memory = Memory::default();
        assert_eq!(memory.get("c", &sample), None);
        assert_eq!((memory.insert("c", &sample, -1.0), memory.insert("c", &sample, -1.1)), (-1.0, -1.0));
        assert_eq!((memory.get("c", &sample), memory.get("d", &sample)), (Some(-1.0), None));
        let other = RemoteSample { finished: true, ..sample };
        assert_eq!(memory.get("c", &other), None);
    }
}
