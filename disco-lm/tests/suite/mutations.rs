//! Damage to files: bytes that are changed, removed, repeated, and numbers that nobody expects.

use rand::{Rng, RngExt};

/// Numbers at the edges of what a field can hold, as text.
const NUMBERS: [&str; 14] = [
    "0",
    "-1",
    "1",
    "3",
    "65536",
    "16777216",
    "2147483648",
    "4294967296",
    "1000000000000000000",
    "18446744073709551615",
    "18446744073709551616",
    "1e400",
    "0.5",
    "1e-320",
];

/// JSON values in the place of others.
const VALUES: [&str; 9] = [
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "\"\\u0000\"",
    "[[[[[[[[",
    "{\"a\":{\"a\":{\"a\":1}}}",
    "\"../../x\"",
];

/// Words at the edges of what a length in a binary header can be.
const WORDS: [u64; 10] = [0, 1, 7, 255, 1 << 20, 1 << 32, 1 << 40, 1 << 62, u64::MAX / 8, u64::MAX];

/// Damages `bytes` one to three times, most often in the first `head` of them.
pub(crate) fn damage(random: &mut impl Rng, bytes: &mut Vec<u8>, head: usize) {
    for _ in 0..random.random_range(1..=3) {
        once(random, bytes, head);
    }
}

fn once(random: &mut impl Rng, bytes: &mut Vec<u8>, head: usize) {
    if bytes.len() < 16 {
        bytes.extend_from_slice(b"{\"a\":[1,2,3,4,5]}");
    }
    let end = if random.random_range(0..10) == 0 { bytes.len() } else { head.clamp(16, bytes.len()) };
    let at = random.random_range(0..end - 8);
    let length = random.random_range(1..=64).min(bytes.len() - at);
    match random.random_range(0..9) {
        0 => bytes[at] ^= 1 << random.random_range(0..8),
        1 => bytes[at] = random.random(),
        2 => {
            let word = WORDS[random.random_range(0..WORDS.len())];
            bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        3 => bytes[at..at + 4].copy_from_slice(&random.random::<u32>().to_le_bytes()),
        4 => {
            let kept = random.random_range(0..bytes.len());
            bytes.truncate(kept);
        }
        5 => drop(bytes.drain(at..at + length)),
        6 => {
            let again = bytes[at..at + length].to_vec();
            let to = random.random_range(0..end);
            drop(bytes.splice(to..to, again));
        }
        7 => {
            let digits: Vec<_> = runs(&bytes[..end], u8::is_ascii_digit);
            replace(random, bytes, &digits, &NUMBERS);
        }
        _ => {
            let values = runs(&bytes[..end], |byte| byte.is_ascii_alphanumeric() || b"\"._-".contains(byte));
            replace(random, bytes, &values, &VALUES);
        }
    }
}

/// Where bytes of a kind stand next to each other.
fn runs(bytes: &[u8], is_of_kind: impl Fn(&u8) -> bool) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| is_of_kind(byte)) {
        match runs.last_mut() {
            Some((_, end)) if *end == at => *end += 1,
            _ => runs.push((at, at + 1)),
        }
    }
    runs
}

fn replace(random: &mut impl Rng, bytes: &mut Vec<u8>, places: &[(usize, usize)], by: &[&str]) {
    if !places.is_empty() {
        let (start, end) = places[random.random_range(0..places.len())];
        let new = by[random.random_range(0..by.len())];
        drop(bytes.splice(start..end, new.bytes()));
    }
}

/// Makes the length at the head of a safetensors file that of its header again, which ends with `}` and the spaces after it.
pub(crate) fn mend_length(bytes: &mut [u8], removed: isize) {
    if let Some(length) = bytes.first_chunk_mut::<8>() {
        let old = u64::from_le_bytes(*length);
        *length = old.wrapping_sub(removed as u64).to_le_bytes();
    }
}
