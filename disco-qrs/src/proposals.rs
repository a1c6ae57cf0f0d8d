//! The proposals that samplers choose from: drawn and scored in batches, handed out one by one.

use std::{collections::VecDeque, fmt, ops::ControlFlow, time::Instant};

use disco_core::{Distribution, Error, Scorer, Streams};
use rand::{Rng, RngExt};

use crate::{Draw, Result, RunConfig, Statistics, run::Progress};

/// A proposal with its scores.
#[derive(Clone, Debug)]
pub(crate) struct Scored<X> {
    pub(crate) value: X,
    pub(crate) context: usize,
    pub(crate) number: u64,
    /// `-inf` for a sample that was skipped.
    pub(crate) log_target: f64,
    pub(crate) log_proposal: f64,
    /// The logarithm of its own uniform number, for the decision about it.
    pub(crate) log_uniform: f64,
    skipped: bool,
}

impl<X> Scored<X> {
    pub(crate) fn log_ratio(&self) -> f64 {
        self.log_target - self.log_proposal
    }

    pub(crate) fn into_draw(self, log_score: f64) -> Draw<X> {
        Draw {
            value: self.value,
            context: self.context,
            proposal: self.number,
            log_target: self.log_target,
            log_proposal: Some(self.log_proposal),
            log_score,
        }
    }
}

/// Proposals of one or more contexts in turn: the first of each context, the second of each, and so on,
/// whatever the size of a batch.
pub(crate) struct Proposals<'a, C, X, D, S> {
    proposal: D,
    target: S,
    contexts: Vec<C>,
    config: RunConfig,
    // Invariant: one per context.
    states: Vec<ContextState<X>>,
    turn: usize,
    started: Option<Instant>,
    /// Whether no further batch is drawn.
    stopped: bool,
    progress: Option<Progress<'a>>,
}

#[derive(Debug)]
struct ContextState<X> {
    sample_key: u64,
    decide_key: u64,
    drawn: u64,
    /// The most proposals that are drawn: the budget, or the supply of the proposal distribution. Known from the first
    /// batch on.
    limit: Option<u64>,
    queue: VecDeque<Scored<X>>,
    statistics: Statistics,
    open: bool,
}

// Written out, since a derive would ask for `Debug` of distributions, scorers and samples.
impl<C, X, D, S> fmt::Debug for Proposals<'_, C, X, D, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proposals")
            .field("contexts", &self.contexts.len())
            .field("config", &self.config)
            .field("stopped", &self.stopped)
            .finish_non_exhaustive()
    }
}

impl<'a, C, X, D: Distribution<C, X>, S: Scorer<C, X>> Proposals<'a, C, X, D, S> {
    pub(crate) fn new(proposal: D, target: S, contexts: Vec<C>, config: RunConfig) -> Result<Self> {
        config.validate()?;
        if contexts.is_empty() {
            return Err(Error::Empty { what: "list of contexts".into() }.into());
        }
        let keys = Streams::new(config.seed, contexts.len());
        let states = keys.iter().map(|mut key| ContextState {
            sample_key: key.next_u64(),
            decide_key: key.next_u64(),
            drawn: 0,
            limit: None,
            queue: VecDeque::new(),
            statistics: Statistics::default(),
            open: true,
        });
        let states = states.collect();
        Ok(Self {
            proposal,
            target,
            contexts,
            config,
            states,
            turn: 0,
            started: None,
            stopped: false,
            progress: None,
        })
    }

    pub(crate) fn on_batch(&mut self, progress: Progress<'a>) {
        self.progress = Some(progress);
    }

    /// The next proposal; `None` when every context's budget is spent, and after an error.
    pub(crate) fn next(&mut self) -> Option<Result<Scored<X>>> {
        loop {
            let count = self.states.len();
            let turn = (0..count).map(|i| (self.turn + i) % count).find(|&state| self.states[state].open)?;
            if let Some(scored) = self.states[turn].queue.pop_front() {
                self.turn = (turn + 1) % count;
                self.states[turn].count(&scored);
                return Some(Ok(scored));
            }
            if let Err(error) = self.refill() {
                self.stopped = true;
                self.states.iter_mut().for_each(|state| state.open = false);
                return Some(Err(error));
            }
        }
    }

    /// Draws a batch for each open context that has no proposal left, and closes those whose budget is spent.
    fn refill(&mut self) -> Result<()> {
        let started = *self.started.get_or_insert_with(Instant::now);
        if self.states.iter().any(|state| state.drawn > 0) {
            let statistics = self.statistics();
            let told = self.progress.as_mut().map(|progress| progress(&statistics));
            self.stopped |= matches!(told, Some(ControlFlow::Break(())));
        }
        let limit = self.config.budget.seconds;
        self.stopped |= limit.is_some_and(|limit| started.elapsed().as_secs_f64() >= limit);
        let (mut wanting, mut streams) = (Vec::new(), Vec::new());
        for (context, state) in self.states.iter_mut().enumerate() {
            if !state.open || !state.queue.is_empty() {
                continue;
            }
            let limit = match state.limit {
                Some(limit) => limit,
                None => {
                    let supply = self.proposal.supply(&self.contexts[context])?.unwrap_or(u64::MAX);
                    *state.limit.insert(supply.min(self.config.budget.proposals.unwrap_or(u64::MAX)))
                }
            };
            let count = (limit - state.drawn).min(self.config.batch as u64);
            if self.stopped || count == 0 {
                state.open = false;
                continue;
            }
            wanting.push(context);
            streams.push(Streams::numbered(state.sample_key, state.drawn..state.drawn + count));
        }
        if wanting.is_empty() {
            return Ok(());
        }
        let contexts: Vec<&C> = wanting.iter().map(|&context| &self.contexts[context]).collect();
        let samples = self.proposal.sample_each(&contexts, &streams)?;
        Error::check_length("contexts sampled", contexts.len(), samples.len())?;
        for ((&context, streams), samples) in wanting.iter().zip(&streams).zip(samples) {
            Error::check_length("samples of the proposal", streams.len(), samples.len())?;
            let values: Vec<&X> = samples.iter().map(|sample| &sample.value).collect();
            let scores = self.target.log_scores(&self.contexts[context], &values)?;
            Error::check_length("log-scores of the target", samples.len(), scores.len())?;
            let state = &mut self.states[context];
            let deciders =
                Streams::numbered(state.decide_key, state.drawn..state.drawn + streams.len() as u64);
            for ((sample, score), mut decider) in samples.into_iter().zip(scores).zip(deciders.iter()) {
                let index = state.drawn as usize;
                let (log_target, skipped) = match score {
                    Ok(value) if value.is_nan() || value == f64::INFINITY => {
                        return Err(Error::NotANumber { by: "target".into(), index, value }.into());
                    }
                    Ok(value) => (value, false),
                    Err(_) => (f64::NEG_INFINITY, true),
                };
                if !sample.log_prob.is_finite() {
                    let field = format!("log-probability of proposal {index}");
                    return Err(Error::invalid(field, sample.log_prob, "finite: it was drawn").into());
                }
                state.queue.push_back(Scored {
                    value: sample.value,
                    context,
                    number: state.drawn,
                    log_target,
                    log_proposal: sample.log_prob,
                    log_uniform: decider.random::<f64>().ln(),
                    skipped,
                });
                state.drawn += 1;
            }
        }
        Ok(())
    }

    /// Counts an accepted proposal.
    pub(crate) fn accept(&mut self, context: usize) {
        self.states[context].statistics.accepted += 1;
    }

    /// Counts a returned sample, and ends the context if it was the last one wanted. Returns whether more are wanted.
    pub(crate) fn draw(&mut self, context: usize) -> bool {
        let state = &mut self.states[context];
        state.statistics.draws += 1;
        let more = self.config.budget.draws.is_none_or(|limit| state.statistics.draws < limit);
        state.open &= more;
        more
    }

    /// Takes back accepted and returned samples, which a larger beta would have rejected.
    pub(crate) fn take_back(&mut self, context: usize, count: u64) {
        self.states[context].statistics.accepted -= count;
        self.states[context].statistics.draws -= count;
    }

    /// Ends the run of all contexts.
    pub(crate) fn close(&mut self) {
        self.states.iter_mut().for_each(|state| state.open = false);
    }

    /// The counts over all contexts.
    pub(crate) fn statistics(&self) -> Statistics {
        let mut total = Statistics::default();
        self.states.iter().for_each(|state| total.add(&state.statistics));
        total.seconds = self.started.map_or(0.0, |started| started.elapsed().as_secs_f64());
        total
    }

    /// The counts of one context.
    pub(crate) fn statistics_of(&self, context: usize) -> Option<Statistics> {
        let seconds = self.started.map_or(0.0, |started| started.elapsed().as_secs_f64());
        self.states.get(context).map(|state| Statistics { seconds, ..state.statistics })
    }
}

impl<X> ContextState<X> {
    fn count(&mut self, scored: &Scored<X>) {
        self.statistics.proposals += 1;
        self.statistics.skipped += u64::from(scored.skipped);
        let impossible = scored.log_target == f64::NEG_INFINITY && !scored.skipped;
        self.statistics.impossible += u64::from(impossible);
        self.statistics.see(scored.log_ratio());
    }
}
