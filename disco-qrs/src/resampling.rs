//! Sampling-importance-resampling.

use std::{collections::VecDeque, fmt, ops::ControlFlow};

use disco_core::{Distribution, Error, ImportanceWeights, Scorer, Streams};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::{
    Draw, Result, RunConfig, Sampler, Statistics,
    proposals::{Proposals, Scored},
};

/// The settings of [`ImportanceResampling`].
///
/// | parameter | default | range |
/// |---|---|---|
/// | `pool_size` | 100 | at least 1 |
/// | `draws_per_pool` | 1 | 1 to `pool_size` |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResamplingConfig {
    /// The number of proposals in a pool.
    pub pool_size: usize,
    /// The number of samples that are drawn from each pool.
    pub draws_per_pool: usize,
}

impl Default for ResamplingConfig {
    fn default() -> Self {
        Self { pool_size: 100, draws_per_pool: 1 }
    }
}

impl ResamplingConfig {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the first that is out of range.
    pub fn validate(&self) -> disco_core::Result<()> {
        let Self { pool_size, draws_per_pool } = *self;
        for (field, value) in [("pool of proposals", pool_size), ("draws per pool", draws_per_pool)] {
            if value == 0 {
                return Err(Error::invalid(field, value, "at least 1"));
            }
        }
        // More draws than proposals would only be copies, and a share of accepted proposals above one.
        if draws_per_pool > pool_size {
            let allowed = format!("at most the pool of {pool_size} proposals");
            return Err(Error::invalid("draws per pool", draws_per_pool, allowed));
        }
        Ok(())
    }
}

/// Sampling-importance-resampling (Rubin 1987): of each pool of proposals, some are drawn again, with replacement
/// and with probabilities in proportion to their weights P/q.
///
/// The samples approach the target as the pools grow, with a bias of O(1 / pool), of which there is no estimate. One draw
/// per pool gives independent samples; several draws share their pool, and repeat. A pool without any sample in
/// the target's support gives no sample.
pub struct ImportanceResampling<'a, C, X, D, S> {
    proposals: Proposals<'a, C, X, D, S>,
    resampling: ResamplingConfig,
    pool: Vec<Scored<X>>,
    resampled: VecDeque<Draw<X>>,
    /// One stream per pool.
    choices: Streams,
    pools: usize,
}

impl<C, X, D, S> fmt::Debug for ImportanceResampling<'_, C, X, D, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportanceResampling")
            .field("proposals", &self.proposals)
            .field("resampling", &self.resampling)
            .finish_non_exhaustive()
    }
}

impl<'a, C, X: Clone, D: Distribution<C, X>, S: Scorer<C, X>> ImportanceResampling<'a, C, X, D, S> {
    /// Resamples from pools of proposals in one context.
    ///
    /// A pool that is incomplete when the budget is spent gives no sample.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a setting outside its range.
    pub fn new(
        proposal: D,
        target: S,
        context: C,
        resampling: ResamplingConfig,
        config: RunConfig,
    ) -> Result<Self> {
        resampling.validate()?;
        Ok(Self {
            proposals: Proposals::new(proposal, target, vec![context], config)?,
            resampling,
            pool: Vec::new(),
            resampled: VecDeque::new(),
            choices: Streams::new(config.seed, usize::MAX).child(0),
            pools: 0,
        })
    }

    /// As [`Qrs::on_batch`](crate::Qrs::on_batch).
    #[must_use]
    pub fn on_batch(mut self, progress: impl FnMut(&Statistics) -> ControlFlow<()> + Send + 'a) -> Self {
        self.proposals.on_batch(Box::new(progress));
        self
    }

    fn resample(&mut self) -> Result<()> {
        let mut rng = self.choices.rng(self.pools);
        self.pools += 1;
        let weights = match ImportanceWeights::from_log(self.pool.iter().map(Scored::log_ratio).collect()) {
            Ok(weights) => weights,
            Err(Error::ZeroWeights { .. }) => {
                self.pool.clear();
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let mut sum = 0.0;
        let cumulative: Vec<f64> = weights
            .normalised()
            .iter()
            .map(|weight| {
                sum += weight;
                sum
            })
            .collect();
        for _ in 0..self.resampling.draws_per_pool {
            let uniform = rng.random::<f64>() * sum;
            // The product may round up to the whole sum: its first place is one with weight.
            let last = cumulative.partition_point(|cumulative| *cumulative < sum);
            let position = cumulative.partition_point(|cumulative| *cumulative <= uniform).min(last);
            let chosen = self.pool[position].clone();
            let log_score = chosen.log_target;
            self.resampled.push_back(chosen.into_draw(log_score));
        }
        self.pool.clear();
        Ok(())
    }
}

impl<C, X: Clone, D: Distribution<C, X>, S: Scorer<C, X>> Iterator for ImportanceResampling<'_, C, X, D, S> {
    type Item = Result<Draw<X>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(draw) = self.resampled.pop_front() {
                self.proposals.accept(0);
                if !self.proposals.draw(0) {
                    self.resampled.clear();
                }
                return Some(Ok(draw));
            }
            match self.proposals.next()? {
                Ok(scored) => self.pool.push(scored),
                Err(error) => return Some(Err(error)),
            }
            if self.pool.len() == self.resampling.pool_size
                && let Err(error) = self.resample()
            {
                self.proposals.close();
                return Some(Err(error));
            }
        }
    }
}

impl<C, X: Clone, D: Distribution<C, X>, S: Scorer<C, X>> Sampler<X>
    for ImportanceResampling<'_, C, X, D, S>
{
    fn name(&self) -> &'static str {
        "sir"
    }

    fn statistics(&self) -> Statistics {
        self.proposals.statistics()
    }
}
