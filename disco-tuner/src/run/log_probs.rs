//! Log-probabilities under the policy, where the policy did not just draw the samples itself.

use disco_core::Error as CoreError;

use super::{Run, collective::gather_lists, timer::Timer};
use crate::{
    error::{Result, Stage},
    gradient::{ContextSamples, UpdateBatch, micro_batches},
    policy::Policy,
};

impl<P, C, X> Run<'_, P, C, X>
where
    P: Policy<C, X>,
{
    /// The log-probabilities that are needed before the gradient's forward pass.
    ///
    /// If the policy has `just_drawn` the step's samples, theirs are known. Others are computed if `all` of the step's
    /// samples need them, or if every weight depends on every log-probability.
    pub(crate) fn log_policy(
        &self,
        batch: &UpdateBatch<'_, X>,
        just_drawn: bool,
        all: bool,
        timer: &mut Timer,
    ) -> Result<Vec<Option<Vec<f64>>>> {
        let joint = !self.tuner.weight_rule().is_local();
        let is_computed = |at: usize| {
            let current = at < batch.current;
            !(current && just_drawn) && (joint || (current && all))
        };
        let computed: Vec<&ContextSamples<X>> =
            (0..batch.groups.len()).filter(|&at| is_computed(at)).map(|at| batch.groups[at]).collect();
        let mut computed = if computed.is_empty() {
            Vec::new()
        } else {
            self.all_log_probs(Stage::LogProb, self.problem.contexts.items(), &computed, timer)?
        }
        .into_iter();
        let mut lists = Vec::with_capacity(batch.groups.len());
        for (at, group) in batch.groups.iter().enumerate() {
            lists.push(if at < batch.current && just_drawn {
                Some(group.log_proposal.clone())
            } else if is_computed(at) {
                computed.next()
            } else {
                None
            });
        }
        Ok(lists)
    }

    /// The log-probabilities of the samples of some groups under the policy; errors name `stage`.
    pub(crate) fn all_log_probs(
        &self,
        stage: Stage,
        contexts: &[C],
        groups: &[&ContextSamples<X>],
        timer: &mut Timer,
    ) -> Result<Vec<Vec<f64>>> {
        let own =
            groups.iter().map(|group| self.own_log_probs(stage, &contexts[group.context], group, timer));
        gather_lists(self.workers, own.collect())
    }

    /// The log-probabilities of this worker's samples of a group under the policy, in micro-batches.
    fn own_log_probs(
        &self,
        stage: Stage,
        context: &C,
        group: &ContextSamples<X>,
        timer: &mut Timer,
    ) -> Result<Vec<f64>> {
        let named = |error: CoreError| {
            self.in_context(stage, group.context)(error.at_sample(|index| group.first + index))
        };
        let samples = &group.samples;
        let lengths: Option<Vec<usize>> =
            self.problem.length.as_ref().map(|length| samples.iter().map(length).collect());
        let mut log_probs = vec![0.0; samples.len()];
        for batch in micro_batches(samples.len(), lengths.as_deref(), self.tuner.config().micro_batch) {
            let samples: Vec<&X> = batch.iter().map(|&at| &samples[at]).collect();
            let found = timer.time(Stage::LogProb, || self.policy.log_probs(context, &samples));
            let place = |index: usize| batch.get(index).copied().unwrap_or(index);
            let found = found.map_err(|error| named(error.at_sample(place)))?;
            CoreError::check_length("log-probabilities of the policy", batch.len(), found.len())
                .map_err(named)?;
            for (&at, value) in batch.iter().zip(found) {
                if value.is_nan() || value == f64::INFINITY {
                    return Err(named(CoreError::NotANumber { by: "policy".into(), index: at, value }));
                }
                log_probs[at] = value;
            }
        }
        if let Some(lengths) = lengths {
            timer.count(Stage::LogProb, lengths);
        }
        Ok(log_probs)
    }
}
