//! The samples of one update: those of the step and those of the replay buffer.

use std::collections::{HashMap, VecDeque};

use super::{log_z::ZEstimate, samples::ContextSamples, weights::Normaliser};
use crate::config::Partition;

/// Groups of samples, one per step and context, with their normalising constants.
#[derive(Debug)]
pub(crate) struct UpdateBatch<'b, X> {
    /// The groups of the current step, then the replayed ones.
    pub(crate) groups: Vec<&'b ContextSamples<X>>,
    /// The number of groups of the current step.
    pub(crate) current: usize,
    /// One per group.
    pub(crate) normalisers: Vec<Normaliser>,
}

/// Log-probabilities under the policy, one list per group; `None` where the forward pass of the gradient gives them.
pub(crate) type LogPolicy = [Option<Vec<f64>>];

impl<'b, X> UpdateBatch<'b, X> {
    /// The last entry of `steps` has the groups of the current step. `retired` are the estimates of `Z` per context from
    /// the samples that are in no group.
    pub(crate) fn new(
        steps: &'b VecDeque<Vec<ContextSamples<X>>>,
        retired: &[ZEstimate],
        partition: Partition,
    ) -> Self {
        let groups: Vec<&ContextSamples<X>> = steps.iter().rev().flatten().collect();
        let mut by_context: HashMap<usize, Vec<(usize, ZEstimate)>> = HashMap::new();
        for (at, group) in groups.iter().enumerate() {
            by_context.entry(group.context).or_default().push((at, group.z_estimate()));
        }
        let outside = |at: usize, group: &ContextSamples<X>| match partition {
            Partition::Step => ZEstimate::NONE,
            Partition::Normalised => ZEstimate::NORMALISED,
            Partition::Running => by_context[&group.context]
                .iter()
                .filter(|(other, _)| *other != at)
                .fold(retired[group.context], |sum, (_, estimate)| sum.and(*estimate)),
        };
        let normalisers =
            groups.iter().enumerate().map(|(at, group)| Normaliser::new(group, outside(at, group))).collect();
        Self { current: steps.back().map_or(0, Vec::len), groups, normalisers }
    }

    /// The batch of a step whose groups are whole spaces, each outcome once: their sums are the normalising constants.
    pub(crate) fn of_spaces(steps: &'b VecDeque<Vec<ContextSamples<X>>>) -> Self {
        let groups: Vec<&ContextSamples<X>> = steps.back().into_iter().flatten().collect();
        let normalisers = groups.iter().map(|group| Normaliser::exact(group)).collect();
        Self { current: groups.len(), groups, normalisers }
    }

    /// The groups of the current step.
    pub(crate) fn current_groups(&self) -> &[&'b ContextSamples<X>] {
        &self.groups[..self.current]
    }

    /// The number of groups that have samples.
    pub(crate) fn filled(&self) -> usize {
        self.groups.iter().filter(|group| group.len() > 0).count()
    }
}
