//! Quasi-rejection sampling whose beta follows the largest ratio.

use std::{fmt, ops::ControlFlow};

use disco_core::{Distribution, Scorer};

use crate::{
    Draw, Result, RunConfig, Statistics,
    beta::check_log_beta,
    proposals::Proposals,
    qrs::{acceptance_threshold, log_score},
};

/// Quasi-rejection sampling that raises beta to each ratio that exceeds it, and then restarts cleanly
/// (Caffo, Booth and Davis 2002, the empirical supremum).
///
/// Every proposal keeps its own uniform number `u`, and is accepted at beta if `u < P / (beta q)`. A
/// proposal accepted at a smaller beta is tested again with its `u` at the larger one; a rejected one stays
/// rejected. So after every raise the surviving samples are those that a run with the new beta would have given
/// from the same proposals: nothing is drawn again, and no sample of another beta is left.
///
/// As an iterator it reports acceptances and raises ([`Event`]); [`run`](Self::run) returns the samples that
/// survive. [`Budget::draws`](crate::Budget) counts the samples that survive.
///
/// ```
/// use disco_core::{Space, scorer};
/// use disco_qrs::{AdaptiveQrs, Budget, RunConfig};
/// let proposal = Space::new(0..10)?.uniform();
/// let target = scorer(|_: &(), x: &i32| if *x == 8 { 5f64.ln() } else { 0.0 });
/// let config = RunConfig::new(7, Budget::proposals(1_000));
/// let adapted = AdaptiveQrs::new(&proposal, &target, (), 0.0, config)?.run()?;
/// // The largest ratio P/q is 5 / 0.1.
/// assert!((adapted.log_beta - 50f64.ln()).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Beta is chosen from the same proposals that it is applied to, which biases the samples. They become exact as beta stops
/// growing: the bias vanishes as the number of proposals grows.
pub struct AdaptiveQrs<'a, C, X, D, S> {
    proposals: Proposals<'a, C, X, D, S>,
    log_beta: f64,
    /// The acceptance thresholds of the samples that survive so far.
    thresholds: Vec<f64>,
    /// A sample whose own ratio raised beta: reported after the raise.
    pending: Option<(Draw<X>, f64)>,
}

impl<C, X, D, S> fmt::Debug for AdaptiveQrs<'_, C, X, D, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdaptiveQrs")
            .field("proposals", &self.proposals)
            .field("log_beta", &self.log_beta)
            .finish_non_exhaustive()
    }
}

/// An event of an [`AdaptiveQrs`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event<X> {
    /// A sample was accepted at the current beta.
    Accepted {
        /// The sample; its log-score is that at the current beta.
        draw: Draw<X>,
        /// The acceptance threshold: the sample is accepted at every `ln beta` below it.
        threshold: f64,
    },
    /// Beta was raised.
    Raised {
        /// The new `ln beta`.
        log_beta: f64,
        /// How many samples are accepted no more: those whose threshold is not above `log_beta`.
        dropped: usize,
    },
}

/// The result of [`AdaptiveQrs::run`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Adapted<X> {
    /// The samples that the final beta accepts, with their log-scores at it.
    pub draws: Vec<Draw<X>>,
    /// The final `ln beta`: the largest ratio seen, if it is above the initial one.
    pub log_beta: f64,
    /// How often beta was raised.
    pub raises: usize,
    /// Counts of the run; `accepted` and `draws` count the samples that survive.
    pub statistics: Statistics,
}

impl<'a, C, X, D: Distribution<C, X>, S: Scorer<C, X>> AdaptiveQrs<'a, C, X, D, S> {
    /// Samples in one context, with an initial `ln beta`.
    ///
    /// # Errors
    /// As [`Qrs::new`](crate::Qrs::new).
    pub fn new(proposal: D, target: S, context: C, log_beta: f64, config: RunConfig) -> Result<Self> {
        check_log_beta(log_beta)?;
        let proposals = Proposals::new(proposal, target, vec![context], config)?;
        Ok(Self { proposals, log_beta, thresholds: Vec::new(), pending: None })
    }

    /// As [`Qrs::on_batch`](crate::Qrs::on_batch).
    #[must_use]
    pub fn on_batch(mut self, progress: impl FnMut(&Statistics) -> ControlFlow<()> + Send + 'a) -> Self {
        self.proposals.on_batch(Box::new(progress));
        self
    }

    fn accept(&mut self, draw: Draw<X>, threshold: f64) -> Event<X> {
        self.thresholds.push(threshold);
        self.proposals.accept(0);
        self.proposals.draw(0);
        Event::Accepted { draw, threshold }
    }

    fn raise(&mut self, log_beta: f64) -> Event<X> {
        let before = self.thresholds.len();
        self.log_beta = log_beta;
        self.thresholds.retain(|threshold| log_beta < *threshold);
        let dropped = before - self.thresholds.len();
        self.proposals.take_back(0, dropped as u64);
        Event::Raised { log_beta, dropped }
    }

    /// The current `ln beta`.
    pub fn log_beta(&self) -> f64 {
        self.log_beta
    }

    /// Counts of the run so far; `accepted` and `draws` count the samples that survive.
    pub fn statistics(&self) -> Statistics {
        self.proposals.statistics()
    }

    /// Runs until the budget is spent, and keeps the samples that survive.
    ///
    /// # Errors
    /// The first error of proposal or target.
    pub fn run(mut self) -> Result<Adapted<X>> {
        let (mut accepted, mut raises) = (Vec::new(), 0);
        for event in self.by_ref() {
            match event? {
                Event::Accepted { draw, threshold } => accepted.push((draw, threshold)),
                Event::Raised { log_beta, .. } => {
                    raises += 1;
                    accepted.retain(|(_, threshold)| log_beta < *threshold);
                }
            }
        }
        let log_beta = self.log_beta;
        let draws = accepted.into_iter().map(|(mut draw, _)| {
            // A global proposal always has a log-probability.
            draw.log_score =
                draw.log_proposal.map_or(draw.log_target, |q| log_score(draw.log_target, q, log_beta));
            draw
        });
        Ok(Adapted { draws: draws.collect(), log_beta, raises, statistics: self.statistics() })
    }
}

impl<C, X, D: Distribution<C, X>, S: Scorer<C, X>> Iterator for AdaptiveQrs<'_, C, X, D, S> {
    type Item = Result<Event<X>>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some((draw, threshold)) = self.pending.take() {
            return Some(Ok(self.accept(draw, threshold)));
        }
        loop {
            let scored = match self.proposals.next()? {
                Ok(scored) => scored,
                Err(error) => return Some(Err(error)),
            };
            let (log_ratio, threshold) = (scored.log_ratio(), acceptance_threshold(&scored));
            let log_beta = self.log_beta.max(log_ratio);
            let accepted = (log_beta < threshold).then(|| {
                let log_score = log_score(scored.log_target, scored.log_proposal, log_beta);
                (scored.into_draw(log_score), threshold)
            });
            if log_beta > self.log_beta {
                self.pending = accepted;
                return Some(Ok(self.raise(log_beta)));
            }
            if let Some((draw, threshold)) = accepted {
                return Some(Ok(self.accept(draw, threshold)));
            }
        }
    }
}
