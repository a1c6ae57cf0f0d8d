//! Observers: the trait, the reports that an observer receives, and the observers of this crate.

mod background;
#[cfg(feature = "console")]
mod console;
mod csv;
mod in_memory;
mod json_lines;
mod log_file;
#[cfg(feature = "mlflow")]
mod mlflow;
mod report;
mod stop_flag;
#[cfg(feature = "tensorboard")]
mod tensorboard;

use crate::config::TunerConfig;

pub use background::Background;
#[cfg(feature = "console")]
pub use console::Console;
pub use csv::Csv;
pub use in_memory::InMemory;
pub use json_lines::JsonLines;
#[cfg(feature = "mlflow")]
pub use mlflow::Mlflow;
pub use report::{DisplayedSample, Outcome, StepReport, StopReason};
pub use stop_flag::StopFlag;
#[cfg(feature = "tensorboard")]
pub use tensorboard::TensorBoard;

/// An error of an observer, of any type.
pub type ObserverError = Box<dyn std::error::Error + Send + Sync>;

/// The answer of an observer to a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Make the next step.
    Continue,
    /// End the run: this step counts, no other is made, and [`Observer::finish`] is called.
    Stop,
}

/// Watches a run: a logger, a progress bar, a stop button.
///
/// An observer sees copies: it cannot change a result.
///
/// ```
/// use disco_core::{Contexts, Space, scorer};
/// use disco_tuner::{Control, Observer, ObserverError, Problem, SoftmaxTable, StepReport, StopReason, Tuner, TunerConfig};
///
/// /// Ends the run once the policy is within 0.01 nats of the target.
/// struct NearEnough;
///
/// impl Observer for NearEnough {
///     fn step(&mut self, report: &StepReport) -> Result<Control, ObserverError> {
///         // Metrics are there at every `metrics_every`-th step only.
///         let near = report.metrics.get("kl_target_policy").is_some_and(|kl| kl.value < 0.01);
///         Ok(if near { Control::Stop } else { Control::Continue })
///     }
/// }
///
/// let (contexts, target) = (Contexts::single(()), scorer(|_: &(), x: &u8| f64::from(*x)));
/// let mut policy = SoftmaxTable::uniform(Space::new([()])?, Space::new(0..4u8)?);
/// let tuner = Tuner::new(TunerConfig { learning_rate: 0.1, ..TunerConfig::default() })?;
/// let outcome = tuner.run(&mut policy, &Problem::new(&contexts, &target), &mut NearEnough)?;
/// assert_eq!(outcome.reason, StopReason::Observer);
/// # Ok::<(), disco_tuner::Error>(())
/// ```
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

    /// A step is done. Its checkpoint, where one is due, is written after this call. `Ok(Continue)` lets the run go on;
    /// `Ok(Stop)` ends it, with a checkpoint.
    ///
    /// # Errors
    /// `Err` stops nothing: it is counted and kept in the [`Outcome`], and the observer is called again after
    /// the next step.
    fn step(&mut self, report: &StepReport) -> Result<Control, ObserverError>;

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

/// Several observers as one: all are called, in order. The run stops if one of them answers [`Control::Stop`].
///
/// # Errors
/// At the start, the first error. Later, all observers are called, and then the first error is given
/// unless one asked to stop.
impl Observer for Vec<Box<dyn Observer>> {
    fn start(&mut self, config: &TunerConfig, step: u64) -> Result<(), ObserverError> {
        self.iter_mut().try_for_each(|observer| observer.start(config, step))
    }

    fn step(&mut self, report: &StepReport) -> Result<Control, ObserverError> {
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

/// Observes nothing.
impl Observer for () {
    fn step(&mut self, _: &StepReport) -> Result<Control, ObserverError> {
        Ok(Control::Continue)
    }
}
