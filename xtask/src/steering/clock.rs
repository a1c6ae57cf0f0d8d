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
        let seconds = self.last.elapsed().as_secs_f64();
        self.last = Instant::now();
        self.stages.push(StageRecord { name, seconds, samples, tokens });
    }

    /// The stages so far.
    pub fn stages(&self) -> &[StageRecord] {
        &self.stages
    }
}
