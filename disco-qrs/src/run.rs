//! How long a sampler runs, and what it has done so far.

use std::ops::ControlFlow;

use disco_core::{Error, Estimate};
use serde::{Deserialize, Serialize};

use crate::Result;

/// When a sampler ends: as soon as one of the limits that are given is reached.
///
/// Limits of proposals and draws hold for each context; seconds for all of them together. Seconds alone
/// make a result depend on the machine, and are looked at between batches only. A limit of draws alone
/// never ends if nothing is ever accepted. Proposals that run out ([`Distribution::supply`]: recorded samples) end
/// the run of their context too, with all of them used.
///
/// [`Distribution::supply`]: disco_core::Distribution::supply
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// So many proposals, at least one.
    pub proposals: Option<u64>,
    /// So many samples returned, at least one.
    pub draws: Option<u64>,
    /// So much time, above zero and finite.
    pub seconds: Option<f64>,
}

impl Budget {
    /// A number of proposals per context.
    pub fn proposals(proposals: u64) -> Self {
        Self { proposals: Some(proposals), ..Self::default() }
    }

    /// A number of samples per context.
    pub fn draws(draws: u64) -> Self {
        Self { draws: Some(draws), ..Self::default() }
    }

    fn check(&self) -> Result<(), Error> {
        if self.proposals.is_none() && self.draws.is_none() && self.seconds.is_none() {
            return Err(Error::invalid("budget", "without limit", "proposals, draws or seconds"));
        }
        for (field, limit) in [("proposals of a budget", self.proposals), ("draws of a budget", self.draws)] {
            if limit == Some(0) {
                return Err(Error::invalid(field, 0, "at least 1"));
            }
        }
        match self.seconds {
            Some(seconds) if !(seconds > 0.0 && seconds.is_finite()) => {
                Err(Error::invalid("seconds of a budget", seconds, "above 0, finite"))
            }
            _ => Ok(()),
        }
    }
}

/// So many proposals may a batch hold: what is drawn at once has to be in memory at once.
pub(crate) const MOST_IN_BATCH: usize = 1 << 24;

/// How a sampler runs.
///
/// | parameter | default | range |
/// |---|---|---|
/// | `seed` | 0 | any |
/// | `batch` | 256 | 1 to 2^24 |
/// | `budget` | none: one must be given | see [`Budget`] |
///
/// Every proposal has random streams of its own, so that the samples and their order depend on the seed but
/// not on the batch size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunConfig {
    /// What all randomness is derived from.
    pub seed: u64,
    /// How many proposals are drawn and scored at once, per context.
    pub batch: usize,
    /// When to end.
    pub budget: Budget,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self { seed: 0, batch: 256, budget: Budget::default() }
    }
}

impl RunConfig {
    /// The default batch, with a seed and a budget.
    pub fn new(seed: u64, budget: Budget) -> Self {
        Self { seed, budget, ..Self::default() }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if !(1..=MOST_IN_BATCH).contains(&self.batch) {
            let allowed = format!("1 to {MOST_IN_BATCH}");
            return Err(Error::invalid("batch of proposals", self.batch, allowed));
        }
        self.budget.check()
    }
}

/// What a sampler has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// Proposals that were used: drawn, scored, and accepted or not. What a batch holds beyond the last sample
    /// that was asked for does not count.
    pub proposals: u64,
    /// Proposals that were accepted: for a Markov chain, moves.
    pub accepted: u64,
    /// Samples that were returned.
    pub draws: u64,
    /// Proposals that the target could not score: they count as proposals with P = 0, and are not accepted.
    pub skipped: u64,
    /// Proposals outside the target's support.
    pub impossible: u64,
    /// The largest `ln(P/q)` so far (for a random walk, the largest `ln P`); none before the first proposal
    /// with P > 0.
    pub largest_log_ratio: Option<f64>,
    /// Time since the first batch.
    pub seconds: f64,
}

impl Statistics {
    /// The share of proposals that were accepted, with its binomial error; none before the first proposal.
    pub fn acceptance_rate(&self) -> Option<Estimate> {
        share(self.accepted, self.proposals)
    }

    /// Samples returned per proposal.
    pub fn efficiency(&self) -> Option<f64> {
        (self.proposals > 0).then(|| self.draws as f64 / self.proposals as f64)
    }

    /// Keeps the largest ratio; `-inf` is none.
    pub(crate) fn see(&mut self, log_ratio: f64) {
        if log_ratio > self.largest_log_ratio.unwrap_or(f64::NEG_INFINITY) {
            self.largest_log_ratio = Some(log_ratio);
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.proposals += other.proposals;
        self.accepted += other.accepted;
        self.draws += other.draws;
        self.skipped += other.skipped;
        self.impossible += other.impossible;
        if let Some(log_ratio) = other.largest_log_ratio {
            self.see(log_ratio);
        }
        self.seconds = self.seconds.max(other.seconds);
    }
}

fn share(part: u64, whole: u64) -> Option<Estimate> {
    if whole == 0 {
        return None;
    }
    let (value, count) = (part as f64 / whole as f64, whole as f64);
    let std_error = if whole > 1 { (value * (1.0 - value) / (count - 1.0)).sqrt() } else { f64::INFINITY };
    Some(Estimate { value, std_error, ess: count })
}

/// Told of the state each time a batch is used up; `Break` ends the run after what is already drawn.
pub(crate) type Progress<'a> = Box<dyn FnMut(&Statistics) -> ControlFlow<()> + Send + 'a>;
