//! Statistics of how similar the sequences of a batch are.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::Hash,
};

/// The number of matches that replaces zero (method 1 of Chen and Cherry 2014). With zero, one order without a match
/// would make the BLEU of a sequence zero.
const SMOOTHED: f64 = 0.1;

/// Distinct-n: the number of different n-grams of all sequences together, divided by the number of their n-grams[^li].
/// It is 1 if no n-gram is repeated, which includes sequences that are all shorter than `n`.
///
/// ```
/// use disco_tuner::distinct_n;
/// let sequences = [vec![1, 2, 1, 2], vec![1, 2]];
/// // 1 2, 2 1, 1 2; and 1 2.
/// assert_eq!(distinct_n(&[&sequences[0], &sequences[1]], 2), 0.5);
/// ```
///
/// [^li]: Li, Galley, Brockett, Gao, Dolan (2016), *A diversity-promoting objective function for neural conversation
///   models*.
///
/// # Panics
/// If `n` is 0.
pub fn distinct_n<T: Eq + Hash, S: AsRef<[T]> + ?Sized>(sequences: &[&S], n: usize) -> f64 {
    let (mut different, mut count) = (HashSet::new(), 0);
    for ngram in sequences.iter().flat_map(|sequence| sequence.as_ref().windows(n)) {
        different.insert(ngram);
        count += 1;
    }
    if count == 0 { 1.0 } else { different.len() as f64 / f64::from(count) }
}

/// Self-BLEU: the mean over the sequences of the BLEU of each with all others as its references[^zhu], with n-grams of
/// 1 to `order` (usually 4), equal weights, and 0.1 in place of a number of matches that is zero. It is 1 if all are the
/// same.
///
/// Orders that a sequence is too short for are left out of its mean; an empty sequence counts 0. With fewer than two
/// sequences the result is 0.
///
/// # Cost
/// One look-up per n-gram.
///
/// ```
/// use disco_tuner::self_bleu;
/// let same = vec!["to", "be", "or", "not"];
/// assert_eq!(self_bleu(&[&same, &same], 4), 1.0);
/// ```
///
/// [^zhu]: Zhu, Lu, Zheng, Guo, Zhang, Wang, Yu (2018), *Texygen: a benchmarking platform for text generation models*.
///
/// # Panics
/// If `order` is 0.
pub fn self_bleu<T: Eq + Hash, S: AsRef<[T]> + ?Sized>(sequences: &[&S], order: usize) -> f64 {
    assert!(order > 0, "the order of BLEU is at least 1");
    if sequences.len() < 2 {
        return 0.0;
    }
    let sequences: Vec<&[T]> = sequences.iter().map(|sequence| sequence.as_ref()).collect();
    // Per sequence, the sum of ln precision, and the number of its terms.
    let mut logs = vec![(0.0, 0); sequences.len()];
    for n in 1..=order {
        let counts: Vec<HashMap<&[T], usize>> = sequences.iter().map(|sequence| count(sequence, n)).collect();
        let most = Most::of(&counts);
        for (at, (counts, (sum, orders))) in counts.iter().zip(&mut logs).enumerate() {
            let total: usize = counts.values().sum();
            if total == 0 {
                continue;
            }
            let matched: usize =
                counts.iter().map(|(ngram, count)| *count.min(&most.elsewhere(ngram, at))).sum();
            let matched = if matched == 0 { SMOOTHED } else { matched as f64 };
            *sum += (matched / total as f64).ln();
            *orders += 1;
        }
    }
    let mut lengths = BTreeMap::new();
    sequences.iter().for_each(|sequence| *lengths.entry(sequence.len()).or_insert(0) += 1);
    let bleu = |(sequence, (sum, orders)): (&&[T], (f64, i32))| {
        if orders == 0 { 0.0 } else { brevity(sequence.len(), &lengths) * (sum / f64::from(orders)).exp() }
    };
    sequences.iter().zip(logs).map(bleu).sum::<f64>() / sequences.len() as f64
}

fn count<T: Eq + Hash>(sequence: &[T], n: usize) -> HashMap<&[T], usize> {
    let mut counts = HashMap::new();
    sequence.windows(n).for_each(|ngram| *counts.entry(ngram).or_insert(0) += 1);
    counts
}

/// Per n-gram: the largest number of times that it occurs in one sequence, the index of that sequence, and the largest
/// number among the others. From these follows the largest number without any given sequence.
struct Most<'a, T>(HashMap<&'a [T], (usize, usize, usize)>);

impl<'a, T: Eq + Hash> Most<'a, T> {
    fn of(counts: &[HashMap<&'a [T], usize>]) -> Self {
        let mut most = HashMap::new();
        for (at, counts) in counts.iter().enumerate() {
            for (&ngram, &count) in counts {
                let (largest, owner, second) = most.entry(ngram).or_insert((0, at, 0));
                if count > *largest {
                    (*second, *largest, *owner) = (*largest, count, at);
                } else {
                    *second = count.max(*second);
                }
            }
        }
        Self(most)
    }

    fn elsewhere(&self, ngram: &[T], at: usize) -> usize {
        self.0.get(ngram).map_or(0, |(largest, owner, second)| if *owner == at { *second } else { *largest })
    }
}

/// BLEU's penalty for a sequence that is shorter than the other whose length is nearest; of two equally near lengths the
/// shorter counts. `lengths` has the number of sequences of each length, this one included.
fn brevity(length: usize, lengths: &BTreeMap<usize, usize>) -> f64 {
    let others = lengths.iter().filter(|(other, count)| **other != length || **count > 1);
    let nearest = others.map(|(other, _)| *other).min_by_key(|other| (other.abs_diff(length), *other));
    match nearest {
        Some(nearest) if length < nearest => (1.0 - nearest as f64 / length as f64).exp(),
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::{distinct_n, self_bleu};

    /// Sequences, the order, and the result of nltk.
    const NLTK: [(&[&str], usize, f64); 4] = [
        (&["to be or not to be", "to be or not be", "what is to be done now then"], 4, 0.3953561513149939),
        (&["a b c d", "a b c e"], 4, 0.3976353643835253),
        (
            &["the the the the the", "the cat sat on the mat today", "on the mat the cat sat"],
            2,
            0.5774097374420561,
        ),
        (&["x y z w v", "a b c d e f g", "x y a b c d"], 3, 0.44813130993393147),
    ];

    #[test]
    fn distinct_n_counts_across_sequences() {
        let sequences = ["abab", "ab", ""].map(str::as_bytes);
        let refs: Vec<&[u8]> = sequences.to_vec();
        assert_eq!(distinct_n(&refs, 1), 2.0 / 6.0);
        assert_eq!(distinct_n(&refs, 2), 2.0 / 4.0);
        assert_eq!(distinct_n(&refs, 5), 1.0);
    }

    /// `sentence_bleu` of nltk 3.10.4, with `SmoothingFunction().method1`, of each against the others, then the mean.
    #[test]
    fn self_bleu_equals_nltk() {
        for (text, order, expected) in NLTK {
            let sequences: Vec<Vec<&str>> = text.iter().map(|line| line.split(' ').collect()).collect();
            let found = self_bleu(&sequences.iter().collect::<Vec<_>>(), order);
            assert!((found - expected).abs() < 1e-12, "{text:?}: {found}, not {expected}");
        }
    }

    #[test]
    fn sequences_without_ngrams_or_company_resemble_nothing() {
        let (empty, one): (&[u8], &[u8]) = (b"", b"a");
        assert_eq!(self_bleu(&[one], 4), 0.0);
        assert_eq!(self_bleu(&[empty, empty], 4), 0.0);
        assert_eq!(self_bleu(&[one, one], 4), 1.0);
    }
}
