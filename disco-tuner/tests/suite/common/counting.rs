//! A policy that counts the calls of the tuner.

use std::sync::atomic::{AtomicUsize, Ordering};

use disco_core::{Distribution, Result, Sampled, Score, Scorer, Streams};
use disco_tuner::{BatchItem, Policy, Update, UpdateStats, WeightFn};

use super::scripted::Table;

/// Counts the samples that the tuner asks a policy about.
#[derive(Debug)]
pub(crate) struct Counting {
    pub(crate) table: Table,
    /// Log-probabilities given without a gradient.
    pub(crate) scored: AtomicUsize,
    /// The samples of each forward and backward pass.
    pub(crate) passes: Vec<Vec<usize>>,
}

impl Counting {
    pub(crate) fn new(table: Table) -> Self {
        Self { table, scored: AtomicUsize::new(0), passes: Vec::new() }
    }

    /// How many samples had a forward and backward pass.
    pub(crate) fn passed(&self) -> usize {
        self.passes.iter().map(Vec::len).sum()
    }
}

impl Scorer<usize, usize> for Counting {
    fn log_scores(&self, context: &usize, samples: &[&usize]) -> Result<Vec<Score>> {
        self.scored.fetch_add(samples.len(), Ordering::Relaxed);
        self.table.log_scores(context, samples)
    }
}

impl Distribution<usize, usize> for Counting {
    fn sample(&self, context: &usize, streams: &Streams) -> Result<Vec<Sampled<usize>>> {
        self.table.sample(context, streams)
    }
}

impl Policy<usize, usize> for Counting {
    type Frozen = Table;

    fn freeze(&self) -> Result<Table> {
        self.table.freeze()
    }

    fn accumulate(&mut self, batch: &[BatchItem<'_, usize, usize>], weigh: &mut WeightFn<'_>) -> Result<()> {
        self.passes.push(batch.iter().map(|item| *item.sample).collect());
        self.table.accumulate(batch, weigh)
    }

    fn clear(&mut self) {
        self.table.clear();
    }

    fn step(&mut self, update: &Update) -> Result<UpdateStats> {
        self.table.step(update)
    }
}
