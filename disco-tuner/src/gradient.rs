//! Accumulating the gradient of an update.

use disco_core::Error as CoreError;

use crate::{
    Error, Item, Policy, Result, Run, Stage,
    batch::{Batch, LogPolicy},
    clock::Clock,
    credit::Term,
    group::Group,
    micro_batches::micro_batches,
};

/// What was accumulated.
#[derive(Default)]
pub(crate) struct Gradient {
    /// One per sample.
    pub(crate) terms: Vec<Term>,
    /// How many samples had a weight other than zero.
    pub(crate) weighted: usize,
    /// The largest difference between the log-probability a sample was drawn with and that of the forward pass.
    pub(crate) gap: Option<f64>,
}

/// A sample that needs a forward pass.
struct Job {
    group: usize,
    at: usize,
    /// `None` where the term waits for the log-probability of that pass.
    term: Option<Term>,
}

impl<P, C, X> Run<'_, P, C, X>
where
    P: Policy<C, X>,
{
    /// The log-probabilities that are needed before the gradient's forward pass: those of samples that the
    /// policy itself has just drawn are known, others are computed where `all` of the step's own are needed,
    /// or all weights depend on all of them.
    pub(crate) fn log_policy(
        &self,
        batch: &Batch<'_, X>,
        just_drawn: bool,
        all: bool,
        clock: &mut Clock,
    ) -> Result<Vec<Option<Vec<f64>>>> {
        let joint = !self.tuner.credit().is_local();
        let mut lists = Vec::with_capacity(batch.groups.len());
        for (at, group) in batch.groups.iter().enumerate() {
            let own = at < batch.current;
            lists.push(if own && just_drawn {
                Some(group.log_proposal.clone())
            } else if joint || (own && all) {
                Some(self.log_probs(group, clock)?)
            } else {
                None
            });
        }
        Ok(lists)
    }

    /// The log-probabilities of a group's samples under the policy, in micro-batches.
    fn log_probs(&self, group: &Group<X>, clock: &mut Clock) -> Result<Vec<f64>> {
        let named = |error| self.in_context(Stage::LogProb, group.context)(group.placed(error));
        let lengths: Option<Vec<usize>> =
            self.problem.length.as_ref().map(|length| group.samples.iter().map(length).collect());
        let mut log_probs = vec![0.0; group.len()];
        for batch in micro_batches(group.len(), lengths.as_deref(), self.tuner.config().micro_batch) {
            let samples: Vec<&X> = batch.iter().map(|&at| &group.samples[at]).collect();
            let context = &self.problem.contexts.items()[group.context];
            let found = clock.time(Stage::LogProb, || self.policy.log_probs(context, &samples));
            let found = found.map_err(|error| named(in_batch(error, &batch)))?;
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
            clock.count(Stage::LogProb, lengths);
        }
        Ok(log_probs)
    }

    /// Adds `mean_c mean_i weight grad log pi` to the policy's pending gradient.
    pub(crate) fn accumulate(
        &mut self,
        batch: &Batch<'_, X>,
        log_policy: &LogPolicy,
        clock: &mut Clock,
    ) -> Result<Gradient> {
        let (tuner, problem, step) = (self.tuner, self.problem, self.progress.step);
        let credit = tuner.credit();
        let filled = batch.filled() as f64;
        let scale = |group: usize| 1.0 / (batch.groups[group].len() as f64 * filled);
        let checked = |group: usize, at: usize, log_policy: f64, term: Term| {
            if term.weight.is_finite() {
                return Ok(term);
            }
            let (context, log_target) = (batch.groups[group].context, batch.groups[group].log_target[at]);
            let sample = batch.groups[group].place(at);
            Err(Error::Weight { step, context, sample, value: term.weight, log_policy, log_target })
        };

        let mut gradient = Gradient::default();
        let mut jobs = Vec::new();
        for (index, (group, prior)) in batch.groups.iter().zip(&batch.priors).enumerate() {
            let known = log_policy[index].as_ref();
            let baselines = known.map(|log_policy| credit.baselines(group, prior, log_policy));
            for at in 0..group.len() {
                if let (Some(log_policy), Some(baselines)) = (known, &baselines) {
                    let term = credit.term(group, prior, at, log_policy[at], baselines[at]);
                    let term = checked(index, at, log_policy[at], term)?;
                    gradient.terms.push(term);
                    if term.weight != 0.0 {
                        jobs.push(Job { group: index, at, term: Some(term) });
                    }
                } else if credit.is_zero(group, prior, at) {
                    gradient.terms.push(Term::default());
                } else {
                    jobs.push(Job { group: index, at, term: None });
                }
            }
        }

        let lengths: Option<Vec<usize>> = problem
            .length
            .as_ref()
            .map(|length| jobs.iter().map(|job| length(&batch.groups[job.group].samples[job.at])).collect());
        for cut in micro_batches(jobs.len(), lengths.as_deref(), tuner.config().micro_batch) {
            let jobs: Vec<&Job> = cut.iter().map(|&at| &jobs[at]).collect();
            let items: Vec<Item<'_, C, X>> = jobs
                .iter()
                .map(|job| Item {
                    context: &problem.contexts.items()[batch.groups[job.group].context],
                    sample: &batch.groups[job.group].samples[job.at],
                })
                .collect();
            let (mut refused, mut asked) = (None, 0);
            let mut weigh = |log_probs: &[f64]| {
                let jobs = jobs.get(asked..asked + log_probs.len()).ok_or_else(|| {
                    let allowed = format!("{} in all, one of each sample", jobs.len());
                    CoreError::invalid("log-probabilities of a batch", asked + log_probs.len(), allowed)
                })?;
                asked += jobs.len();
                let mut weights = Vec::with_capacity(jobs.len());
                for (job, &log_prob) in jobs.iter().zip(log_probs) {
                    let (group, prior) = (batch.groups[job.group], &batch.priors[job.group]);
                    if log_prob.is_nan() || log_prob == f64::INFINITY {
                        let (stage, context) = (Stage::Gradient, group.context);
                        let (by, index) = ("policy".into(), group.place(job.at));
                        let source = CoreError::NotANumber { by, index, value: log_prob };
                        refused = Some(Error::Context { step, stage, context, source });
                        return Err(CoreError::Empty { what: "usable log-probabilities".into() });
                    }
                    let term = match job.term {
                        Some(term) => {
                            if let Some(before) = log_policy[job.group].as_ref().map(|list| list[job.at]) {
                                let gap = (log_prob - before).abs();
                                gradient.gap = Some(gradient.gap.unwrap_or(0.0).max(gap));
                            }
                            term
                        }
                        None => {
                            let term = credit.term(group, prior, job.at, log_prob, credit.constant());
                            match checked(job.group, job.at, log_prob, term) {
                                Ok(term) => gradient.terms.push(term),
                                Err(error) => {
                                    refused = Some(error);
                                    return Err(CoreError::Empty { what: "usable gradient weights".into() });
                                }
                            }
                            term
                        }
                    };
                    gradient.weighted += usize::from(term.weight != 0.0);
                    weights.push(term.weight * scale(job.group));
                }
                Ok(weights)
            };
            let done = clock.time(Stage::Gradient, || self.policy.accumulate(&items, &mut weigh));
            if let Some(error) = refused {
                return Err(error);
            }
            done.and_then(|()| all_asked(jobs.len(), asked)).map_err(self.at(Stage::Gradient))?;
        }
        if let Some(lengths) = lengths {
            clock.count(Stage::Gradient, lengths);
        }
        Ok(gradient)
    }
}

/// A policy that does not ask for all weights has followed other ones.
fn all_asked(samples: usize, asked: usize) -> std::result::Result<(), CoreError> {
    CoreError::check_length("log-probabilities given to `weigh` by `Policy::accumulate`", samples, asked)
}

/// Names a sample of an error by its place in its group, not in the batch.
fn in_batch(error: CoreError, batch: &[usize]) -> CoreError {
    match error {
        CoreError::NotANumber { by, index, value } => {
            CoreError::NotANumber { by, index: batch.get(index).copied().unwrap_or(index), value }
        }
        other => other,
    }
}
