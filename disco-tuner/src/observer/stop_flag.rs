//! An observer that ends the run when a flag is raised.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{Control, Observer, ObserverError, StepReport};

/// Ends the run after the step during which the flag was raised, for example by a signal handler or a button.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// A stop flag that shares `flag` with its other owners.
    pub fn new(flag: Arc<AtomicBool>) -> Self {
        Self(flag)
    }

    /// Requests the end of the run.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Observer for StopFlag {
    fn step(&mut self, _: &StepReport) -> Result<Control, ObserverError> {
        Ok(if self.0.load(Ordering::Relaxed) { Control::Stop } else { Control::Continue })
    }
}
