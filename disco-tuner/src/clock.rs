//! Seconds per stage of a step.

use std::{collections::BTreeMap, time::Instant};

use crate::Stage;

#[derive(Debug, Default)]
pub(crate) struct Clock(BTreeMap<Stage, f64>);

impl Clock {
    /// Runs `work` and adds its time to `stage`.
    pub(crate) fn time<T>(&mut self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = work();
        *self.0.entry(stage).or_default() += start.elapsed().as_secs_f64();
        done
    }

    pub(crate) fn seconds(&self) -> BTreeMap<&'static str, f64> {
        self.0.iter().map(|(stage, seconds)| (stage.name(), *seconds)).collect()
    }
}
