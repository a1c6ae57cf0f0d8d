//! What all samplers have in common.

use crate::{Result, Statistics};

/// A sample, with what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Draw<X> {
    /// The sample.
    pub value: X,
    /// The position of its context among those of the sampler.
    pub context: usize,
    /// The number of the proposal that it came from, in its context.
    pub proposal: u64,
    /// `ln P` (nats).
    pub log_target: f64,
    /// `ln q` (nats); none where the proposal was local.
    pub log_proposal: Option<f64>,
    /// The sample's log-score under what the sampler samples from (nats, unnormalised):
    /// `min(ln P, ln beta + ln q)` for quasi-rejection sampling; `ln P` for samplers whose limit is the target.
    pub log_score: f64,
}

/// Draws samples from a target one after the other, until a budget is spent or an error ends it.
pub trait Sampler<X>: Iterator<Item = Result<Draw<X>>> {
    /// The sampler's name in reports.
    fn name(&self) -> &'static str;

    /// What was done so far, over all contexts.
    fn statistics(&self) -> Statistics;
}
