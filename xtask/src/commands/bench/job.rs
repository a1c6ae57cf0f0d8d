//! A job of the benchmark, which a process of its own is given, and the outcome, which it answers.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Backend, Error, Result};

/// The largest difference, in nats, between the log-probabilities that two programs may give a sequence if both did the same work.
const SAME: f64 = 0.1;

/// A kind of work. Each is done in a process of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Work {
    /// Reading weights and tokenizer.
    Load,
    /// Drawing 32 sequences.
    Sample32,
    /// Drawing 128 sequences.
    Sample128,
    /// Scoring 128 sequences.
    Score,
    /// A step along the gradient of forward KL: only samples in the target's support have one.
    ForwardKl,
    /// A step along the gradient of the Jensen-Shannon divergence: every sample has one.
    JensenShannon,
    /// As `ForwardKl`, of low-rank adapters beside frozen weights.
    ForwardKlLora,
    /// As `JensenShannon`, of such adapters.
    JensenShannonLora,
}

impl Work {
    pub(crate) const ALL: [Self; 8] = [
        Self::Load,
        Self::Sample32,
        Self::Sample128,
        Self::Score,
        Self::ForwardKl,
        Self::JensenShannon,
        Self::ForwardKlLora,
        Self::JensenShannonLora,
    ];

    /// How many sequences one repetition draws or scores.
    fn sequences(self) -> usize {
        match self {
            Self::Load => 0,
            Self::Sample32 => 32,
            Self::Sample128 | Self::Score => 128,
            Self::ForwardKl | Self::JensenShannon | Self::ForwardKlLora | Self::JensenShannonLora => 64,
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Load => "load the model",
            Self::Sample32 => "sample 32 sequences",
            Self::Sample128 => "sample 128 sequences",
            Self::Score => "score 128 sequences",
            Self::ForwardKl => "forward-KL step, 64 samples",
            Self::JensenShannon => "Jensen-Shannon step, 64 samples",
            Self::ForwardKlLora => "forward-KL step of adapters, 64 samples",
            Self::JensenShannonLora => "Jensen-Shannon step of adapters, 64 samples",
        })
    }
}

/// Work, and all settings that decide the amount of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) work: Work,
    pub(crate) model: PathBuf,
    pub(crate) backend: Backend,
    /// Measured repetitions, after one that warms up.
    pub(crate) repetitions: u32,
    pub(crate) context: String,
    pub(crate) max_new_tokens: usize,
    /// Sequences per repetition.
    pub(crate) count: usize,
    /// A sample is in the support of the steps' target if its text holds this word.
    pub(crate) word: String,
    /// Samples of one forward and backward pass.
    pub(crate) micro_batch: usize,
    pub(crate) learning_rate: f64,
    /// The sequences that disco has drawn, for the peer to score.
    pub(crate) sequences: Vec<Vec<u32>>,
    /// The number of samples in the support in each of disco's steps: the peer takes as many of its own.
    pub(crate) successes: Vec<usize>,
}

impl Job {
    pub(crate) fn new(work: Work, model: PathBuf, backend: Backend, repetitions: u32) -> Self {
        Self {
            work,
            model,
            backend,
            repetitions,
            context: "It was a cold and stormy night".into(),
            max_new_tokens: 40,
            count: work.sequences(),
            word: "night".into(),
            micro_batch: 16,
            learning_rate: 1e-5,
            sequences: Vec::new(),
            successes: Vec::new(),
        }
    }

    /// Gives the peer the same work as the outcome `ours`.
    pub(super) fn draws_as(&mut self, ours: &Outcome) {
        self.sequences.clone_from(&ours.sequences);
        self.successes.clone_from(&ours.successes);
    }
}

/// The outcome of a job.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Outcome {
    /// The seconds of each measured repetition.
    pub(crate) seconds: Vec<f64>,
    /// Tokens that these repetitions drew or scored, end tokens included and nothing behind them.
    pub(crate) tokens: Vec<usize>,
    /// The largest resident set of each process, in bytes.
    pub(crate) peak_bytes: Vec<u64>,
    /// The sequences that were scored.
    pub(crate) sequences: Vec<Vec<u32>>,
    /// The log-probability of each of `sequences`.
    pub(crate) log_probs: Vec<f64>,
    /// How many samples of each step were in the target's support, the step that does not count included.
    pub(crate) successes: Vec<usize>,
    /// The program that did the work, with versions.
    pub(crate) program: String,
}

impl Outcome {
    /// The outcomes of several processes as one.
    pub(super) fn joined(outcomes: impl IntoIterator<Item = Self>) -> Self {
        outcomes.into_iter().fold(Self::default(), |mut all, one| {
            all.seconds.extend(one.seconds);
            all.tokens.extend(one.tokens);
            all.peak_bytes.extend(one.peak_bytes);
            all.program = one.program;
            all
        })
    }
}

/// Checks that two programs have scored alike: otherwise they did not do the same work.
pub(super) fn check_same(ours: &Outcome, theirs: &Outcome) -> Result<()> {
    if ours.log_probs.len() != theirs.log_probs.len() {
        return Err(Error::answer("the peer", "it scored another number of sequences"));
    }
    for (ours, theirs) in ours.log_probs.iter().zip(&theirs.log_probs) {
        if !((ours - theirs).abs() <= SAME) {
            let problem = format!("a sequence has log-probability {theirs} by it, {ours} by disco");
            return Err(Error::answer("the peer", &problem));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_score_differently_are_found_out() {
        let outcome = |log_probs: &[f64]| Outcome { log_probs: log_probs.to_vec(), ..Outcome::default() };
        check_same(&outcome(&[-10.0, -9.0]), &outcome(&[-10.001, -9.0])).unwrap();
        for other in [&[-10.0, -9.5][..], &[-10.0], &[f64::NAN, -9.0]] {
            check_same(&outcome(&[-10.0, -9.0]), &outcome(other)).unwrap_err();
        }
    }
}
