//! Moments, `ln Z` and coverage of a target, estimated from samples.

use disco_core::Estimate;

use crate::interval::skewed_interval;

/// Estimates of a target from samples: its moments, `ln Z`, and how well the samples cover it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Assessment {
    /// The mean of each constraint's feature under the target.
    pub moments: Vec<Estimate>,
    /// The skewness of the estimate of each moment, as [`ConstraintReport::achieved_skewness`].
    ///
    /// [`ConstraintReport::achieved_skewness`]: crate::ConstraintReport::achieved_skewness
    pub skewness: Vec<Option<f64>>,
    /// The mean over contexts of `ln Z_c` (nats).
    pub log_z: Estimate,
    /// The position of each context and its `ln Z_c`, except contexts that were left out.
    pub log_z_by_context: Vec<(usize, Estimate)>,
    /// The mean over contexts of `KL(p || base)` (nats).
    pub kl_from_base: Estimate,
    /// Kish's effective sample size of all samples under the target; infinite where sums are exact.
    pub ess: f64,
    /// The least effective sample size of a context.
    pub least_context_ess: f64,
    /// The largest share that one sample has of the weight of all samples.
    pub largest_share: f64,
    /// The largest Pareto shape `k` of a context's weights ([`disco_core::ParetoTail`]): above 0.7 the errors
    /// are not reliable. `None` where sums are exact, or where no context has five different large weights.
    pub largest_pareto_k: Option<f64>,
    /// The number of contexts that the means are over.
    pub contexts: usize,
    /// Samples that are possible under the base and satisfy the pointwise constraints.
    pub samples_in_support: usize,
}

impl Assessment {
    /// The interval of `z` standard errors about each of the moments, corrected for its skewness: as
    /// [`ConstraintReport::base_interval`](crate::ConstraintReport::base_interval), for a target that was fitted
    /// to other samples.
    pub fn moment_intervals(&self, z: f64) -> Vec<(f64, f64)> {
        let moments = self.moments.iter().zip(&self.skewness);
        moments.map(|(moment, skewness)| skewed_interval(*moment, *skewness, z)).collect()
    }
}
