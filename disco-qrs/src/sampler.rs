//! The trait of samplers.

use crate::{Result, Statistics};

/// A sample with its scores and its origin.
#[derive(Clone, Debug, PartialEq)]
pub struct Draw<X> {
    /// The sample.
    pub value: X,
    /// The position of its context among the sampler's contexts.
    pub context: usize,
    /// The number of the proposal that it came from, in its context.
    pub proposal: u64,
    /// `ln P` (nats).
    pub log_target: f64,
    /// `ln q` (nats); `None` where the proposal was local.
    pub log_proposal: Option<f64>,
    /// The sample's log-score under the distribution that is sampled (nats, unnormalised):
    /// `min(ln P, ln beta + ln q)` for quasi-rejection sampling; `ln P` for samplers whose limit is the target.
    pub log_score: f64,
}

/// Draws samples from a target one after the other, until a budget is spent or an error ends it.
pub trait Sampler<X>: Iterator<Item = Result<Draw<X>>> {
    /// The sampler's name in reports.
    fn name(&self) -> &'static str;

    /// The counts so far, over all contexts.
    fn statistics(&self) -> Statistics;
}
