//! Accumulating the gradient of an update: each worker differentiates its own samples.

use disco_core::Error as CoreError;

use super::{Run, collective::gather_lists, timer::Timer};
use crate::{
    error::{Error, Result, Stage},
    gradient::{LogPolicy, SampleWeight, UpdateBatch, WeightRule, micro_batches},
    policy::{BatchItem, Policy},
};

/// Statistics of an accumulated gradient, of all workers.
#[derive(Debug, Default)]
pub(crate) struct Accumulated {
    /// One per sample.
    pub(crate) weights: Vec<SampleWeight>,
    /// The number of samples with a weight other than zero.
    pub(crate) weighted: usize,
    /// The largest difference between the log-probability a sample was drawn with and that of the forward pass.
    pub(crate) gap: Option<f64>,
}

/// A sample of this worker that needs a forward pass.
struct Job {
    group: usize,
    at: usize,
    /// `None` if the weight depends on the log-probability of the pass.
    weight: Option<SampleWeight>,
}

/// The batch of an update with the rule for its weights.
struct Weighing<'u, X> {
    step: u64,
    rule: WeightRule<'u>,
    batch: &'u UpdateBatch<'u, X>,
    log_policy: &'u LogPolicy,
    /// The number of groups over which the gradient is a mean.
    filled: f64,
}

impl<P, C, X> Run<'_, P, C, X>
where
    P: Policy<C, X>,
{
    /// Adds `mean_c mean_i weight grad log pi` to the policy's pending gradient.
    pub(crate) fn accumulate(
        &mut self,
        batch: &UpdateBatch<'_, X>,
        log_policy: &LogPolicy,
        timer: &mut Timer,
    ) -> Result<Accumulated> {
        let (tuner, step) = (self.tuner, self.progress.step);
        let filled = batch.filled() as f64;
        let weighing = Weighing { step, rule: tuner.weight_rule(), batch, log_policy, filled };
        let (known, jobs) = weighing.jobs()?;
        let passed = self.pass_all(&weighing, &jobs, timer);
        let mut passed = self.gathered(passed, &jobs, batch.groups.len())?;
        self.sum_gradient()?;
        let mut weights = known;
        weights.append(&mut passed.weights);
        Ok(Accumulated { weights, ..passed })
    }

    /// Passes this worker's samples forward and backward; gives the weights that depended on it, each with the position
    /// of its job.
    fn pass_all(
        &mut self,
        weighing: &Weighing<'_, X>,
        jobs: &[Job],
        timer: &mut Timer,
    ) -> Result<(Accumulated, Vec<usize>)> {
        let (batch, problem) = (weighing.batch, self.problem);
        let lengths: Option<Vec<usize>> = problem
            .length
            .as_ref()
            .map(|length| jobs.iter().map(|job| length(batch.groups[job.group].sample(job.at))).collect());
        let (mut accumulated, mut order) = (Accumulated::default(), Vec::new());
        for micro_batch in micro_batches(jobs.len(), lengths.as_deref(), self.tuner.config().micro_batch) {
            let chosen: Vec<&Job> = micro_batch.iter().map(|&at| &jobs[at]).collect();
            self.pass(weighing, &chosen, &mut accumulated, timer)?;
            order.extend(micro_batch.into_iter().filter(|&at| jobs[at].weight.is_none()));
        }
        if let Some(lengths) = lengths {
            timer.count(Stage::Gradient, lengths);
        }
        Ok((accumulated, order))
    }

    /// One forward and backward pass of a micro-batch.
    fn pass(
        &mut self,
        weighing: &Weighing<'_, X>,
        jobs: &[&Job],
        accumulated: &mut Accumulated,
        timer: &mut Timer,
    ) -> Result<()> {
        let (batch, contexts) = (weighing.batch, self.problem.contexts.items());
        let item = |job: &&Job| {
            let group = batch.groups[job.group];
            BatchItem { context: &contexts[group.context], sample: group.sample(job.at) }
        };
        let items: Vec<BatchItem<'_, C, X>> = jobs.iter().map(item).collect();
        // An error of ours passes through the policy, whose errors are of another type.
        let (mut refused, mut asked) = (None, 0);
        let mut weigh = |log_probs: &[f64]| {
            let jobs = jobs.get(asked..asked + log_probs.len()).ok_or_else(|| {
                let allowed = format!("{} in all, one of each sample", jobs.len());
                CoreError::invalid("log-probabilities of a batch", asked + log_probs.len(), allowed)
            })?;
            asked += jobs.len();
            let mut weights = Vec::with_capacity(jobs.len());
            for (job, &log_prob) in jobs.iter().zip(log_probs) {
                match weighing.weight(job, log_prob, accumulated) {
                    Ok(weight) => weights.push(weight),
                    Err(error) => {
                        refused = Some(error);
                        return Err(CoreError::Empty { what: "usable log-probabilities or weights".into() });
                    }
                }
            }
            Ok(weights)
        };
        let done = timer.time(Stage::Gradient, || self.policy.accumulate(&items, &mut weigh));
        if let Some(error) = refused {
            return Err(error);
        }
        done.and_then(|()| all_asked(jobs.len(), asked)).map_err(self.at(Stage::Gradient))
    }

    /// The statistics of all workers; the weights are in the order of the passes for one worker, in the order of the
    /// samples for several.
    fn gathered(
        &self,
        passed: Result<(Accumulated, Vec<usize>)>,
        jobs: &[Job],
        groups: usize,
    ) -> Result<Accumulated> {
        if !self.is_shared() {
            return passed.map(|(accumulated, _)| accumulated);
        }
        let lists = passed.map(|(accumulated, order)| {
            let mut lists = vec![Vec::new(); groups];
            let mut weights: Vec<(usize, SampleWeight)> =
                order.into_iter().zip(accumulated.weights).collect();
            weights.sort_unstable_by_key(|(at, _)| *at);
            for (at, weight) in weights {
                lists[jobs[at].group].extend([weight.pseudo_reward, weight.weight, weight.cut]);
            }
            lists.extend([vec![accumulated.weighted as f64], accumulated.gap.into_iter().collect()]);
            lists
        });
        let mut lists = gather_lists(self.workers, lists)?;
        let (gaps, weighted) = (lists.pop().unwrap_or_default(), lists.pop().unwrap_or_default());
        let weights = lists.iter().flat_map(|list| list.chunks_exact(3)).map(|three| SampleWeight {
            pseudo_reward: three[0],
            weight: three[1],
            cut: three[2],
        });
        Ok(Accumulated {
            weights: weights.collect(),
            weighted: weighted.into_iter().sum::<f64>() as usize,
            gap: gaps.into_iter().reduce(f64::max),
        })
    }
}

impl<X> Weighing<'_, X> {
    /// The weights that are known before any pass, of all workers, and the samples of this worker that need one.
    fn jobs(&self) -> Result<(Vec<SampleWeight>, Vec<Job>)> {
        let (mut weights, mut jobs) = (Vec::new(), Vec::new());
        for (index, (group, normaliser)) in self.batch.groups.iter().zip(&self.batch.normalisers).enumerate()
        {
            let own = group.own();
            let known = self.log_policy[index].as_ref();
            let baselines = known.map(|log_policy| self.rule.baselines(group, normaliser, log_policy));
            for at in 0..group.len() {
                if let (Some(log_policy), Some(baselines)) = (known, &baselines) {
                    let weight = self.rule.weight(group, normaliser, at, log_policy[at], baselines[at]);
                    let (cause, weight) = if weight.weight.is_finite() {
                        (at, weight)
                    } else {
                        let cause = self.rule.most_extreme(group, normaliser, log_policy);
                        let own = self.rule.weight(group, normaliser, cause, log_policy[cause], 0.0);
                        (cause, if own.weight.is_finite() { weight } else { own })
                    };
                    let weight = self.checked(index, cause, log_policy[cause], weight)?;
                    weights.push(weight);
                    if weight.weight != 0.0 && own.contains(&at) {
                        jobs.push(Job { group: index, at, weight: Some(weight) });
                    }
                } else if self.rule.is_zero(group, normaliser, at) {
                    weights.push(SampleWeight::default());
                } else if own.contains(&at) {
                    jobs.push(Job { group: index, at, weight: None });
                }
            }
        }
        Ok((weights, jobs))
    }

    /// The weight of a sample in the gradient, given its log-probability from the pass.
    fn weight(&self, job: &Job, log_prob: f64, accumulated: &mut Accumulated) -> Result<f64> {
        let (group, normaliser) = (self.batch.groups[job.group], &self.batch.normalisers[job.group]);
        if log_prob.is_nan() || log_prob == f64::INFINITY {
            let (step, stage, context) = (self.step, Stage::Gradient, group.context);
            let (by, index) = ("policy".into(), job.at);
            let cause = CoreError::NotANumber { by, index, value: log_prob };
            return Err(Error::Context { step, stage, context, cause });
        }
        let weight = match job.weight {
            Some(weight) => {
                if let Some(before) = self.log_policy[job.group].as_ref().map(|list| list[job.at]) {
                    let gap = (log_prob - before).abs();
                    accumulated.gap = Some(accumulated.gap.unwrap_or(0.0).max(gap));
                }
                weight
            }
            None => {
                let weight = self.rule.weight(group, normaliser, job.at, log_prob, self.rule.constant());
                let weight = self.checked(job.group, job.at, log_prob, weight)?;
                accumulated.weights.push(weight);
                weight
            }
        };
        accumulated.weighted += usize::from(weight.weight != 0.0);
        Ok(weight.weight * (1.0 / (group.len() as f64 * self.filled)))
    }

    /// Refuses a weight that is not finite.
    fn checked(
        &self,
        group: usize,
        at: usize,
        log_policy: f64,
        weight: SampleWeight,
    ) -> Result<SampleWeight> {
        if weight.weight.is_finite() {
            return Ok(weight);
        }
        let group = self.batch.groups[group];
        let (step, context, log_target) = (self.step, group.context, group.log_target[at]);
        let (sample, value) = (at, weight.weight);
        Err(Error::Weight { step, context, sample, value, log_policy, log_target })
    }
}

/// Refuses a policy that did not ask for all weights: it followed weights of its own.
fn all_asked(samples: usize, asked: usize) -> std::result::Result<(), CoreError> {
    CoreError::check_length("log-probabilities given to `weigh` by `Policy::accumulate`", samples, asked)
}
