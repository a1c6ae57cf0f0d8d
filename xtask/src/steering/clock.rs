//! The wall time of stages.

use std::time::Instant;

use crate::results::StageRecord;

/// Measures stages one after the other.
#[derive(Debug)]
pub struct Clock {
    last: Instant,
    stages: Vec<StageRecord>,
}

impl Default for Clock {
    fn default() -> Self {
        Self { last: Instant::now(), stages: Vec::new() }
    }
}

impl Clock {
    /// Ends the stage that began when the last one ended.
    pub fn lap(&mut self, name: &'static str, samples: usize, tokens: usize) {
        self.lap_after(0.0, name, samples, tokens);
    }

    /// As [`lap`](Self::lap), for a stage of which an earlier process has done a part in `earlier` seconds.
    pub fn lap_after(&mut self, earlier: f64, name: &'static str, samples: usize, tokens: usize) {
        let seconds = earlier + self.last.elapsed().as_secs_f64();
        self.last = Instant::now();
        self.stages.push(StageRecord {
            name: name.into(),
            seconds,
            earlier_seconds: earlier,
            samples,
            tokens,
        });
    }

    /// The stages so far.
    pub fn stages(&self) -> &[StageRecord] {
        &self.stages
    }
}
