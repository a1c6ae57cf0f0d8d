//! Reports of a run's steps and of its end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::metrics::{Metrics, number};

/// A sample as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DisplayedSample {
    /// The position of its context in the list of contexts.
    pub context: usize,
    /// The text that [`with_samples_shown`](crate::Problem::with_samples_shown) made of it.
    pub text: String,
}

/// A report of one step. Metrics describe the policy before the step's update.
///
/// In a run that several workers share, all numbers but `seconds` are of all workers together.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StepReport {
    /// Number of steps done, including this one.
    pub step: u64,
    /// Number of steps of the run.
    pub steps: u64,
    /// Number of samples drawn, or of outcomes where all of them are taken.
    pub samples: usize,
    /// Number of samples in the target's support.
    pub successes: usize,
    /// Number of samples that the target could not score; they count as forbidden by it.
    pub skipped: usize,
    /// Number of samples that the target scored but for which no other sample gave a `Z`; they are left out of the
    /// gradient.
    pub unnormalised: usize,
    /// Number of contexts without a sample in the target's support.
    pub contexts_without_success: usize,
    /// Number of samples with a weight other than zero, over all epochs and replayed steps.
    pub weighted: usize,
    /// The step size.
    pub learning_rate: f64,
    /// The L2 norm of the gradient, before clipping, of the last epoch.
    #[serde(serialize_with = "number")]
    pub gradient_norm: f64,
    /// Whether the offline proposal was replaced by the policy.
    pub proposal_replaced: bool,
    /// Seconds per [`Stage`](crate::Stage), of this worker.
    pub seconds: BTreeMap<&'static str, f64>,
    /// Tokens per stage, of a problem that says [how long](crate::Problem::with_length) a sample is: tokens drawn,
    /// scored, given log-probabilities, differentiated, and drawn for validation.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tokens: BTreeMap<&'static str, u64>,
    /// Metrics; empty at steps that are not measured.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: Metrics,
    /// Warnings on the step's numbers, such as a metric that is NaN, or the first skipped sample with its reason. A
    /// run says each once; a resumed run says it again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Samples of measured steps, if [asked for](crate::Problem::with_samples_shown).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shown: Vec<DisplayedSample>,
}

#[cfg(any(feature = "mlflow", feature = "tensorboard"))]
impl StepReport {
    /// The numbers that a logger shows as series: settings and costs of the step, and metrics. The name of a standard
    /// error is that of its metric after `prefix`, and before `suffix`.
    pub(crate) fn numbers(&self, [prefix, suffix]: [&str; 2]) -> Vec<(String, f64)> {
        let mut numbers = vec![
            ("gradient_norm".to_owned(), self.gradient_norm),
            ("learning_rate".to_owned(), self.learning_rate),
        ];
        numbers.extend(self.seconds.iter().map(|(stage, seconds)| (format!("seconds/{stage}"), *seconds)));
        numbers.extend(self.tokens.iter().map(|(stage, tokens)| (format!("tokens/{stage}"), *tokens as f64)));
        for (name, metric) in &self.metrics {
            numbers.push((name.clone(), metric.value));
            numbers.extend(metric.std_error.map(|error| (format!("{prefix}{name}{suffix}"), error)));
        }
        numbers
    }
}

/// The reason why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StopReason {
    /// All steps are done.
    Finished,
    /// An observer answered [`Control::Stop`](crate::Control::Stop).
    Observer,
    /// The metric of [`EarlyStopping`](crate::EarlyStopping) no longer improved.
    NoImprovement,
}

/// The end of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Outcome {
    /// Number of steps done.
    pub step: u64,
    /// The reason why the run ended.
    pub reason: StopReason,
    /// The best value of the metric of [`EarlyStopping`](crate::EarlyStopping), and the step it came at.
    pub best: Option<(f64, u64)>,
    /// Number of failures of the observer.
    pub observer_failures: u64,
    /// The step after which the observer failed first, and the message of its error.
    pub first_observer_failure: Option<(u64, String)>,
}
