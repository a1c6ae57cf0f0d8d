//! The samples of one update: those of the step, and those replayed.

use std::collections::{HashMap, VecDeque};

use crate::{Partition, credit::Prior, group::Group, partition::Mass};

/// Groups of samples with what is known of them before the policy is asked.
pub(crate) struct Batch<'b, X> {
    /// The step's own groups, then the replayed ones.
    pub(crate) groups: Vec<&'b Group<X>>,
    /// How many of them are the step's own.
    pub(crate) current: usize,
    /// One per group.
    pub(crate) priors: Vec<Prior>,
}

/// Log-probabilities under the policy, one list per group; `None` where they are left to the gradient's own
/// forward pass.
pub(crate) type LogPolicy = [Option<Vec<f64>>];

impl<'b, X> Batch<'b, X> {
    /// The last entry of `window` holds the step's own groups. `masses` are the sums of weights per context of
    /// samples that are in no group.
    pub(crate) fn new(window: &'b VecDeque<Vec<Group<X>>>, masses: &[Mass], partition: Partition) -> Self {
        let groups: Vec<&Group<X>> = window.iter().rev().flatten().collect();
        let mut by_context: HashMap<usize, Vec<(usize, Mass)>> = HashMap::new();
        for (at, group) in groups.iter().enumerate() {
            by_context.entry(group.context).or_default().push((at, group.mass()));
        }
        let outside = |at: usize, group: &Group<X>| match partition {
            Partition::Step => Mass::NONE,
            Partition::Normalised => Mass::NORMALISED,
            Partition::Running => by_context[&group.context]
                .iter()
                .filter(|(other, _)| *other != at)
                .fold(masses[group.context], |sum, (_, mass)| sum.and(*mass)),
        };
        let priors =
            groups.iter().enumerate().map(|(at, group)| Prior::new(group, outside(at, group))).collect();
        Self { current: window.back().map_or(0, Vec::len), groups, priors }
    }

    /// The step's own groups.
    pub(crate) fn own(&self) -> &[&'b Group<X>] {
        &self.groups[..self.current]
    }

    /// How many groups have samples.
    pub(crate) fn filled(&self) -> usize {
        self.groups.iter().filter(|group| group.len() > 0).count()
    }
}
