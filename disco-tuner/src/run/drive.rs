//! Driving a run to its end, with an observer.

use super::{
    Run,
    collective::{agree, exchange},
};
use crate::{
    error::{Error, Result},
    observer::{Control, Observer, Outcome, StopReason},
    policy::Policy,
};

impl<P, C, X> Run<'_, P, C, X>
where
    P: Policy<C, X>,
{
    /// Makes all remaining steps, and reports each to `observer`. A run that the observer stops leaves a checkpoint.
    ///
    /// # Errors
    /// As [`step`](Self::step); [`Error::Observer`] if the observer refuses to start.
    pub fn drive(mut self, observer: &mut dyn Observer) -> Result<Outcome> {
        let mut failures = Failures::default();
        if let Err(error) = self.drive_steps(observer, &mut failures) {
            // The run's error is returned; a failure to log it as well would replace it.
            let _ = observer.fail(self.progress.step, &error.to_string());
            return Err(error);
        }
        let mut outcome = Outcome {
            step: self.progress.step,
            reason: self.progress.reason.unwrap_or(StopReason::Finished),
            best: self.progress.best,
            observer_failures: failures.count,
            first_observer_failure: failures.first.clone(),
        };
        if let Err(failure) = observer.finish(&outcome) {
            failures.add(outcome.step, &*failure);
            (outcome.observer_failures, outcome.first_observer_failure) = (failures.count, failures.first);
        }
        Ok(outcome)
    }

    fn drive_steps(&mut self, observer: &mut dyn Observer, failures: &mut Failures) -> Result<()> {
        let started = observer.start(self.tuner.config(), self.progress.step);
        agree(self.workers, started.map_err(Error::Observer))?;
        while let Some(report) = self.step_without_checkpoint()? {
            // Before the checkpoint: a run that dies in between makes the step again, and no log misses it.
            let stop = match observer.step(&report) {
                Ok(Control::Continue) => false,
                Ok(Control::Stop) => true,
                Err(failure) => {
                    failures.add(report.step, &*failure);
                    false
                }
            };
            if self.is_on_any(stop)? {
                self.progress.reason.get_or_insert(StopReason::Observer);
            }
            self.checkpoint_if_due()?;
        }
        Ok(())
    }

    /// Whether a condition holds on any worker.
    fn is_on_any(&self, here: bool) -> Result<bool> {
        let numbers = exchange(self.workers, Ok(vec![f64::from(u8::from(here))]))?;
        Ok(numbers.iter().flatten().any(|number| *number != 0.0))
    }
}

/// Number of failures of an observer, and the first of them.
#[derive(Default)]
struct Failures {
    count: u64,
    first: Option<(u64, String)>,
}

impl Failures {
    fn add(&mut self, step: u64, failure: &(dyn std::error::Error + Send + Sync)) {
        self.count += 1;
        self.first.get_or_insert_with(|| (step, failure.to_string()));
    }
}
