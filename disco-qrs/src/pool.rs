//! Proposals that are drawn once, diagnosed, and then accepted at any beta.

use std::ops::ControlFlow;

use disco_core::{Distribution, Error, Scorer};

use crate::{
    Draw, Ratios, Result, RunConfig, Statistics,
    beta::check_log_beta,
    proposals::Proposals,
    qrs::{acceptance_threshold, log_score},
};

/// The scored proposals of one context: look at the curve, choose beta, and accept from the same proposals.
///
/// At every beta, a pool accepts the samples that [`Qrs`](crate::Qrs) returns for the same seed.
///
/// ```
/// use disco_core::{Space, scorer};
/// use disco_qrs::{Budget, Goal, ProposalPool, RunConfig};
/// let proposal = Space::new(0..100)?.uniform();
/// let target = scorer(|_: &(), x: &i32| -0.1 * f64::from(*x));
/// let pool = ProposalPool::draw(&proposal, &target, (), RunConfig::new(7, Budget::proposals(20_000)))?;
/// let choice = pool.ratios()?.choose(Goal::TotalVariation(0.05))?;
/// assert!((choice.point.total_variation.value - 0.05).abs() < 1e-9);
/// let samples = pool.accept(choice.log_beta)?;
/// let rate = samples.len() as f64 / pool.len() as f64;
/// assert!((rate - choice.point.acceptance_rate.value).abs() < 0.01);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ProposalPool<X> {
    values: Vec<X>,
    // Invariant: as many of each as values; skipped samples have -inf.
    log_target: Vec<f64>,
    log_proposal: Vec<f64>,
    thresholds: Vec<f64>,
    statistics: Statistics,
}

impl<X> ProposalPool<X> {
    /// Draws and scores proposals of one context until the budget, of proposals or seconds, is spent.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a budget of draws, which a pool does not have, and as [`Qrs::new`](crate::Qrs::new); the
    /// first error of proposal or target.
    pub fn draw<C>(
        proposal: impl Distribution<C, X>,
        target: impl Scorer<C, X>,
        context: C,
        config: RunConfig,
    ) -> Result<Self> {
        let goes_on = |_: &Statistics| ControlFlow::Continue(());
        Ok(Self::draw_each(proposal, target, vec![context], config, goes_on)?.remove(0))
    }

    /// A pool for each context, with `progress` called as by [`Qrs::on_batch`](crate::Qrs::on_batch).
    ///
    /// Pool `k` accepts the samples that [`Qrs::each`](crate::Qrs::each) returns for context `k`.
    ///
    /// # Errors
    /// As [`draw`](Self::draw), and [`Error::Empty`] for no context.
    pub fn draw_each<C>(
        proposal: impl Distribution<C, X>,
        target: impl Scorer<C, X>,
        contexts: Vec<C>,
        config: RunConfig,
        progress: impl FnMut(&Statistics) -> ControlFlow<()> + Send,
    ) -> Result<Vec<Self>> {
        if let Some(draws) = config.budget.draws {
            return Err(
                Error::invalid("draws of a pool's budget", draws, "none: give proposals or seconds").into()
            );
        }
        let empty = || Self {
            values: vec![],
            log_target: vec![],
            log_proposal: vec![],
            thresholds: vec![],
            statistics: Statistics::default(),
        };
        let mut pools: Vec<Self> = contexts.iter().map(|_| empty()).collect();
        let mut proposals = Proposals::new(proposal, target, contexts, config)?;
        proposals.on_batch(Box::new(progress));
        while let Some(scored) = proposals.next() {
            let scored = scored?;
            let pool = &mut pools[scored.context];
            pool.log_target.push(scored.log_target);
            pool.log_proposal.push(scored.log_proposal);
            pool.thresholds.push(acceptance_threshold(&scored));
            pool.values.push(scored.value);
        }
        for (context, pool) in pools.iter_mut().enumerate() {
            pool.statistics = proposals.statistics_of(context).unwrap_or_default();
        }
        Ok(pools)
    }

    /// The number of proposals.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are no proposals.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The proposals, in the order they were drawn.
    pub fn values(&self) -> &[X] {
        &self.values
    }

    /// `ln P` of each (nats); `-inf` for those that could not be scored: the target has no mass there.
    pub fn log_target(&self) -> &[f64] {
        &self.log_target
    }

    /// `ln q` of each (nats).
    pub fn log_proposal(&self) -> &[f64] {
        &self.log_proposal
    }

    /// Counts of the run.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Their ratios, for diagnostics and the choice of beta. Proposals that could not be scored are among them, with
    /// P = 0: they cost as much as others that are rejected. disco-ebm counts them in the same way in its `Z`.
    ///
    /// # Errors
    /// As [`Ratios::new`].
    pub fn ratios(&self) -> Result<Ratios> {
        Ratios::new(&self.log_target, &self.log_proposal)
    }

    /// The samples that `ln beta` accepts, in order. Their [`context`](Draw::context) is 0.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a `ln beta` that is not finite.
    pub fn accept(&self, log_beta: f64) -> Result<Vec<Draw<&X>>> {
        check_log_beta(log_beta)?;
        let accepted = (0..self.len()).filter(|&i| log_beta < self.thresholds[i]);
        let draws = accepted.map(|i| Draw {
            value: &self.values[i],
            context: 0,
            proposal: i as u64,
            log_target: self.log_target[i],
            log_proposal: Some(self.log_proposal[i]),
            log_score: log_score(self.log_target[i], self.log_proposal[i], log_beta),
        });
        Ok(draws.collect())
    }
}
