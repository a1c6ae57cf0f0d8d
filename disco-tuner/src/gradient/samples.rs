//! The samples that a step drew in one context, with their log-probabilities and scores.

use disco_core::{Error, Result, Sampled, Score, Skipped, numerics::check_log_scores};
use serde::{Deserialize, Serialize};

use super::log_z::{ZEstimate, or_minus_infinity};
use crate::workers::part;

/// Samples `x_i ~ q(.|c)` of one context.
///
/// A sample that the target skipped is among them, with the score of a forbidden one.
///
/// Where several workers share a run, each has the numbers of all samples, and the samples themselves only of its own
/// part. In a run of one worker that part is the whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ContextSamples<X> {
    /// The position of the context in the list of contexts.
    pub(crate) context: usize,
    /// The samples of this worker's part.
    pub(crate) samples: Vec<X>,
    /// The number of the first of them among all. A checkpoint has all samples, so that it is 0 there.
    #[serde(skip)]
    pub(crate) first: usize,
    // Invariant: the three lists are equally long, with one entry per sample.
    /// `ln q`: finite.
    pub(crate) log_proposal: Vec<f64>,
    /// `ln P`: neither NaN nor +inf; `-inf` also for a skipped sample.
    #[serde(with = "or_minus_infinity")]
    pub(crate) log_target: Vec<f64>,
    /// `ln P - ln q`.
    #[serde(with = "or_minus_infinity")]
    pub(crate) log_weights: Vec<f64>,
    /// The numbers of the samples that the target skipped, in order.
    pub(crate) skipped_at: Vec<usize>,
    /// The first sample that this worker's target skipped, with its reason, for messages.
    #[serde(skip)]
    pub(crate) first_skip: Option<(usize, Skipped)>,
}

/// Splits samples from their log-probabilities, which must be finite: a sample that was drawn has probability.
pub(crate) fn checked_log_probs<X>(by: &str, sampled: Vec<Sampled<X>>) -> Result<(Vec<X>, Vec<f64>)> {
    let (samples, log_probs): (Vec<X>, Vec<f64>) =
        sampled.into_iter().map(|sampled| (sampled.value, sampled.log_prob)).unzip();
    match log_probs.iter().position(|log_prob| !log_prob.is_finite()) {
        None => Ok((samples, log_probs)),
        Some(index) => Err(Error::NotANumber { by: by.into(), index, value: log_probs[index] }),
    }
}

impl<X> ContextSamples<X> {
    /// The samples of a part that begins with sample `start` of the request, with the target's scores.
    ///
    /// # Errors
    /// [`Error::NotANumber`] names a sample by its position in the part.
    pub(crate) fn new(
        context: usize,
        start: usize,
        samples: Vec<X>,
        log_proposal: Vec<f64>,
        scores: Vec<Score>,
    ) -> Result<Self> {
        Error::check_length("log-scores of the target", samples.len(), scores.len())?;
        let (mut log_target, mut skipped_at, mut first_skip) =
            (Vec::with_capacity(scores.len()), vec![], None);
        for (at, score) in scores.into_iter().enumerate() {
            log_target.push(score.unwrap_or_else(|skipped| {
                skipped_at.push(start + at);
                first_skip.get_or_insert((start + at, skipped));
                f64::NEG_INFINITY
            }));
        }
        check_log_scores("target", &log_target)?;
        let log_weights = differences(&log_target, &log_proposal);
        Ok(Self {
            context,
            samples,
            first: start,
            log_proposal,
            log_target,
            log_weights,
            skipped_at,
            first_skip,
        })
    }

    /// The numbers of a worker's part for the other workers: log-probabilities, scores, and which were skipped.
    pub(crate) fn numbers(&self) -> [Vec<f64>; 3] {
        let skipped = self.skipped_at.iter().map(|at| *at as f64).collect();
        [self.log_proposal.clone(), self.log_target.clone(), skipped]
    }

    /// The group of which this is a part, from the [`numbers`](Self::numbers) of all parts in order.
    pub(crate) fn completed(self, [log_proposal, log_target, skipped]: [Vec<f64>; 3]) -> Self {
        Self {
            log_weights: differences(&log_target, &log_proposal),
            log_proposal,
            log_target,
            skipped_at: skipped.into_iter().map(|at| at as usize).collect(),
            ..self
        }
    }

    /// Drops the samples of a whole group that belong to other workers, as they were drawn; `slot` is the position of
    /// the group in its step.
    pub(crate) fn keep_part(&mut self, rank: usize, count: usize, slot: usize) {
        let own = part(self.len(), rank, count, slot);
        self.samples.truncate(own.end);
        self.samples.drain(..own.start);
        self.first = own.start;
    }

    /// The whole group, given all its samples.
    pub(crate) fn with_all(&self, samples: Vec<X>) -> Self {
        Self {
            context: self.context,
            samples,
            first: 0,
            log_proposal: self.log_proposal.clone(),
            log_target: self.log_target.clone(),
            log_weights: self.log_weights.clone(),
            skipped_at: self.skipped_at.clone(),
            first_skip: None,
        }
    }

    /// The positions of this worker's samples.
    pub(crate) fn own(&self) -> std::ops::Range<usize> {
        self.first..self.first + self.samples.len()
    }

    /// The sample at a position of [`own`](Self::own).
    pub(crate) fn sample(&self, at: usize) -> &X {
        &self.samples[at - self.first]
    }

    /// The number of samples.
    pub(crate) fn len(&self) -> usize {
        self.log_target.len()
    }

    /// The number of samples that the target skipped.
    pub(crate) fn skipped(&self) -> usize {
        self.skipped_at.len()
    }

    /// Whether the target skipped sample `at`.
    pub(crate) fn is_skipped(&self, at: usize) -> bool {
        self.skipped_at.binary_search(&at).is_ok()
    }

    /// The number of the first sample that the target forbids or skipped.
    pub(crate) fn first_forbidden(&self) -> Option<usize> {
        self.log_target.iter().position(|score| *score == f64::NEG_INFINITY)
    }

    /// Drops all samples after the first `count` that the target scored.
    pub(crate) fn truncate(&mut self, count: usize) {
        let scored = (0..self.len()).filter(|at| !self.is_skipped(*at));
        let kept = scored.take(count).last().map_or(0, |last| last + 1);
        self.samples.truncate(kept.saturating_sub(self.first));
        self.log_proposal.truncate(kept);
        self.log_target.truncate(kept);
        self.log_weights.truncate(kept);
        self.skipped_at.retain(|at| *at < kept);
        self.first = self.first.min(kept);
    }

    /// The number of samples in the target's support.
    pub(crate) fn successes(&self) -> usize {
        self.log_target.iter().filter(|score| **score != f64::NEG_INFINITY).count()
    }

    /// The estimate of `Z` from these samples.
    pub(crate) fn z_estimate(&self) -> ZEstimate {
        ZEstimate::of(&self.log_weights)
    }
}

/// `ln P - ln q` of each sample.
fn differences(log_target: &[f64], log_proposal: &[f64]) -> Vec<f64> {
    log_target.iter().zip(log_proposal).map(|(target, proposal)| target - proposal).collect()
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use disco_core::{Error, Sampled, Skipped};

    use super::{ContextSamples, checked_log_probs, part};

    #[test]
    fn skipped_samples_have_the_score_of_forbidden_ones() {
        let scores = vec![Ok(1.0), Err(Skipped::new("parser", "too long")), Ok(f64::NEG_INFINITY)];
        let group = ContextSamples::new(4, 0, vec!['a', 'b', 'c'], vec![-1.0, -2.0, -3.0], scores).unwrap();
        assert_eq!((group.len(), group.skipped(), group.successes()), (3, 1, 1));
        assert_eq!(group.log_weights, [2.0, f64::NEG_INFINITY, f64::NEG_INFINITY]);
        assert_eq!([0, 1, 2].map(|at| group.is_skipped(at)), [false, true, false]);
        // One weight of e^2 among three samples.
        assert!((group.z_estimate().log_z() - (2.0 - 3f64.ln())).abs() < 1e-15);
        assert_eq!(group.first_skip.unwrap().1.by(), "parser");
    }

    #[test]
    fn the_samples_that_are_kept_for_verification_end_with_a_scored_one() {
        let skipped = || Err(Skipped::new("parser", "too long"));
        let scores = vec![skipped(), Ok(1.0), skipped(), Ok(2.0), Ok(3.0)];
        let mut group =
            ContextSamples::new(0, 0, vec!['a', 'b', 'c', 'd', 'e'], vec![-1.0; 5], scores).unwrap();
        group.truncate(2);
        assert_eq!(
            (group.samples.as_slice(), group.skipped_at.as_slice()),
            (&['a', 'b', 'c', 'd'][..], &[0, 2][..])
        );
        group.truncate(0);
        assert_eq!((group.len(), group.skipped()), (0, 0));
    }

    #[test]
    fn scores_and_log_probabilities_must_be_numbers() {
        let scores = vec![Err(Skipped::new("target", "too long")), Ok(f64::NAN)];
        let refused = ContextSamples::new(0, 0, vec!['a', 'b'], vec![-1.0; 2], scores);
        assert!(matches!(refused, Err(Error::NotANumber { index: 1, .. })));
        for log_prob in [f64::NAN, f64::NEG_INFINITY] {
            let sampled = vec![Sampled { value: 'a', log_prob }];
            assert!(matches!(checked_log_probs("policy", sampled), Err(Error::NotANumber { index: 0, .. })));
        }
    }

    #[test]
    fn parts_completed_with_the_numbers_of_all_are_the_whole() {
        let scores = || {
            let skipped = || Err(Skipped::new("target", "too long"));
            vec![skipped(), Ok(1.0), Ok(f64::NEG_INFINITY), skipped(), Ok(2.0), Ok(3.0), skipped()]
        };
        let log_probs: Vec<f64> = (1..=7).map(|at| -f64::from(at)).collect();
        let whole = ContextSamples::new(0, 0, (0..7).collect(), log_probs.clone(), scores()).unwrap();
        for (count, slot) in [(1, 0), (2, 0), (2, 1), (3, 0), (3, 2), (9, 4)] {
            let parts: Vec<_> = (0..count).map(|rank| part(7, rank, count, slot)).collect();
            let drawn = |part: &Range<usize>| {
                let scores = scores()[part.clone()].to_vec();
                let log_probs = log_probs[part.clone()].to_vec();
                ContextSamples::new(0, part.start, part.clone().collect(), log_probs, scores).unwrap()
            };
            let mut numbers = [const { Vec::new() }; 3];
            for part in &parts {
                let own = drawn(part).numbers();
                numbers.iter_mut().zip(own).for_each(|(all, own)| all.extend(own));
            }
            let mut samples = Vec::new();
            for (rank, part) in parts.iter().enumerate() {
                let found = drawn(part).completed(numbers.clone());
                let mut kept = whole.clone();
                kept.keep_part(rank, count, slot);
                kept.first_skip = found.first_skip.clone();
                assert_eq!(found, kept, "rank {rank} of {count}");
                samples.extend(found.samples);
            }
            assert_eq!(samples, whole.samples);
        }
    }
}
