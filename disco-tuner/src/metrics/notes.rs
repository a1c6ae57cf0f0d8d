//! Notes on the numbers of a step: each becomes a warning once in a run.

use disco_core::Skipped;
use serde::{Deserialize, Serialize};

use crate::error::Stage;

/// A note on a number that a step shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Note {
    /// Notes of one key are the same warning.
    pub(crate) key: String,
    /// The place, and what is to be known.
    pub(crate) text: String,
}

impl Note {
    /// The note that `whose` (base or a feature) skipped a sample; `effect` says what that does to the metrics.
    pub(crate) fn skipped(
        context: usize,
        number: usize,
        whose: &str,
        skipped: &Skipped,
        effect: &str,
    ) -> Self {
        let (by, reason) = (skipped.by(), skipped.reason());
        let text = format!("context {context}: {by} skipped sample {number}: {reason}; {effect}");
        Self { key: format!("{whose} skips"), text }
    }

    /// The note that `whose` (base or a feature) gave a number that is none.
    pub(crate) fn not_finite(context: usize, number: usize, whose: &str, value: f64, effect: &str) -> Self {
        let text = format!("context {context}: {whose} gave {value} for sample {number}; {effect}");
        Self { key: format!("{whose} is not finite"), text }
    }

    /// The note with the stage of the step in front of its text.
    pub(crate) fn at(self, stage: Stage) -> Self {
        Self { text: format!("{stage}, {}", self.text), ..self }
    }

    /// The note that a metric is NaN.
    pub(crate) fn metric(context: Option<usize>, name: &str, why: &str) -> Self {
        let place = context.map(|context| format!("context {context}: ")).unwrap_or_default();
        Self { key: format!("metric {name}"), text: format!("{place}{name} is NaN: {why}") }
    }
}
