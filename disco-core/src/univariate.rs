//! Numbers: the univariate distributions of statrs, and distributions from closures.

use rand::distr::Distribution as Draw;
use statrs::{
    distribution as statrs_traits,
    statistics::{Max, Min},
};

use crate::{Distribution, Result, Sampled, Score, Scorer, StreamRng, Streams, distribution::draw_each};

/// A discrete distribution of [statrs], as a distribution in any context.
///
/// `D` must have an exact log-mass, a range and a sampler for one type of number. In statrs these are `Poisson`, `Geometric`,
/// `NegativeBinomial` and `Hypergeometric` over `u64`, and `DiscreteUniform` over `i64`. Outside the range the
/// log-probability is `-inf`.
///
/// ```
/// use disco_core::{Discrete, Distribution, Streams, statrs::distribution::Poisson};
/// let poisson = Discrete(Poisson::new(10.0)?);
/// let zero = poisson.log_probs(&(), &[&0])?;
/// assert!((zero[0] + 10.0).abs() < 1e-14);
/// let samples = poisson.sample(&(), &Streams::new(7, 10_000))?;
/// let mean = samples.iter().map(|sample| sample.value as f64).sum::<f64>() / 1e4;
/// assert!((mean - 10.0).abs() < 5.0 * (10f64 / 1e4).sqrt());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Discrete<D>(pub D);

impl<D> Discrete<D> {
    fn log_mass<K: Copy + PartialOrd>(&self, value: K) -> f64
    where
        D: statrs_traits::Discrete<K, f64> + Min<K> + Max<K>,
    {
        // Some of statrs's masses are undefined outside the range (the hypergeometric one subtracts).
        if value < self.0.min() || value > self.0.max() { f64::NEG_INFINITY } else { self.0.ln_pmf(value) }
    }
}

impl<C: ?Sized, K, D> Scorer<C, K> for Discrete<D>
where
    K: Copy + PartialOrd,
    D: statrs_traits::Discrete<K, f64> + Min<K> + Max<K> + Send + Sync,
{
    fn log_scores(&self, _: &C, samples: &[&K]) -> Result<Vec<Score>> {
        Ok(samples.iter().map(|sample| Ok(self.log_mass(**sample))).collect())
    }
}

impl<C: ?Sized, K, D> Distribution<C, K> for Discrete<D>
where
    K: Copy + PartialOrd,
    D: statrs_traits::Discrete<K, f64> + Min<K> + Max<K> + Draw<K> + Send + Sync,
{
    fn sample(&self, _: &C, streams: &Streams) -> Result<Vec<Sampled<K>>> {
        draw_each("discrete distribution", streams, |rng| {
            let value = self.0.sample(rng);
            (value, self.log_mass(value))
        })
    }
}

/// A continuous distribution of [statrs] over `f64`, as a distribution in any context.
///
/// Its "log-probabilities" are log-densities, and can be above 0: `Normal`, `Gamma`, `Beta`, `StudentsT`
/// and the others that statrs can sample. The log-density at NaN is NaN, which
/// [`Distribution::log_probs`] refuses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Continuous<D>(pub D);

impl<D: statrs_traits::Continuous<f64, f64>> Continuous<D> {
    fn log_density(&self, value: f64) -> f64 {
        // Not every density of statrs passes NaN on: the uniform one finds it in its range.
        if value.is_nan() { f64::NAN } else { self.0.ln_pdf(value) }
    }
}

impl<C: ?Sized, D: statrs_traits::Continuous<f64, f64> + Send + Sync> Scorer<C, f64> for Continuous<D> {
    fn log_scores(&self, _: &C, samples: &[&f64]) -> Result<Vec<Score>> {
        Ok(samples.iter().map(|sample| Ok(self.log_density(**sample))).collect())
    }
}

impl<C: ?Sized, D> Distribution<C, f64> for Continuous<D>
where
    D: statrs_traits::Continuous<f64, f64> + Draw<f64> + Send + Sync,
{
    fn sample(&self, _: &C, streams: &Streams) -> Result<Vec<Sampled<f64>>> {
        draw_each("continuous distribution", streams, |rng| {
            let value = self.0.sample(rng);
            (value, self.log_density(value))
        })
    }
}

/// A distribution from two closures; made by [`distribution`].
#[derive(Clone, Copy, Debug)]
pub struct FnDistribution<S, L> {
    sample: S,
    log_prob: L,
}

/// A distribution from a closure that draws one sample and one that gives its log-probability (nats).
///
/// The caller promises that the two belong together; a log-probability that is NaN or `+inf` is an
/// [`Error::NotANumber`](crate::Error::NotANumber).
///
/// ```
/// use disco_core::{Distribution, StreamRng, Streams, distribution};
/// use rand::RngExt;
/// // The uniform distribution over 0 to n - 1, where the context is n.
/// let below = distribution(
///     |n: &u32, rng: &mut StreamRng| rng.random_range(0..*n),
///     |n: &u32, x: &u32| if x < n { -f64::from(*n).ln() } else { f64::NEG_INFINITY },
/// );
/// assert!(below.sample(&3, &Streams::new(7, 100))?.iter().all(|sample| sample.value < 3));
/// # Ok::<(), disco_core::Error>(())
/// ```
pub fn distribution<C: ?Sized, X, S, L>(sample: S, log_prob: L) -> FnDistribution<S, L>
where
    S: Fn(&C, &mut StreamRng) -> X + Send + Sync,
    L: Fn(&C, &X) -> f64 + Send + Sync,
{
    FnDistribution { sample, log_prob }
}

impl<C: ?Sized, X: ?Sized, S: Send + Sync, L: Fn(&C, &X) -> f64 + Send + Sync> Scorer<C, X>
    for FnDistribution<S, L>
{
    fn log_scores(&self, context: &C, samples: &[&X]) -> Result<Vec<Score>> {
        Ok(samples.iter().map(|sample| Ok((self.log_prob)(context, sample))).collect())
    }
}

impl<C: ?Sized, X, S, L> Distribution<C, X> for FnDistribution<S, L>
where
    S: Fn(&C, &mut StreamRng) -> X + Send + Sync,
    L: Fn(&C, &X) -> f64 + Send + Sync,
{
    fn sample(&self, context: &C, streams: &Streams) -> Result<Vec<Sampled<X>>> {
        draw_each("distribution", streams, |rng| {
            let value = (self.sample)(context, rng);
            let log_prob = (self.log_prob)(context, &value);
            (value, log_prob)
        })
    }
}

crate::impl_product!([D] Discrete<D>);
crate::impl_product!([D] Continuous<D>);
crate::impl_product!([S, L] FnDistribution<S, L>);
