//! Whether the samples of a step lie in the target's support. A sample that the target skipped counts as forbidden.

use serde::{Deserialize, Serialize};

use super::{Run, collective::gather_values};
use crate::{
    error::{Error, Result},
    gradient::ContextSamples,
    metrics::Note,
    policy::Policy,
};

/// The first sample of a step that the target skipped.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct FirstSkip {
    /// The position of its group in the step.
    slot: usize,
    number: usize,
    context: usize,
    by: String,
    reason: String,
}

/// The note that the target skips samples.
const SKIPS: &str = "target skips";

impl std::fmt::Display for FirstSkip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "context {}: {} skipped sample {}: {}", self.context, self.by, self.number, self.reason)
    }
}

impl FirstSkip {
    pub(crate) fn note(&self) -> Note {
        let text = format!("{self}; a skipped sample counts as forbidden by the target");
        Note { key: SKIPS.into(), text }
    }
}

impl<P, C, X> Run<'_, P, C, X>
where
    P: Policy<C, X>,
{
    /// The first skipped sample of a step, where the run or its errors have to tell it. All workers ask together.
    pub(crate) fn first_skip(&self, groups: &[ContextSamples<X>]) -> Result<Option<FirstSkip>> {
        let is_told =
            !self.said.contains(SKIPS) || self.tuner.refuses_hard_constraints() || successes(groups) == 0;
        if !is_told || groups.iter().all(|group| group.skipped() == 0) {
            return Ok(None);
        }
        let own = groups.iter().enumerate().find_map(|(slot, group)| {
            let (number, skipped) = group.first_skip.as_ref()?;
            let (context, by, reason) = (group.context, skipped.by().into(), skipped.reason().into());
            Some(FirstSkip { slot, number: *number, context, by, reason })
        });
        if !self.is_shared() {
            return Ok(own);
        }
        let found = gather_values(self.workers, "the first skipped sample, as JSON", &own)?;
        Ok(found.into_iter().flatten().min())
    }

    /// Refuses constraints that the divergence cannot have, and the last of too many steps without a success.
    pub(crate) fn check_support(
        &self,
        groups: &[ContextSamples<X>],
        first_skip: Option<&FirstSkip>,
    ) -> Result<()> {
        if self.tuner.refuses_hard_constraints() {
            self.refuse_forbidden(groups, first_skip)?;
        }
        let (steps, samples) =
            (self.progress.steps_without_success + 1, self.progress.samples_without_success + total(groups));
        if successes(groups) == 0 && steps >= self.tuner.config().max_steps_without_success {
            let skipped = groups.iter().map(|group| group.skipped() as u64).sum();
            let first_skip = first_skip.map(ToString::to_string);
            return Err(Error::NoSuccess { steps, samples, skipped, first_skip });
        }
        Ok(())
    }

    /// Refuses a sample outside the target's support.
    fn refuse_forbidden(&self, groups: &[ContextSamples<X>], first_skip: Option<&FirstSkip>) -> Result<()> {
        let outside = |group: &ContextSamples<X>| Some((group.context, group.first_forbidden()?));
        let Some((context, number)) = groups.iter().find_map(outside) else { return Ok(()) };
        let step = self.progress.step;
        let is_first = |skip: &&FirstSkip| (skip.context, skip.number) == (context, number);
        let found = match first_skip.filter(is_first) {
            Some(skip) => format!("step {step}, {skip}; a skipped sample counts as forbidden"),
            None => {
                format!("step {step}, context {context}: the target gives sample {number} no probability")
            }
        };
        Err(self.tuner.hard_constraints(found))
    }

    /// Counts a finished step, for the next [`check_support`](Self::check_support).
    pub(crate) fn count_support(&mut self, groups: &[ContextSamples<X>]) {
        let progress = &mut self.progress;
        if successes(groups) > 0 {
            (progress.steps_without_success, progress.samples_without_success) = (0, 0);
        } else {
            progress.steps_without_success += 1;
            progress.samples_without_success += total(groups);
        }
    }
}

/// The number of samples drawn.
pub(crate) fn total<X>(groups: &[ContextSamples<X>]) -> u64 {
    groups.iter().map(|group| group.len() as u64).sum()
}

/// The number of samples in the target's support.
pub(crate) fn successes<X>(groups: &[ContextSamples<X>]) -> usize {
    groups.iter().map(ContextSamples::successes).sum()
}
