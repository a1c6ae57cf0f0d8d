//! Metropolis-Hastings with independent proposals.

use std::{fmt, ops::ControlFlow};

use disco_core::{Distribution, Scorer};

use crate::{
    ChainConfig, Draw, Result, RunConfig, Sampler, Statistics,
    chain::Chain,
    proposals::{Proposals, Scored},
};

/// Independent Metropolis-Hastings (Hastings 1970; Tierney 1994): a chain moves from `x` to a proposal `y ~ q` with
/// probability `min(1, w(y) / w(x))`, `w = P/q`.
///
/// The distribution of its state approaches the target: the distance falls as `(1 - Z / sup w)^steps` where the ratios are
/// bounded (Mengersen and Tweedie 1996), but the chain gives no estimate of the distance. The states are dependent, and one
/// is repeated while the chain stays; with [`ChainConfig::restart`] the samples are independent.
///
/// Proposals are drawn and scored in batches although the chain is sequential: they do not depend on its state.
pub struct IndependentMh<'a, C, X, D, S> {
    proposals: Proposals<'a, C, X, D, S>,
    config: ChainConfig,
    chain: Option<Chain<Scored<X>>>,
}

impl<C, X, D, S> fmt::Debug for IndependentMh<'_, C, X, D, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IndependentMh")
            .field("proposals", &self.proposals)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl<'a, C, X: Clone, D: Distribution<C, X>, S: Scorer<C, X>> IndependentMh<'a, C, X, D, S> {
    /// A chain in one context.
    ///
    /// # Errors
    /// [`Error::Invalid`](disco_core::Error::Invalid) for `thin` of zero, and for a batch or budget outside its
    /// range.
    pub fn new(proposal: D, target: S, context: C, chain: ChainConfig, config: RunConfig) -> Result<Self> {
        chain.validate()?;
        let proposals = Proposals::new(proposal, target, vec![context], config)?;
        Ok(Self { proposals, config: chain, chain: None })
    }

    /// As [`Qrs::on_batch`](crate::Qrs::on_batch).
    #[must_use]
    pub fn on_batch(mut self, progress: impl FnMut(&Statistics) -> ControlFlow<()> + Send + 'a) -> Self {
        self.proposals.on_batch(Box::new(progress));
        self
    }
}

impl<C, X: Clone, D: Distribution<C, X>, S: Scorer<C, X>> Iterator for IndependentMh<'_, C, X, D, S> {
    type Item = Result<Draw<X>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let scored = match self.proposals.next()? {
                Ok(scored) => scored,
                Err(error) => return Some(Err(error)),
            };
            let possible = scored.log_target > f64::NEG_INFINITY;
            let Some(chain) = &mut self.chain else {
                self.chain = possible.then(|| Chain::start(scored));
                continue;
            };
            if possible && scored.log_uniform < scored.log_ratio() - chain.state.log_ratio() {
                chain.state = scored;
                self.proposals.accept(0);
            }
            chain.steps += 1;
            if self.config.returns(chain.steps) {
                let state = chain.state.clone();
                if self.config.restart {
                    self.chain = None;
                }
                self.proposals.draw(0);
                let log_score = state.log_target;
                return Some(Ok(state.into_draw(log_score)));
            }
        }
    }
}

impl<C, X: Clone, D: Distribution<C, X>, S: Scorer<C, X>> Sampler<X> for IndependentMh<'_, C, X, D, S> {
    fn name(&self) -> &'static str {
        "independent-mh"
    }

    fn statistics(&self) -> Statistics {
        self.proposals.statistics()
    }
}
