//! The samples that a step drew in one context, with what is known of them.

use disco_core::{Error, Result, Sampled, Score, numerics::check_log_scores};
use serde::{Deserialize, Serialize};

use crate::partition::Mass;

/// Samples `x_i ~ q(.|c)` of one context.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Group<X> {
    /// The position of the context in the list of contexts.
    pub(crate) context: usize,
    // Invariant: the four lists are equally long.
    pub(crate) samples: Vec<X>,
    /// `ln q`: finite.
    pub(crate) log_proposal: Vec<f64>,
    /// `ln P`: neither NaN nor +inf.
    #[serde(with = "crate::partition::or_minus_infinity")]
    pub(crate) log_target: Vec<f64>,
    /// `ln P - ln q`.
    #[serde(with = "crate::partition::or_minus_infinity")]
    pub(crate) log_weights: Vec<f64>,
    /// The places, among all that were drawn, of the samples that the target could not score, in order.
    pub(crate) skipped_at: Vec<usize>,
}

/// Splits samples from their log-probabilities, which must be finite: what was drawn has probability.
pub(crate) fn drawn<X>(by: &str, sampled: Vec<Sampled<X>>) -> Result<(Vec<X>, Vec<f64>)> {
    let (samples, log_probs): (Vec<X>, Vec<f64>) =
        sampled.into_iter().map(|sampled| (sampled.value, sampled.log_prob)).unzip();
    match log_probs.iter().position(|log_prob| !log_prob.is_finite()) {
        None => Ok((samples, log_probs)),
        Some(index) => Err(Error::NotANumber { by: by.into(), index, value: log_probs[index] }),
    }
}

impl<X> Group<X> {
    /// What was drawn, with the target's scores; samples it skipped are left out, and counted.
    pub(crate) fn new(
        context: usize,
        samples: Vec<X>,
        log_proposal: Vec<f64>,
        scores: Vec<Score>,
    ) -> Result<Self> {
        Error::check_length("log-scores of the target", samples.len(), scores.len())?;
        // Checked before any are left out, so that an error names the sample by its place in the request.
        let checked: Vec<f64> = scores.iter().map(|score| *score.as_ref().unwrap_or(&0.0)).collect();
        check_log_scores("target", &checked)?;
        let (drawn, kept) = (samples.len(), samples.into_iter().zip(log_proposal).zip(scores));
        let mut group = Self {
            context,
            samples: Vec::with_capacity(drawn),
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

    pub(crate) fn len(&self) -> usize {
        self.samples.len()
    }

    /// How many more samples there were that the target could not score.
    pub(crate) fn skipped(&self) -> usize {
        self.skipped_at.len()
    }

    /// The place of sample `at` among all that were drawn in the context, as errors name it.
    pub(crate) fn place(&self, at: usize) -> usize {
        self.skipped_at.iter().fold(at, |place, &skipped| place + usize::from(skipped <= place))
    }

    /// Names a sample of an error as [`place`](Self::place) does.
    pub(crate) fn placed(&self, error: Error) -> Error {
        match error {
            Error::NotANumber { by, index, value } => {
                Error::NotANumber { by, index: self.place(index), value }
            }
            other => other,
        }
    }

    /// Forgets all but the first `count` samples.
    pub(crate) fn truncate(&mut self, count: usize) {
        self.samples.truncate(count);
        self.log_proposal.truncate(count);
        self.log_target.truncate(count);
        self.log_weights.truncate(count);
    }

    /// How many samples lie in the target's support.
    pub(crate) fn successes(&self) -> usize {
        self.log_target.iter().filter(|score| **score != f64::NEG_INFINITY).count()
    }

    /// The sum of the importance weights.
    pub(crate) fn mass(&self) -> Mass {
        Mass::of(&self.log_weights)
    }
}

#[cfg(test)]
mod tests {
    use disco_core::{Error, Sampled, Skipped};

    use super::{Group, drawn};

    #[test]
    fn skipped_samples_are_left_out_and_counted() {
        let scores = vec![Ok(1.0), Err(Skipped::new("target", "too long")), Ok(f64::NEG_INFINITY)];
        let group = Group::new(4, vec!['a', 'b', 'c'], vec![-1.0, -2.0, -3.0], scores).unwrap();
        assert_eq!((group.samples.as_slice(), group.skipped()), (['a', 'c'].as_slice(), 1));
        assert_eq!([group.place(0), group.place(1)], [0, 2]);
        assert_eq!(group.log_weights, [2.0, f64::NEG_INFINITY]);
    }

    #[test]
    fn scores_and_log_probabilities_must_be_numbers() {
        let scores = vec![Err(Skipped::new("target", "too long")), Ok(f64::NAN)];
        let refused = Group::new(0, vec!['a', 'b'], vec![-1.0; 2], scores);
        assert!(matches!(refused, Err(Error::NotANumber { index: 1, .. })));
        for log_prob in [f64::NAN, f64::NEG_INFINITY] {
            let sampled = vec![Sampled { value: 'a', log_prob }];
            assert!(matches!(drawn("policy", sampled), Err(Error::NotANumber { index: 0, .. })));
        }
    }
}
