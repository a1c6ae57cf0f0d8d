//! What watches a run, and what it is told.

use std::collections::BTreeMap;

use disco_core::Estimate;
use serde::{Deserialize, Serialize};

use crate::TunerConfig;

/// An error of an observer, of whatever kind.
pub type ObserverError = Box<dyn std::error::Error + Send + Sync>;

/// What an observer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// The next step.
    Continue,
    /// The end of the run: this step counts, no other is made, and [`Observer::finish`] is called.
    Stop,
}

/// Watches a run: a logger, a progress bar, a stop button.
///
/// An observer sees copies: nothing it does changes what is computed.
pub trait Observer {
    /// The run is about to begin, or to go on after a resume; `step` steps are done.
    ///
    /// # Errors
    /// The run is refused with [`Error::Observer`](crate::Error::Observer), before its first step. So an
    /// observer finds out here whether it can write.
    fn start(&mut self, config: &TunerConfig, step: u64) -> Result<(), ObserverError> {
        let _ = (config, step);
        Ok(())
    }

    /// A step is done; its checkpoint, where one is due, comes after this. `Ok(Continue)` goes on; `Ok(Stop)` ends
    /// the run in good order.
    ///
    /// # Errors
    /// `Err` stops nothing: it is counted and kept in the [`Outcome`], and the observer is called again after
    /// the next step.
    fn step(&mut self, report: &Report) -> Result<Control, ObserverError>;

    /// The run is over, without an error of its own.
    ///
    /// # Errors
    /// Kept in the [`Outcome`], as above.
    fn finish(&mut self, outcome: &Outcome) -> Result<(), ObserverError> {
        let _ = outcome;
        Ok(())
    }

    /// The run has failed with `error`, after `step` steps; [`finish`](Self::finish) is not called. This also
    /// follows a start that an observer refused.
    ///
    /// # Errors
    /// They are dropped: the run's own error is the one that is given.
    fn fail(&mut self, step: u64, error: &str) -> Result<(), ObserverError> {
        let _ = (step, error);
        Ok(())
    }
}

/// Several observers as one: all are called, in order. One that wants to stop is enough.
///
/// # Errors
/// At the start, the first error. Later, all observers are called, and then the first error is given
/// unless one asked to stop.
impl Observer for Vec<Box<dyn Observer>> {
    fn start(&mut self, config: &TunerConfig, step: u64) -> Result<(), ObserverError> {
        self.iter_mut().try_for_each(|observer| observer.start(config, step))
    }

    fn step(&mut self, report: &Report) -> Result<Control, ObserverError> {
        let answers: Vec<_> = self.iter_mut().map(|observer| observer.step(report)).collect();
        if answers.iter().any(|answer| matches!(answer, Ok(Control::Stop))) {
            return Ok(Control::Stop);
        }
        answers.into_iter().find(Result::is_err).unwrap_or(Ok(Control::Continue))
    }

    fn finish(&mut self, outcome: &Outcome) -> Result<(), ObserverError> {
        let answers: Vec<_> = self.iter_mut().map(|observer| observer.finish(outcome)).collect();
        answers.into_iter().find(Result::is_err).unwrap_or(Ok(()))
    }

    fn fail(&mut self, step: u64, error: &str) -> Result<(), ObserverError> {
        let answers: Vec<_> = self.iter_mut().map(|observer| observer.fail(step, error)).collect();
        answers.into_iter().find(Result::is_err).unwrap_or(Ok(()))
    }
}

/// Watches nothing.
impl Observer for () {
    fn step(&mut self, _: &Report) -> Result<Control, ObserverError> {
        Ok(Control::Continue)
    }
}

/// A number with its standard error, where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Metric {
    /// The number. In JSON an infinite one is `"inf"` or `"-inf"`, one that is none `null`.
    #[serde(serialize_with = "number")]
    pub value: f64,
    /// Its standard error, given the contexts of the step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std_error: Option<f64>,
}

fn number<S: serde::Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.is_nan() {
        serializer.serialize_none()
    } else {
        disco_core::infinite::serialize(value, serializer)
    }
}

impl From<f64> for Metric {
    fn from(value: f64) -> Self {
        Self { value, std_error: None }
    }
}

impl From<Estimate> for Metric {
    fn from(estimate: Estimate) -> Self {
        let std_error = estimate.std_error.is_finite().then_some(estimate.std_error);
        Self { value: estimate.value, std_error }
    }
}

/// Metrics by name; estimates are means over the contexts of the step that have samples to estimate from.
///
/// | name | what |
/// |---|---|
/// | `{kl,tv,js}_target_policy`, `kl_policy_target` | divergences of target `p` and policy, nats; `kl_a_b` is KL(a‖b) |
/// | `{kl,tv,js}_target_proposal`, `kl_proposal_target` | the same of the frozen proposal; offline only |
/// | `{kl,tv,js}_policy_base`, `kl_base_policy` | the same of policy and base |
/// | `moment/NAME/{policy,proposal,target}` | means of a feature |
/// | `entropy` | of the policy, nats |
/// | `log_z`, `log_z_running` | `ln Z` from the step's samples; from all so far |
/// | `ess`, `ess_share`, `largest_weight_share` | of the weights `P/q` |
/// | `lacking_mass` | 1 - mean of `p/q`, with `Z` from earlier samples: the target's mass that the step's samples miss |
/// | `outside_mass` | the policy's mass where `P = 0` |
/// | `{pseudo_reward,advantage}/{mean,std,min,max}` | of `-pi/q f'(pi/p)`, and after the baseline |
/// | `cut_share` | the share of the weights' magnitude that limits took |
/// | `log_prob_gap` | the largest difference of a sample's log-probability between sampling and gradient |
/// | `length`, `statistic/NAME` | of the samples; the latter are [one's own](crate::Problem::with_statistic) |
/// | `validation/NAME` | on held-out contexts, after the update: those of target, policy, base and features |
pub type Metrics = BTreeMap<String, Metric>;

/// A sample as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// The position of its context in the list of contexts.
    pub context: usize,
    /// What [`with_samples_shown`](crate::Problem::with_samples_shown) made of it.
    pub text: String,
}

/// What one step did. Metrics describe the policy before the step's update.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// How many steps are done, with this one.
    pub step: u64,
    /// How many the run has.
    pub steps: u64,
    /// How many samples were drawn.
    pub samples: usize,
    /// How many of them lie in the target's support.
    pub successes: usize,
    /// How many the target could not score; they are left out.
    pub skipped: usize,
    /// How many the target scored but no other sample gave a `Z` for; they are left out of the gradient.
    pub unnormalised: usize,
    /// How many contexts had no sample in the target's support.
    pub contexts_without_success: usize,
    /// How many samples had a weight other than zero, over all epochs and replayed steps.
    pub weighted: usize,
    /// The step size.
    pub learning_rate: f64,
    /// The L2 norm of the gradient, before clipping, of the last epoch.
    pub gradient_norm: f64,
    /// Whether the offline proposal was replaced by the policy.
    pub proposal_replaced: bool,
    /// Seconds per [`Stage`](crate::Stage).
    pub seconds: BTreeMap<&'static str, f64>,
    /// Tokens per stage, of a problem that says [how long](crate::Problem::with_length) a sample is: those drawn,
    /// scored, given log-probabilities, differentiated and drawn for validation.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tokens: BTreeMap<&'static str, u64>,
    /// Metrics; empty at steps without.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: Metrics,
    /// Samples of measured steps, if asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shown: Vec<Shown>,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// All steps are done.
    Finished,
    /// An observer asked for it.
    Observer,
    /// The metric of [`EarlyStopping`](crate::EarlyStopping) no longer improved.
    NoImprovement,
}

/// The end of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// How many steps are done.
    pub step: u64,
    /// Why no more were made.
    pub reason: Reason,
    /// The lowest value of the metric of [`EarlyStopping`](crate::EarlyStopping), and the step it came at.
    pub best: Option<(f64, u64)>,
    /// How often an observer failed.
    pub observer_failures: u64,
    /// What the observer's first failure said, and after which step.
    pub first_observer_failure: Option<(u64, String)>,
}
