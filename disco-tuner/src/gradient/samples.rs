//! The samples that a step drew in one context, with their log-probabilities and scores.

use disco_core::{Error, Result, Sampled, Score, numerics::check_log_scores};
use serde::{Deserialize, Serialize};

use super::log_z::{ZEstimate, or_minus_infinity};
use crate::workers::part;

/// Samples `x_i ~ q(.|c)` of one context.
///
/// Where several workers share a run, each has the numbers of all samples, and the samples themselves only of its own
/// part. In a run of one worker that part is the whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ContextSamples<X> {
    /// The position of the context in the list of contexts.
    pub(crate) context: usize,
    /// The samples of this worker's part.
    pub(crate) samples: Vec<X>,
    /// The position of the first of them among all. A checkpoint has all samples, so that it is 0 there.
    #[serde(skip)]
    pub(crate) first: usize,
    // Invariant: the three lists are equally long, with one entry per sample that the target scored.
    /// `ln q`: finite.
    pub(crate) log_proposal: Vec<f64>,
    /// `ln P`: neither NaN nor +inf.
    #[serde(with = "or_minus_infinity")]
    pub(crate) log_target: Vec<f64>,
    /// `ln P - ln q`.
    #[serde(with = "or_minus_infinity")]
    pub(crate) log_weights: Vec<f64>,
    /// The numbers, among all samples that were drawn, of the samples that the target could not score, in order.
    pub(crate) skipped_at: Vec<usize>,
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
    /// Samples with the target's scores; the samples that it skipped are left out, and counted.
    pub(crate) fn new(
        context: usize,
        samples: Vec<X>,
        log_proposal: Vec<f64>,
        scores: Vec<Score>,
    ) -> Result<Self> {
        Error::check_length("log-scores of the target", samples.len(), scores.len())?;
        // Checked before any are left out, so that an error names the sample by its number in the request.
        let checked: Vec<f64> = scores.iter().map(|score| *score.as_ref().unwrap_or(&0.0)).collect();
        check_log_scores("target", &checked)?;
        let (drawn, kept) = (samples.len(), samples.into_iter().zip(log_proposal).zip(scores));
        let mut group = Self {
            context,
            samples: Vec::with_capacity(drawn),
            first: 0,
            log_proposal: Vec::with_capacity(drawn),
            log_target: Vec::with_capacity(drawn),
            log_weights: Vec::with_capacity(drawn),
            skipped_at: Vec::new(),
        };
        for (at, ((sample, log_proposal), score)) in kept.enumerate() {
            match score {
                Ok(log_target) => {
                    group.samples.push(sample);
                    group.log_proposal.push(log_proposal);
                    group.log_target.push(log_target);
                    group.log_weights.push(log_target - log_proposal);
                }
                Err(_) => group.skipped_at.push(at),
            }
        }
        Ok(group)
    }

    /// The numbers of a worker's part, which begins with sample `start` of the request, for the other workers:
    /// log-probabilities, scores, and which were skipped.
    pub(crate) fn numbers(&self, start: usize) -> [Vec<f64>; 3] {
        let skipped = self.skipped_at.iter().map(|at| (start + at) as f64).collect();
        [self.log_proposal.clone(), self.log_target.clone(), skipped]
    }

    /// The group of which this is the part that begins with sample `start` of the request, from the
    /// [`numbers`](Self::numbers) of all parts in order.
    pub(crate) fn completed(self, start: usize, [log_proposal, log_target, skipped]: [Vec<f64>; 3]) -> Self {
        let skipped_at: Vec<usize> = skipped.into_iter().map(|at| at as usize).collect();
        Self {
            first: scored_before(start, &skipped_at),
            log_weights: log_target
                .iter()
                .zip(&log_proposal)
                .map(|(target, proposal)| target - proposal)
                .collect(),
            log_proposal,
            log_target,
            skipped_at,
            ..self
        }
    }

    /// Drops the samples of a whole group that belong to other workers, as they were drawn; `slot` is the position of
    /// the group in its step.
    pub(crate) fn keep_part(&mut self, rank: usize, count: usize, slot: usize) {
        let drawn = part(self.len() + self.skipped(), rank, count, slot);
        let bound = |number| scored_before(number, &self.skipped_at).min(self.len());
        let (first, end) = (bound(drawn.start), bound(drawn.end));
        self.samples.truncate(end);
        self.samples.drain(..first);
        self.first = first;
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

    /// The number of samples that the target scored.
    pub(crate) fn len(&self) -> usize {
        self.log_target.len()
    }

    /// The number of samples that the target could not score.
    pub(crate) fn skipped(&self) -> usize {
        self.skipped_at.len()
    }

    /// The number of sample `at` among all that were drawn in the context, as errors name it.
    pub(crate) fn number(&self, at: usize) -> usize {
        self.skipped_at.iter().fold(at, |number, &skipped| number + usize::from(skipped <= number))
    }

    /// Names the sample of an error by its [`number`](Self::number), given its position after `first`: that is 0 for
    /// positions in the whole group, [`first`](Self::first) for positions among this worker's samples.
    pub(crate) fn numbered(&self, error: Error, first: usize) -> Error {
        match error {
            Error::NotANumber { by, index, value } => {
                Error::NotANumber { by, index: self.number(first + index), value }
            }
            other => other,
        }
    }

    /// Drops all but the first `count` samples.
    pub(crate) fn truncate(&mut self, count: usize) {
        self.samples.truncate(count.saturating_sub(self.first));
        self.log_proposal.truncate(count);
        self.log_target.truncate(count);
        self.log_weights.truncate(count);
        self.first = self.first.min(self.len());
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

/// How many of the samples before number `number` of a request the target scored.
fn scored_before(number: usize, skipped_at: &[usize]) -> usize {
    number - skipped_at.iter().filter(|at| **at < number).count()
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use disco_core::{Error, Sampled, Skipped};

    use super::{ContextSamples, checked_log_probs, part};

    #[test]
    fn skipped_samples_are_left_out_and_counted() {
        let scores = vec![Ok(1.0), Err(Skipped::new("target", "too long")), Ok(f64::NEG_INFINITY)];
        let group = ContextSamples::new(4, vec!['a', 'b', 'c'], vec![-1.0, -2.0, -3.0], scores).unwrap();
        assert_eq!((group.samples.as_slice(), group.skipped()), (['a', 'c'].as_slice(), 1));
        assert_eq!([group.number(0), group.number(1)], [0, 2]);
        assert_eq!(group.log_weights, [2.0, f64::NEG_INFINITY]);
    }

    #[test]
    fn scores_and_log_probabilities_must_be_numbers() {
        let scores = vec![Err(Skipped::new("target", "too long")), Ok(f64::NAN)];
        let refused = ContextSamples::new(0, vec!['a', 'b'], vec![-1.0; 2], scores);
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
        let whole = ContextSamples::new(0, (0..7).collect(), log_probs.clone(), scores()).unwrap();
        for (count, slot) in [(1, 0), (2, 0), (2, 1), (3, 0), (3, 2), (9, 4)] {
            let parts: Vec<_> = (0..count).map(|rank| part(7, rank, count, slot)).collect();
            let drawn = |part: &Range<usize>| {
                let scores = scores()[part.clone()].to_vec();
                ContextSamples::new(0, part.clone().collect(), log_probs[part.clone()].to_vec(), scores)
                    .unwrap()
            };
            let mut numbers = [const { Vec::new() }; 3];
            for part in &parts {
                let own = drawn(part).numbers(part.start);
                numbers.iter_mut().zip(own).for_each(|(all, own)| all.extend(own));
            }
            let mut samples = Vec::new();
            for (rank, part) in parts.iter().enumerate() {
                let found = drawn(part).completed(part.start, numbers.clone());
                let mut kept = whole.clone();
                kept.keep_part(rank, count, slot);
                assert_eq!(found, kept, "rank {rank} of {count}");
                samples.extend(found.samples);
            }
            assert_eq!(samples, whole.samples);
        }
    }
}
