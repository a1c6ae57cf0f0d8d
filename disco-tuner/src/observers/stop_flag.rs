//! An observer that ends the run once a flag is raised.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::{Control, Observer, ObserverError, Report};

/// Ends the run after the step during which the flag was raised: what a signal handler or a button sets.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// A flag that others hold too.
    pub fn new(flag: Arc<AtomicBool>) -> Self {
        Self(flag)
    }

    /// Asks for the end of the run.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Observer for StopFlag {
    fn step(&mut self, _: &Report) -> Result<Control, ObserverError> {
        Ok(if self.0.load(Ordering::Relaxed) { Control::Stop } else { Control::Continue })
    }
}
