//! Seconds and tokens per stage of a step.

use std::{collections::BTreeMap, time::Instant};

use crate::Stage;

#[derive(Debug, Default)]
pub(crate) struct Clock {
    seconds: BTreeMap<Stage, f64>,
    tokens: BTreeMap<Stage, u64>,
}

impl Clock {
    /// Runs `work` and adds its time to `stage`.
    pub(crate) fn time<T>(&mut self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = work();
        *self.seconds.entry(stage).or_default() += start.elapsed().as_secs_f64();
        done
    }

    /// Adds to the tokens that `stage` went through.
    pub(crate) fn count(&mut self, stage: Stage, tokens: impl IntoIterator<Item = usize>) {
        let tokens: u64 = tokens.into_iter().map(|tokens| tokens as u64).sum();
        *self.tokens.entry(stage).or_default() += tokens;
    }

    pub(crate) fn seconds(&self) -> BTreeMap<&'static str, f64> {
        self.seconds.iter().map(|(stage, seconds)| (stage.name(), *seconds)).collect()
    }

    pub(crate) fn tokens(&self) -> BTreeMap<&'static str, u64> {
        self.tokens.iter().map(|(stage, tokens)| (stage.name(), *tokens)).collect()
    }
}
