//! The test whether the policy is nearer to the target than the frozen proposal.

use disco_core::Estimate;
use disco_divergence::{Divergence, FDivergence};

use super::{Run, Tuner};
use crate::{
    error::{Error, Result},
    gradient::{LogPolicy, UpdateBatch},
    policy::Policy,
};

impl<P, C, X> Run<'_, P, C, X>
where
    P: Policy<C, X>,
{
    /// Whether `D(q||p) - D(pi||p)`, on the step's samples, exceeds `z` of its standard errors.
    ///
    /// Per sample from `q` the difference is `p/q (f(q/p) - f(pi/p))`: much of the noise is common to both and
    /// cancels. `Z` is the mean weight of all samples so far.
    pub(crate) fn replaces_proposal(
        &self,
        batch: &UpdateBatch<'_, X>,
        log_policy: &LogPolicy,
        metric: FDivergence,
        z: f64,
    ) -> Result<bool> {
        // f in the form with f'(1) = 0, as in `weighted_generator`.
        let beyond = metric.derivative_at_infinity() - metric.derivative(0.0);
        let mut differences = Vec::new();
        for ((group, normaliser), log_policy) in
            batch.current_groups().iter().zip(&batch.normalisers).zip(log_policy)
        {
            let Some(log_policy) = log_policy else { continue };
            let log_z = group.z_estimate().and(normaliser.outside).log_z();
            if log_z == f64::NEG_INFINITY {
                continue;
            }
            let mut values = Vec::with_capacity(group.len());
            for (at, (&log_q, &log_pi)) in group.log_proposal.iter().zip(log_policy).enumerate() {
                let log_p = group.log_target[at] - log_z;
                values.push(if log_p > f64::NEG_INFINITY {
                    metric.weighted_generator(log_q - log_p, log_p - log_q)
                        - metric.weighted_generator(log_pi - log_p, log_p - log_q)
                } else if beyond < f64::INFINITY {
                    beyond * (1.0 - (log_pi - log_q).exp())
                } else {
                    return Err(Error::HardConstraints {
                        divergence: format!("sampling.metric: {metric}"),
                        found: format!(
                            "step {}, context {}: the target {} sample {at}",
                            self.progress.step,
                            group.context,
                            if group.is_skipped(at) { "skipped" } else { "forbids" },
                        ),
                        alternatives: Tuner::alternatives(),
                    });
                });
            }
            differences.push(Estimate::mean(&values));
        }
        let n = differences.len() as f64;
        let mean = differences.iter().map(|difference| difference.value).sum::<f64>() / n;
        let variance: f64 = differences.iter().map(|difference| difference.std_error.powi(2)).sum();
        // Without any context the mean is NaN, and the comparison false.
        Ok(mean > z * variance.sqrt() / n)
    }
}
