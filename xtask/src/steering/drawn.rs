//! Drawing samples of several contexts, in chunks.

use std::ops::Range;

use disco_core::{Distribution, Error as CoreError, Sampled, StreamRng, Streams};
use rand::SeedableRng;

use crate::{Progress, Result};

/// The number of samples that are drawn or scored between two updates of the progress.
pub(super) const CHUNK: usize = 256;

/// Samples of one context, before they are scored. All logarithms are natural, one per sample.
#[derive(Clone, Debug)]
pub(crate) struct Drawn<X> {
    pub(crate) samples: Vec<X>,
    /// `ln` of the probability with which they were drawn.
    pub(crate) log_proposal: Vec<f64>,
    /// `ln` of their probability under the distribution that they are to tell of: the same, unless they are listed.
    pub(crate) log_policy: Vec<f64>,
    /// Whether they are all texts that there are, each once.
    pub(crate) exact: bool,
}

impl<X: Clone> Drawn<X> {
    pub(super) fn new(samples: Vec<Sampled<X>>) -> Self {
        let (samples, log_prob): (Vec<X>, Vec<f64>) =
            samples.into_iter().map(|sample| (sample.value, sample.log_prob)).unzip();
        Self { samples, log_proposal: log_prob.clone(), log_policy: log_prob, exact: false }
    }

    /// The samples with the log-probability with which each was drawn.
    pub(super) fn sampled(&self) -> Vec<Sampled<X>> {
        let pairs = self.samples.iter().cloned().zip(self.log_proposal.iter().copied());
        pairs.map(|(value, log_prob)| Sampled { value, log_prob }).collect()
    }
}

impl<X> Drawn<X> {
    /// The samples with their log-probabilities under the distribution that they tell of.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&X, f64)> {
        self.samples.iter().zip(self.log_policy.iter().copied())
    }

    /// `ln` of the weights by which the samples tell of that distribution; `None` where they count equally.
    pub(super) fn log_weights(&self) -> Option<Vec<f64>> {
        let pairs = self.log_policy.iter().zip(&self.log_proposal);
        let weights: Vec<f64> = pairs.map(|(policy, proposal)| policy - proposal).collect();
        weights.iter().any(|weight| *weight != 0.0).then_some(weights)
    }
}

/// Draws the samples of each context with these numbers, and gives them to `take` with the position of their context and their number: all
/// of the first context, then all of the second, and so on. No more than a few hundred are held at a time. They are the samples of
/// [`draw`].
#[cfg_attr(
    not(any(feature = "lm", test)),
    expect(dead_code, reason = "the command that uses it needs a language model")
)]
pub(crate) fn draw_in_order<C, X, D: Distribution<C, X>>(
    distribution: &D,
    contexts: &[C],
    numbers: Range<usize>,
    key: u64,
    progress: &mut Progress,
    mut take: impl FnMut(usize, usize, Sampled<X>) -> Result<()>,
) -> Result<()> {
    let streams = numbered(contexts.len(), &numbers, key);
    // Contexts with few samples are drawn together.
    let together = (CHUNK / numbers.len().max(1)).max(1);
    for (group, (contexts, streams)) in contexts.chunks(together).zip(streams.chunks(together)).enumerate() {
        let contexts: Vec<&C> = contexts.iter().collect();
        let mut chunks: Vec<_> = streams.iter().map(|streams| streams.chunks(CHUNK)).collect();
        let mut first = numbers.start;
        loop {
            let now: Vec<Streams> = chunks.iter_mut().filter_map(Iterator::next).collect();
            if now.is_empty() {
                break;
            }
            let samples = distribution.sample_each(&contexts, &now)?;
            CoreError::check_length("lists of samples, one per context", contexts.len(), samples.len())?;
            progress.advance(samples.iter().map(Vec::len).sum(), String::new);
            for (within, samples) in samples.into_iter().enumerate() {
                let mut numbered = (first..).zip(samples);
                numbered.try_for_each(|(number, sample)| take(group * together + within, number, sample))?;
            }
            first += now[0].len();
        }
    }
    Ok(())
}

/// The random streams of the samples of each context with these numbers.
fn numbered(contexts: usize, numbers: &Range<usize>, key: u64) -> Vec<Streams> {
    let mut rng = StreamRng::seed_from_u64(key);
    (0..contexts).map(|_| Streams::from_rng(&mut rng, numbers.end).split_at(numbers.start).1).collect()
}

/// Draws the samples of each context with these numbers, in chunks; a sample does not depend on the chunks or the other numbers. Each
/// chunk, by context, is given to `keep` as soon as it is drawn.
pub(crate) fn draw<C, X, D: Distribution<C, X>>(
    distribution: &D,
    contexts: &[C],
    numbers: Range<usize>,
    key: u64,
    progress: &mut Progress,
    mut keep: impl FnMut(&[Vec<Sampled<X>>]) -> Result<()>,
) -> Result<Vec<Vec<Sampled<X>>>> {
    let streams = numbered(contexts.len(), &numbers, key);
    let contexts: Vec<&C> = contexts.iter().collect();
    let size = CHUNK.div_ceil(contexts.len());
    let mut chunks: Vec<_> = streams.iter().map(|streams| streams.chunks(size)).collect();
    let mut drawn: Vec<Vec<Sampled<X>>> = contexts.iter().map(|_| Vec::new()).collect();
    loop {
        let now: Vec<Streams> = chunks.iter_mut().filter_map(Iterator::next).collect();
        if now.is_empty() {
            return Ok(drawn);
        }
        let samples = distribution.sample_each(&contexts, &now)?;
        CoreError::check_length("lists of samples, one per context", contexts.len(), samples.len())?;
        progress.advance(samples.iter().map(Vec::len).sum(), String::new);
        keep(&samples)?;
        drawn.iter_mut().zip(samples).for_each(|(drawn, samples)| drawn.extend(samples));
    }
}

#[cfg(test)]
mod tests {
    use disco_core::Space;
    use disco_tuner::SoftmaxTable;

    use super::*;
    use crate::ProgressTarget;

    #[test]
    fn samples_in_order_are_those_that_are_drawn_at_once() {
        let contexts: Vec<String> = ["a", "b", "c"].map(String::from).to_vec();
        let table =
            SoftmaxTable::uniform(Space::new(contexts.clone()).unwrap(), Space::new(0..200u8).unwrap());
        // Several contexts at once, a context in one piece, and a context in several.
        for count in [1, 100, CHUNK, 2 * CHUNK + 3] {
            let mut hidden = Progress::new(ProgressTarget::Hidden, "", "", 0);
            let mut kept = Vec::new();
            let keep = |chunk: &[Vec<Sampled<u8>>]| {
                kept.push(chunk.iter().map(Vec::len).sum::<usize>());
                Ok(())
            };
            let whole = draw(&table, &contexts, 0..count, 7, &mut hidden, keep).unwrap();
            assert_eq!(kept.iter().sum::<usize>(), 3 * count);
            let parts = [0..count / 3, count / 3..count]
                .map(|part| draw(&table, &contexts, part, 7, &mut hidden, |_| Ok(())).unwrap());
            for (context, whole) in whole.iter().enumerate() {
                let parts = parts.iter().flat_map(|part| &part[context]);
                assert!(parts.map(|sample| sample.value).eq(whole.iter().map(|sample| sample.value)));
            }
            let mut taken = Vec::new();
            let mut take = |context: usize, number: usize, sample: Sampled<u8>| {
                taken.push((context, number, sample.value));
                Ok(())
            };
            for part in [0..count / 3, count / 3..count] {
                draw_in_order(&table, &contexts, part, 7, &mut hidden, &mut take).unwrap();
            }
            taken.sort_by_key(|(context, number, _)| (*context, *number));
            let numbered = |drawn: &'_ [Sampled<u8>]| drawn.iter().map(|one| one.value).enumerate().collect();
            let expected = whole.iter().map(|drawn| numbered(drawn)).enumerate();
            let expected = expected.flat_map(|(at, own): (_, Vec<_>)| {
                own.into_iter().map(move |(number, value)| (at, number, value))
            });
            assert!(taken.into_iter().eq(expected), "{count}");
        }
    }

    #[test]
    fn a_count_without_end_is_drawn_as_long_as_somebody_takes() {
        let contexts = vec![String::new()];
        let table = SoftmaxTable::uniform(Space::new(contexts.clone()).unwrap(), Space::new(0..2u8).unwrap());
        let mut left = 1000;
        let take = |_, _, _| {
            left -= 1;
            if left == 0 { Err(crate::Error::OutputClosed) } else { Ok(()) }
        };
        let mut hidden = Progress::new(ProgressTarget::Hidden, "", "", usize::MAX);
        let drawn = draw_in_order(&table, &contexts, 0..usize::MAX, 7, &mut hidden, take);
        assert!(matches!(drawn, Err(crate::Error::OutputClosed)));
    }
}
