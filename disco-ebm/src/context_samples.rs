//! Samples of one context, as they are drawn and stored.

use disco_core::{Distribution, Error as CoreError, Sampled, Streams};
use ndarray::Array2;
use rand::Rng;

use crate::Result;

/// The samples drawn in one context, with their log-probabilities (nats) under the base and under the
/// proposal they were drawn from.
#[derive(Clone, Debug, PartialEq)]
pub struct ContextSamples<C, X> {
    /// The context.
    pub context: C,
    /// The samples.
    pub samples: Vec<X>,
    /// `ln a(x|c)`; `-inf` for a sample that the base cannot produce.
    pub log_base: Vec<f64>,
    /// `ln q(x|c)`: finite, since the samples were drawn from `q`. Equal to `log_base` for samples of the
    /// base.
    pub log_proposal: Vec<f64>,
}

/// Samples of one context, with the values of the features.
#[derive(Clone, Debug)]
pub(crate) struct Evaluated<C, X> {
    // Invariant: as many samples, log-probabilities and rows, at least one; neither NaN nor +inf.
    pub(crate) drawn: ContextSamples<C, X>,
    pub(crate) values: Array2<f64>,
    /// The number of further samples that were drawn and that the base or a feature could not evaluate: of weight zero.
    pub(crate) left_out: usize,
}

impl<C, X> Evaluated<C, X> {
    /// `ln a/q` of each sample.
    pub(crate) fn log_weights(&self) -> Vec<f64> {
        self.drawn
            .log_base
            .iter()
            .zip(&self.drawn.log_proposal)
            .map(|(base, proposal)| base - proposal)
            .collect()
    }
}

/// Draws `count` samples in each context.
pub(crate) fn sample_each<C, X, R: Rng + ?Sized>(
    distribution: &impl Distribution<C, X>,
    contexts: &[C],
    count: usize,
    rng: &mut R,
) -> Result<Vec<Vec<Sampled<X>>>> {
    if count == 0 {
        return Err(CoreError::invalid("samples per context", count, "1 or more").into());
    }
    let streams: Vec<Streams> = contexts.iter().map(|_| Streams::from_rng(rng, count)).collect();
    let contexts: Vec<&C> = contexts.iter().collect();
    let samples = distribution.sample_each(&contexts, &streams)?;
    CoreError::check_length("lists of samples, one per context", contexts.len(), samples.len())?;
    for samples in &samples {
        CoreError::check_length("samples of a context", count, samples.len())?;
    }
    Ok(samples)
}
