//! Metropolis-Hastings with a user's local proposal.

use std::{collections::VecDeque, fmt, ops::ControlFlow, time::Instant};

use disco_core::{Distribution, Error, Scorer, StreamRng, Streams};
use rand::{Rng, RngExt};

use crate::{
    ChainConfig, Draw, RandomWalkConfig, Result, RunConfig, Sampler, Statistics, chain::Chain, run::Progress,
};

/// A move that a local proposal suggests.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalMove<X> {
    /// The suggested sample.
    pub value: X,
    /// `ln k(from | to) - ln k(to | from)` for a proposal that makes the move with probability `k(to | from)`: 0 for a
    /// symmetric proposal, `-inf` for a move without return.
    pub log_ratio: f64,
}

impl<X> LocalMove<X> {
    /// A move that is as likely as its return.
    pub fn symmetric(value: X) -> Self {
        Self { value, log_ratio: 0.0 }
    }
}

/// Suggests a sample near another one: an edit of a text, a neighbouring number. Closures
/// `|context, from, rng| Ok(LocalMove { .. })` are local proposals.
pub trait LocalProposal<C: ?Sized, X>: Send + Sync {
    /// A move from `from`; all randomness is drawn from `rng`.
    ///
    /// # Errors
    /// An error stops the run.
    fn propose(&self, context: &C, from: &X, rng: &mut StreamRng) -> disco_core::Result<LocalMove<X>>;
}

impl<C: ?Sized, X, F> LocalProposal<C, X> for F
where
    F: Fn(&C, &X, &mut StreamRng) -> disco_core::Result<LocalMove<X>> + Send + Sync,
{
    fn propose(&self, context: &C, from: &X, rng: &mut StreamRng) -> disco_core::Result<LocalMove<X>> {
        self(context, from, rng)
    }
}

/// Random-walk Metropolis-Hastings (Metropolis et al. 1953; Hastings 1970): a chain moves from `x` to a local
/// proposal `y` with probability `min(1, P(y) k(x|y) / (P(x) k(y|x)))`.
///
/// The distribution of its state approaches the target if local moves can reach all of the target's support; the chain gives
/// no estimate of the distance. Several chains run side by side, so that each sweep scores one batch; they start from samples
/// of a distribution. [`RunConfig::batch`] is not used: a sweep over all chains is one batch. Samples come sweep by
/// sweep, chain by chain.
pub struct RandomWalk<'a, C, X, D, K, S> {
    start: D,
    local: K,
    target: S,
    context: C,
    chain_config: ChainConfig,
    config: RunConfig,
    // Invariant: at least one chain; `None` where it has not started.
    chains: Vec<Option<Chain<State<X>>>>,
    start_key: u64,
    step_key: u64,
    decide_key: u64,
    sweeps: u64,
    queue: VecDeque<Draw<X>>,
    statistics: Statistics,
    started: Option<Instant>,
    stopped: bool,
    progress: Option<Progress<'a>>,
}

impl<C, X, D, K, S> fmt::Debug for RandomWalk<'_, C, X, D, K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RandomWalk")
            .field("chain_config", &self.chain_config)
            .field("config", &self.config)
            .field("chains", &self.chains.len())
            .field("statistics", &self.statistics)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug)]
struct State<X> {
    value: X,
    number: u64,
    log_target: f64,
}

impl<'a, C, X, D, K, S> RandomWalk<'a, C, X, D, K, S>
where
    X: Clone,
    D: Distribution<C, X>,
    K: LocalProposal<C, X>,
    S: Scorer<C, X>,
{
    /// Chains in one context, which start from samples of `start` and move by `local`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a setting outside its range.
    pub fn new(
        start: D,
        local: K,
        target: S,
        context: C,
        walk: RandomWalkConfig,
        config: RunConfig,
    ) -> Result<Self> {
        walk.validate()?;
        config.validate()?;
        let mut keys = Streams::new(config.seed, 1).rng(0);
        Ok(Self {
            start,
            local,
            target,
            context,
            chain_config: walk.chain,
            config,
            chains: vec![None; walk.chains],
            start_key: keys.next_u64(),
            step_key: keys.next_u64(),
            decide_key: keys.next_u64(),
            sweeps: 0,
            queue: VecDeque::new(),
            statistics: Statistics::default(),
            started: None,
            stopped: false,
            progress: None,
        })
    }

    /// As [`Qrs::on_batch`](crate::Qrs::on_batch), after each sweep.
    #[must_use]
    pub fn on_batch(mut self, progress: impl FnMut(&Statistics) -> ControlFlow<()> + Send + 'a) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// One step of each chain. Returns whether there was budget for it.
    fn sweep(&mut self) -> Result<bool> {
        let started = *self.started.get_or_insert_with(Instant::now);
        if self.sweeps > 0 {
            let statistics = self.statistics();
            let told = self.progress.as_mut().map(|progress| progress(&statistics));
            self.stopped |= matches!(told, Some(ControlFlow::Break(())));
        }
        let limit = self.config.budget.seconds;
        self.stopped |= limit.is_some_and(|limit| started.elapsed().as_secs_f64() >= limit);
        let left = self.config.budget.proposals.map_or(u64::MAX, |limit| limit - self.statistics.proposals);
        let moving = self.chains.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if self.stopped || moving == 0 {
            return Ok(false);
        }
        let candidates = self.candidates(moving)?;
        let values: Vec<&X> = candidates.iter().map(|candidate| &candidate.value).collect();
        let scores = self.target.log_scores(&self.context, &values)?;
        Error::check_length("log-scores of the target", candidates.len(), scores.len())?;
        let first = self.sweeps * self.chains.len() as u64;
        let deciders = Streams::numbered(self.decide_key, first..first + moving as u64);
        self.sweeps += 1;
        for (index, (candidate, score)) in candidates.into_iter().zip(scores).enumerate() {
            let number = self.statistics.proposals;
            self.statistics.proposals += 1;
            let log_target = match score {
                Ok(value) if value.is_nan() || value == f64::INFINITY => {
                    return Err(
                        Error::NotANumber { by: "target".into(), index: number as usize, value }.into()
                    );
                }
                Ok(value) => {
                    self.statistics.impossible += u64::from(value == f64::NEG_INFINITY);
                    value
                }
                Err(_) => {
                    self.statistics.skipped += 1;
                    f64::NEG_INFINITY
                }
            };
            self.statistics.see(log_target);
            let state = State { value: candidate.value, number, log_target };
            if self.step(index, state, candidate.log_ratio, deciders.rng(index).random::<f64>().ln()) {
                self.stopped = true;
                break;
            }
        }
        Ok(true)
    }

    /// The candidates of the first `moving` chains: a sample to start from, or a local move.
    fn candidates(&self, moving: usize) -> Result<Vec<LocalMove<X>>> {
        let first = self.sweeps * self.chains.len() as u64;
        let numbers = first..first + moving as u64;
        let waiting: Vec<usize> = (0..moving).filter(|&chain| self.chains[chain].is_none()).collect();
        let streams = Streams::numbered(self.start_key, numbers.clone()).select(&waiting);
        let starts =
            if waiting.is_empty() { Vec::new() } else { self.start.sample(&self.context, &streams)? };
        Error::check_length("samples to start from", waiting.len(), starts.len())?;
        let (mut starts, streams) = (starts.into_iter(), Streams::numbered(self.step_key, numbers));
        let mut candidates = Vec::with_capacity(moving);
        for (index, chain) in self.chains[..moving].iter().enumerate() {
            let candidate = match chain {
                Some(chain) => {
                    self.local.propose(&self.context, &chain.state.value, &mut streams.rng(index))?
                }
                // As many starts as waiting chains: checked above.
                None => match starts.next() {
                    Some(start) => LocalMove::symmetric(start.value),
                    None => break,
                },
            };
            if candidate.log_ratio.is_nan() || candidate.log_ratio == f64::INFINITY {
                let value = candidate.log_ratio;
                return Err(Error::NotANumber { by: "local proposal".into(), index, value }.into());
            }
            candidates.push(candidate);
        }
        Ok(candidates)
    }

    /// Moves chain `index`, or not, and returns its state if it is due. Returns whether that was the last draw.
    fn step(&mut self, index: usize, candidate: State<X>, log_ratio: f64, log_uniform: f64) -> bool {
        let possible = candidate.log_target > f64::NEG_INFINITY;
        let Some(chain) = &mut self.chains[index] else {
            self.chains[index] = possible.then(|| Chain::start(candidate));
            return false;
        };
        if possible && log_uniform < candidate.log_target - chain.state.log_target + log_ratio {
            chain.state = candidate;
            self.statistics.accepted += 1;
        }
        chain.steps += 1;
        if !self.chain_config.returns(chain.steps) {
            return false;
        }
        let state = chain.state.clone();
        if self.chain_config.restart {
            self.chains[index] = None;
        }
        self.statistics.draws += 1;
        self.queue.push_back(Draw {
            value: state.value,
            context: 0,
            proposal: state.number,
            log_target: state.log_target,
            log_proposal: None,
            log_score: state.log_target,
        });
        self.config.budget.draws.is_some_and(|limit| self.statistics.draws >= limit)
    }

    fn statistics(&self) -> Statistics {
        let seconds = self.started.map_or(0.0, |started| started.elapsed().as_secs_f64());
        Statistics { seconds, ..self.statistics }
    }
}

impl<C, X, D, K, S> Iterator for RandomWalk<'_, C, X, D, K, S>
where
    X: Clone,
    D: Distribution<C, X>,
    K: LocalProposal<C, X>,
    S: Scorer<C, X>,
{
    type Item = Result<Draw<X>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(draw) = self.queue.pop_front() {
                return Some(Ok(draw));
            }
            if self.stopped {
                return None;
            }
            match self.sweep() {
                Ok(true) => {}
                Ok(false) => self.stopped = true,
                Err(error) => {
                    self.stopped = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl<C, X, D, K, S> Sampler<X> for RandomWalk<'_, C, X, D, K, S>
where
    X: Clone,
    D: Distribution<C, X>,
    K: LocalProposal<C, X>,
    S: Scorer<C, X>,
{
    fn name(&self) -> &'static str {
        "random-walk-mh"
    }

    fn statistics(&self) -> Statistics {
        RandomWalk::statistics(self)
    }
}
