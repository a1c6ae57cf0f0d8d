//! A policy that keeps its parameters, or follows a script of them, and records the gradients and updates it is given.

use disco_core::{Distribution, Error, Result, Sampled, Score, Scorer, Streams};
use disco_tuner::{BatchItem, PendingGradient, Policy, SoftmaxTable, Update, UpdateStats, WeightFn};

pub(crate) type Table = SoftmaxTable<usize, usize>;

/// Draws at random, or each outcome as often as its probability says: then a mean over the samples *is* the
/// expectation.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) table: Table,
    pub(crate) stratified: bool,
}

impl Scorer<usize, usize> for Source {
    fn log_scores(&self, context: &usize, samples: &[&usize]) -> Result<Vec<Score>> {
        self.table.log_scores(context, samples)
    }
}

impl Distribution<usize, usize> for Source {
    fn sample(&self, context: &usize, streams: &Streams) -> Result<Vec<Sampled<usize>>> {
        if !self.stratified {
            return self.table.sample(context, streams);
        }
        let row = &self.table.rows()[*context];
        let mut samples = Vec::new();
        for (value, (&probability, &log_prob)) in
            row.probabilities().iter().zip(row.as_log_probs()).enumerate()
        {
            let count = (probability * streams.len() as f64).round() as usize;
            samples.extend(std::iter::repeat_n(Sampled { value, log_prob }, count));
        }
        Error::check_length("stratified samples", streams.len(), samples.len())?;
        Ok(samples)
    }
}

/// Parameters by update: the first before any, then each in turn, again and again.
#[derive(Debug)]
pub(crate) struct Scripted {
    pub(crate) script: Vec<Table>,
    pub(crate) proposal: Source,
    pub(crate) gradients: Vec<Vec<f64>>,
    pub(crate) updates: Vec<Update>,
    at: usize,
    source: Source,
}

impl Scripted {
    pub(crate) fn new(script: Vec<Table>, proposal: Table, stratified: bool) -> Self {
        let source = Source { table: script[0].clone(), stratified };
        let proposal = Source { table: proposal, stratified };
        Self { script, proposal, gradients: Vec::new(), updates: Vec::new(), at: 0, source }
    }
}

impl Scorer<usize, usize> for Scripted {
    fn log_scores(&self, context: &usize, samples: &[&usize]) -> Result<Vec<Score>> {
        self.source.log_scores(context, samples)
    }
}

impl Distribution<usize, usize> for Scripted {
    fn sample(&self, context: &usize, streams: &Streams) -> Result<Vec<Sampled<usize>>> {
        self.source.sample(context, streams)
    }
}

impl Policy<usize, usize> for Scripted {
    type Frozen = Source;

    fn freeze(&self) -> Result<Source> {
        Ok(self.proposal.clone())
    }

    fn accumulate(&mut self, batch: &[BatchItem<'_, usize, usize>], weigh: &mut WeightFn<'_>) -> Result<()> {
        self.source.table.accumulate(batch, weigh)
    }

    fn clear(&mut self) {
        self.source.table.clear();
    }

    fn step(&mut self, update: &Update) -> Result<UpdateStats> {
        let gradient = self.source.table.pending()?.remove("logits").unwrap_or_default();
        let gradient_norm = gradient.iter().map(|value| value * value).sum::<f64>().sqrt();
        self.gradients.push(gradient);
        self.updates.push(update.clone());
        self.at = (self.at + 1) % self.script.len();
        self.source.table = self.script[self.at].clone();
        Ok(UpdateStats { gradient_norm })
    }
}
