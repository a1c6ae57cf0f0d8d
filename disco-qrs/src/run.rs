//! The settings of a run, its budget and its statistics.

use std::ops::ControlFlow;

use disco_core::{Error, Estimate, statrs::function::beta::inv_beta_reg};
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
    /// The number of proposals, at least one.
    pub proposals: Option<u64>,
    /// The number of samples returned, at least one.
    pub draws: Option<u64>,
    /// The time in seconds, above zero and finite.
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

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the first that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
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

/// The most proposals in a batch: a batch has to fit in memory.
pub(crate) const MOST_IN_BATCH: usize = 1 << 24;

/// The settings of a run.
///
/// | parameter | default | range |
/// |---|---|---|
/// | `seed` | 0 | any |
/// | `batch` | 256 | 1 to 2^24 |
/// | `budget` | without limits: one must be given | see [`Budget`] |
///
/// Every proposal has random streams of its own, so that the samples and their order depend on the seed but
/// not on the batch size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunConfig {
    /// The seed of all randomness.
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

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the first that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        if !(1..=MOST_IN_BATCH).contains(&self.batch) {
            let allowed = format!("1 to {MOST_IN_BATCH}");
            return Err(Error::invalid("batch of proposals", self.batch, allowed));
        }
        self.budget.validate()
    }
}

/// Counts of a sampler's run so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Statistics {
    /// Proposals that were used: drawn, scored, and accepted or not. Proposals of a batch beyond the last sample
    /// that was asked for do not count.
    pub proposals: u64,
    /// Proposals that were accepted: for a Markov chain, moves.
    pub accepted: u64,
    /// Samples that were returned.
    pub draws: u64,
    /// Proposals that the target could not score: they count as proposals with P = 0, and are not accepted.
    pub skipped: u64,
    /// Proposals outside the target's support.
    pub impossible: u64,
    /// The largest `ln(P/q)` so far (for a random walk, the largest `ln P`); `None` before the first
    /// proposal with P > 0.
    pub largest_log_ratio: Option<f64>,
    /// Time since the first batch.
    pub seconds: f64,
}

impl Statistics {
    /// The share of proposals that were accepted, with its binomial error; `None` before the first proposal.
    ///
    /// Where all or no proposals were accepted, the error shows as 0 and is unknown: use
    /// [`acceptance_interval`](Self::acceptance_interval).
    pub fn acceptance_rate(&self) -> Option<Estimate> {
        share(self.accepted, self.proposals)
    }

    /// The 95% interval of the acceptance rate, exact for a binomial number (Clopper and Pearson 1934): for n
    /// proposals of which none was accepted, from 0 to about 3.7/n. `None` before the first proposal. Over several
    /// contexts it covers no less (Hoeffding 1956). The moves of a Markov chain are not independent: for them it is too
    /// narrow.
    pub fn acceptance_interval(&self) -> Option<(f64, f64)> {
        let (accepted, count) = (self.accepted as usize, self.proposals as usize);
        let high = |part| share_at_most(part, count, 0.025);
        (count > 0).then(|| (1.0 - high(count - accepted), high(accepted)))
    }

    /// Samples returned per proposal; `None` before the first proposal.
    pub fn efficiency(&self) -> Option<f64> {
        (self.proposals > 0).then(|| self.draws as f64 / self.proposals as f64)
    }

    /// Keeps the largest ratio; `-inf` does not count.
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

/// The upper end of the one-sided interval of confidence `1 - alpha` of a share of which `part` of `whole` were seen
/// (Clopper and Pearson 1934).
pub(crate) fn share_at_most(part: usize, whole: usize, alpha: f64) -> f64 {
    let (part, whole) = (part as f64, whole as f64);
    if part == 0.0 {
        // 1 - alpha^(1/n).
        -(alpha.ln() / whole).exp_m1()
    } else if part == whole {
        1.0
    } else {
        inv_beta_reg(part + 1.0, whole - part, 1.0 - alpha)
    }
}

/// A callback that is given the counts each time a batch is used up; `Break` ends the run after the proposals that are
/// drawn already.
pub(crate) type Progress<'a> = Box<dyn FnMut(&Statistics) -> ControlFlow<()> + Send + 'a>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_where_all_or_none_are_accepted() {
        let interval = |accepted, proposals| {
            Statistics { accepted, proposals, ..Statistics::default() }.acceptance_interval()
        };
        assert_eq!(interval(0, 0), None);
        // 1 - 0.025^(1/100).
        let bound = 0.036_216_69;
        let (low, high) = interval(0, 100).unwrap();
        assert!(low == 0.0 && (high - bound).abs() < 1e-8, "{high}");
        let (low, high) = interval(100, 100).unwrap();
        assert!(high == 1.0 && (1.0 - low - bound).abs() < 1e-8, "{low}");
        // Published: 10 of 100 gives 0.0490 to 0.1762 (Brown, Cai and DasGupta 2001 compare these).
        let (low, high) = interval(10, 100).unwrap();
        assert!((low - 0.0490).abs() < 5e-5 && (high - 0.1762).abs() < 5e-5, "{low} {high}");
    }
}
