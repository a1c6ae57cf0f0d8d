//! The trait of distributions: scorers that can also be sampled.

use std::sync::Arc;

use crate::{Error, Result, Scorer, StreamRng, Streams, score::every_score};

/// A sample with the log-probability it was drawn with.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampled<X> {
    /// The sample.
    pub value: X,
    /// Its log-probability under the distribution it was drawn from, in nats.
    pub log_prob: f64,
}

/// A normalised distribution over samples `X`, given a context `C`.
///
/// A distribution is a [`Scorer`] whose log-scores are log-probabilities (nats, `-inf` for samples it cannot draw),
/// and it can be sampled. The context `C` is `()` where there is none, and may be unsized, as `str`.
///
/// # Contract
/// - [`Sampled::log_prob`] equals the log-score that [`Scorer::log_scores`] gives the sample.
/// - Sample `i` draws its randomness from stream `i` only ([`Streams`]), so the samples depend neither
///   on the batch size nor on the number of threads.
/// - The result of a call does not depend on earlier calls.
pub trait Distribution<C: ?Sized, X>: Scorer<C, X> {
    /// Draws one sample per stream, in order.
    ///
    /// # Errors
    /// An error stops the run. There is one if a stream has a number that is not below [`supply`](Self::supply).
    fn sample(&self, context: &C, streams: &Streams) -> Result<Vec<Sampled<X>>>;

    /// Draws samples in several contexts: element `k` of the result is [`sample`](Self::sample) of `contexts[k]` and
    /// `streams[k]`.
    ///
    /// By default the contexts are sampled one after the other. A model that can work on several
    /// contexts at once overrides this; the samples must stay the same.
    ///
    /// # Errors
    /// As [`sample`](Self::sample); [`Error::Length`] unless there are as many `streams` as `contexts`.
    fn sample_each(&self, contexts: &[&C], streams: &[Streams]) -> Result<Vec<Vec<Sampled<X>>>> {
        Error::check_length("streams, one run per context", contexts.len(), streams.len())?;
        contexts.iter().zip(streams).map(|(context, streams)| self.sample(context, streams)).collect()
    }

    /// The number of samples that can be drawn in a context under one key; `None` if there is no limit. Streams with a
    /// number below it give samples, the others an error.
    ///
    /// Only recorded samples run out ([`Empirical`](crate::Empirical)); a distribution that wraps another one passes
    /// the number on. Samplers end a run there.
    ///
    /// # Errors
    /// For a context that the distribution does not know.
    fn supply(&self, context: &C) -> Result<Option<u64>> {
        let _ = context;
        Ok(None)
    }

    /// The log-probabilities of `samples` (nats).
    ///
    /// # Errors
    /// The scorer's; a skipped sample is an error too, since a distribution must know its own samples.
    fn log_probs(&self, context: &C, samples: &[&X]) -> Result<Vec<f64>> {
        every_score("distribution", self.log_scores(context, samples)?, samples.len())
    }
}

/// Draws a sample with its log-probability from each stream; `by` is named if one is not a number.
pub(crate) fn draw_each<X>(
    by: &str,
    streams: &Streams,
    mut draw: impl FnMut(&mut StreamRng) -> (X, f64),
) -> Result<Vec<Sampled<X>>> {
    let samples = streams.iter().enumerate().map(|(index, mut rng)| match draw(&mut rng) {
        (_, value) if value.is_nan() || value == f64::INFINITY => {
            Err(Error::NotANumber { by: by.into(), index, value })
        }
        (value, log_prob) => Ok(Sampled { value, log_prob }),
    });
    samples.collect()
}

macro_rules! forward_distribution {
    ($($pointer:ty),*) => {$(
        impl<C: ?Sized, X, D: Distribution<C, X> + ?Sized> Distribution<C, X> for $pointer {
            fn sample(&self, context: &C, streams: &Streams) -> Result<Vec<Sampled<X>>> {
                (**self).sample(context, streams)
            }

            fn sample_each(&self, contexts: &[&C], streams: &[Streams]) -> Result<Vec<Vec<Sampled<X>>>> {
                (**self).sample_each(contexts, streams)
            }

            fn supply(&self, context: &C) -> Result<Option<u64>> {
                (**self).supply(context)
            }

            fn log_probs(&self, context: &C, samples: &[&X]) -> Result<Vec<f64>> {
                (**self).log_probs(context, samples)
            }
        }
    )*};
}
forward_distribution!(&D, Box<D>, Arc<D>);
