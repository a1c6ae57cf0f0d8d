//! Work spread over threads, with the same results.

use rayon::prelude::*;

use crate::{Distribution, Error, Feature, Result, Sampled, Score, Scorer, Streams};

/// A distribution, scorer or feature whose batches are cut into chunks and worked on by all threads.
///
/// Every sample has its own random stream and is scored by itself, so that results are the same to the bit for any
/// number of threads and any chunk size, as long as the wrapped value keeps to the contract of [`Distribution`].
/// The error that is reported is always the first in order, too.
///
/// The threads belong to rayon's current pool: `pool.install(|| ...)` around a call chooses another.
/// Chunks should take some tens of microseconds or more; a model that batches on its own device gains
/// nothing here.
///
/// ```
/// use disco_core::{Distribution, Parallel, Space, Streams};
/// let die = Space::new(1..=6)?.uniform();
/// let streams = Streams::new(7, 10_000);
/// assert_eq!(Parallel::new(&die).sample(&(), &streams)?, die.sample(&(), &streams)?);
/// # Ok::<(), disco_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Parallel<T> {
    inner: T,
    // Invariant: above zero.
    chunk: usize,
}

impl<T> Parallel<T> {
    /// Spreads the work of `inner` in chunks of 1024 samples.
    pub fn new(inner: T) -> Self {
        Self { inner, chunk: 1024 }
    }

    /// Spreads the work of `inner` in chunks of `chunk` samples: few for a slow scorer, many for a fast one.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a chunk of no samples.
    pub fn with_chunk(inner: T, chunk: usize) -> Result<Self> {
        if chunk == 0 {
            return Err(Error::invalid("chunk of samples", chunk, "at least 1"));
        }
        Ok(Self { inner, chunk })
    }

    /// The wrapped distribution, scorer or feature.
    pub fn inner(&self) -> &T {
        &self.inner
    }

    /// Joins the results of the chunks in order; the sample that an error names is counted from the start
    /// of the whole batch.
    fn join<V>(&self, chunks: Vec<Result<Vec<V>>>, lengths: impl Iterator<Item = usize>) -> Result<Vec<V>> {
        let mut joined = Vec::new();
        let mut start = 0;
        for (chunk, length) in chunks.into_iter().zip(lengths) {
            let mut values = chunk.map_err(|error| error.at_sample(|index| start + index))?;
            // A wrong number in one chunk must not be made up for by another.
            Error::check_length("results of a chunk", length, values.len())?;
            start += length;
            joined.append(&mut values);
        }
        Ok(joined)
    }

    fn over_samples<X: Sync + ?Sized, V: Send>(
        &self,
        samples: &[&X],
        work: impl Fn(&[&X]) -> Result<Vec<V>> + Send + Sync,
    ) -> Result<Vec<V>> {
        let results: Vec<Result<Vec<V>>> = samples.par_chunks(self.chunk).map(work).collect();
        self.join(results, samples.chunks(self.chunk).map(<[_]>::len))
    }
}

impl<C: Sync + ?Sized, X: Sync + ?Sized, S: Scorer<C, X>> Scorer<C, X> for Parallel<S> {
    fn log_scores(&self, context: &C, samples: &[&X]) -> Result<Vec<Score>> {
        self.over_samples(samples, |chunk| self.inner.log_scores(context, chunk))
    }

    fn has_hard_constraints(&self) -> bool {
        self.inner.has_hard_constraints()
    }

    fn scorer_name(&self) -> std::borrow::Cow<'_, str> {
        self.inner.scorer_name()
    }
}

impl<C: Sync + ?Sized, X: Sync + ?Sized, F: Feature<C, X>> Feature<C, X> for Parallel<F> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn values(&self, context: &C, samples: &[&X]) -> Result<Vec<Score>> {
        self.over_samples(samples, |chunk| self.inner.values(context, chunk))
    }
}

impl<C: Sync + ?Sized, X: Send + Sync, D: Distribution<C, X>> Distribution<C, X> for Parallel<D> {
    fn sample(&self, context: &C, streams: &Streams) -> Result<Vec<Sampled<X>>> {
        let chunks: Vec<Streams> = streams.chunks(self.chunk).collect();
        let results = chunks.par_iter().map(|chunk| self.inner.sample(context, chunk)).collect();
        self.join(results, chunks.iter().map(Streams::len))
    }

    fn sample_each(&self, contexts: &[&C], streams: &[Streams]) -> Result<Vec<Vec<Sampled<X>>>> {
        Error::check_length("streams, one run per context", contexts.len(), streams.len())?;
        let pairs = contexts.par_iter().zip(streams);
        let results: Vec<Result<_>> = pairs.map(|(context, streams)| self.sample(context, streams)).collect();
        results.into_iter().collect()
    }

    fn supply(&self, context: &C) -> Result<Option<u64>> {
        self.inner.supply(context)
    }

    fn log_probs(&self, context: &C, samples: &[&X]) -> Result<Vec<f64>> {
        self.over_samples(samples, |chunk| self.inner.log_probs(context, chunk))
    }
}

crate::impl_product!([T] Parallel<T>);
