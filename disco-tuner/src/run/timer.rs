//! Seconds and tokens per stage of a step.

use std::{collections::BTreeMap, time::Instant};

use super::collective::gather_lists;
use crate::{
    error::{Result, Stage},
    workers::Workers,
};

#[derive(Debug, Default)]
pub(crate) struct Timer {
    seconds: BTreeMap<Stage, f64>,
    tokens: BTreeMap<Stage, u64>,
}

impl Timer {
    /// Runs `work` and adds its time to `stage`.
    pub(crate) fn time<T>(&mut self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = work();
        *self.seconds.entry(stage).or_default() += start.elapsed().as_secs_f64();
        done
    }

    /// Adds to the number of tokens of `stage`.
    pub(crate) fn count(&mut self, stage: Stage, tokens: impl IntoIterator<Item = usize>) {
        let tokens: u64 = tokens.into_iter().map(|tokens| tokens as u64).sum();
        *self.tokens.entry(stage).or_default() += tokens;
    }

    /// The seconds of this worker.
    pub(crate) fn seconds(&self) -> BTreeMap<&'static str, f64> {
        self.seconds.iter().map(|(stage, seconds)| (stage.name(), *seconds)).collect()
    }

    /// The tokens of this worker.
    pub(crate) fn tokens(&self) -> BTreeMap<&'static str, u64> {
        self.tokens.iter().map(|(stage, tokens)| (stage.name(), *tokens)).collect()
    }

    /// The tokens of all workers.
    pub(crate) fn tokens_of_all(&self, workers: &dyn Workers) -> Result<BTreeMap<&'static str, u64>> {
        if workers.count() == 1 {
            return Ok(self.tokens());
        }
        // One list per stage, and -1 for a stage without a count, since zero is one.
        let own = Stage::ALL.map(|stage| vec![self.tokens.get(&stage).map_or(-1.0, |tokens| *tokens as f64)]);
        let counts = gather_lists(workers, Ok(own.to_vec()))?;
        let all = Stage::ALL.iter().zip(counts).filter_map(|(stage, counts)| {
            let counted = counts.into_iter().filter(|count| *count >= 0.0);
            Some((stage.name(), counted.map(|count| count as u64).reduce(|one, two| one + two)?))
        });
        Ok(all.collect())
    }
}
