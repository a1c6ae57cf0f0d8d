//! A random order that can be asked position by position.

/// Rounds of the shuffle. Every round halves the remaining bias in the place of an element; after 64
/// rounds, `2^32` draws could not detect any.
const ROUNDS: u64 = 64;

/// A pseudo-random permutation of `0..n`, evaluated at one position in constant time and memory.
///
/// The swap-or-not shuffle[^hmr]: round `r` pairs `x` with `K_r - x mod n`, and a hash of the round and of
/// the pair decides whether both swap. It is a permutation for every `n`, needs no memory, and asking for
/// part of it costs only that part; therefore it is preferred to Fisher-Yates here.
///
/// [^hmr]: Hoang, Morris, Rogaway (2012), *An enciphering scheme based on a card shuffle*, CRYPTO,
///   <https://doi.org/10.1007/978-3-642-32009-5_1>
#[derive(Clone, Copy, Debug)]
pub(crate) struct Permutation {
    key: u64,
    // Invariant: at least 1.
    n: u64,
}

impl Permutation {
    /// The permutation of `0..n` with this key; `n` is at least 1.
    pub(crate) fn new(n: usize, key: u64) -> Self {
        debug_assert!(n > 0, "a permutation of nothing");
        Self { key, n: n as u64 }
    }

    /// The element at `position`, which is below `n`.
    pub(crate) fn at(&self, position: usize) -> usize {
        let mut x = position as u64;
        for round in 0..ROUNDS {
            let round_key = mix(self.key ^ mix(round));
            let offset = round_key % self.n;
            let partner = if offset >= x { offset - x } else { offset + self.n - x };
            if mix(round_key ^ mix(x.max(partner))) & 1 == 1 {
                x = partner;
            }
        }
        x as usize
    }
}

/// The SplitMix64 output function, a bijection of 64-bit words whose every output bit depends on every
/// input bit (Steele, Lea, Flood 2014, <https://doi.org/10.1145/2714064.2660195>).
pub(crate) fn mix(word: u64) -> u64 {
    let mut z = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::{Permutation, mix};

    #[test]
    fn it_is_a_permutation_of_every_size() {
        for n in [1, 2, 3, 7, 64, 1000, 4097] {
            let permutation = Permutation::new(n, 5);
            let mut seen: Vec<usize> = (0..n).map(|position| permutation.at(position)).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..n).collect::<Vec<_>>());
        }
    }

    #[test]
    fn all_orders_of_four_come_equally_often() {
        // Pearson's chi-squared, 23 degrees of freedom, n = 24,000 keys, alpha = 1e-4: critical 58.6.
        let mut counts = std::collections::HashMap::new();
        for key in 0..24_000 {
            let permutation = Permutation::new(4, mix(key));
            let order: Vec<usize> = (0..4).map(|position| permutation.at(position)).collect();
            *counts.entry(order).or_insert(0.0f64) += 1.0;
        }
        assert_eq!(counts.len(), 24);
        let chi2: f64 = counts.values().map(|count| (count - 1000.0f64).powi(2) / 1000.0).sum();
        assert!(chi2 < 58.6, "chi-squared {chi2}");
    }
}
