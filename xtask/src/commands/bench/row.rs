//! The rows of the benchmark's table.

use super::{Outcome, job::Work};

/// A row: a number that some work gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Row {
    /// Seconds until weights and tokenizer are read.
    Load,
    /// Peak memory of a process that does no more than that.
    LoadMemory,
    /// Drawing 32 sequences at once, with their log-probabilities.
    #[value(name = "sample-32")]
    Sample32,
    /// Drawing 128 sequences at once, with their log-probabilities.
    #[value(name = "sample-128")]
    Sample128,
    /// The log-probabilities of 128 sequences.
    #[value(name = "score-128")]
    Score128,
    /// A forward-KL step on 64 samples.
    ForwardKlStep,
    /// Peak memory of such steps.
    ForwardKlMemory,
    /// A Jensen-Shannon step on 64 samples: every one has a gradient.
    JsStep,
    /// Peak memory of such steps.
    JsMemory,
    /// A forward-KL step of low-rank adapters (rank 8, beside every matrix of every layer).
    ForwardKlLoraStep,
    /// Peak memory of such steps.
    ForwardKlLoraMemory,
    /// A Jensen-Shannon step of such adapters.
    JsLoraStep,
    /// Peak memory of such steps.
    JsLoraMemory,
}

impl Row {
    pub(crate) const ALL: [Self; 13] = [
        Self::Load,
        Self::LoadMemory,
        Self::Sample32,
        Self::Sample128,
        Self::Score128,
        Self::ForwardKlStep,
        Self::ForwardKlMemory,
        Self::JsStep,
        Self::JsMemory,
        Self::ForwardKlLoraStep,
        Self::ForwardKlLoraMemory,
        Self::JsLoraStep,
        Self::JsLoraMemory,
    ];

    /// The work that is measured.
    pub(super) fn work(self) -> Work {
        match self {
            Self::Load | Self::LoadMemory => Work::Load,
            Self::Sample32 => Work::Sample32,
            Self::Sample128 => Work::Sample128,
            Self::Score128 => Work::Score,
            Self::ForwardKlStep | Self::ForwardKlMemory => Work::ForwardKl,
            Self::JsStep | Self::JsMemory => Work::JensenShannon,
            Self::ForwardKlLoraStep | Self::ForwardKlLoraMemory => Work::ForwardKlLora,
            Self::JsLoraStep | Self::JsLoraMemory => Work::JensenShannonLora,
        }
    }

    /// Its name on the command line.
    pub(super) fn name(self) -> String {
        use clap::ValueEnum as _;
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Sample32 | Self::Sample128 | Self::Score128 => "tokens/s",
            Self::Load | Self::ForwardKlStep | Self::JsStep | Self::ForwardKlLoraStep | Self::JsLoraStep => {
                "s"
            }
            Self::LoadMemory
            | Self::ForwardKlMemory
            | Self::JsMemory
            | Self::ForwardKlLoraMemory
            | Self::JsLoraMemory => "MB",
        }
    }

    /// Its value in every repetition (for memory: of every process).
    pub(super) fn values(self, outcome: &Outcome) -> Vec<f64> {
        match self.unit() {
            "s" => outcome.seconds.clone(),
            "MB" => outcome.peak_bytes.iter().map(|bytes| *bytes as f64 / 1e6).collect(),
            _ => {
                let rate = |(tokens, seconds): (&usize, &f64)| *tokens as f64 / seconds;
                outcome.tokens.iter().zip(&outcome.seconds).map(rate).collect()
            }
        }
    }
}
