//! Accumulating the gradient of an update.

use disco_core::Error as CoreError;

use crate::{
    Error, Item, MicroBatch, Policy, Problem, Result, Run, Stage,
    batch::{Batch, LogPolicy},
    clock::Clock,
    credit::Term,
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
                let context = &self.problem.contexts.items()[group.context];
                let samples: Vec<&X> = group.samples.iter().collect();
                let mut log_probs = Vec::with_capacity(samples.len());
                for part in samples.chunks(self.tuner.config().micro_batch.samples) {
                    let found = clock.time(Stage::LogProb, || self.policy.log_probs(context, part));
                    log_probs.extend(found.map_err(self.in_context(Stage::LogProb, group.context))?);
                }
                CoreError::check_length("log-probabilities of the policy", group.len(), log_probs.len())
                    .map_err(self.in_context(Stage::LogProb, group.context))?;
                Some(log_probs)
            } else {
                None
            });
        }
        Ok(lists)
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
            Err(Error::Weight { step, context, sample: at, value: term.weight, log_policy, log_target })
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

        let lengths = lengths(problem, batch, &mut jobs);
        for jobs in cut(&jobs, lengths.as_deref(), tuner.config().micro_batch) {
            let items: Vec<Item<'_, C, X>> = jobs
                .iter()
                .map(|job| Item {
                    context: &problem.contexts.items()[batch.groups[job.group].context],
                    sample: &batch.groups[job.group].samples[job.at],
                })
                .collect();
            let mut refused = None;
            let mut weigh = |log_probs: &[f64]| {
                CoreError::check_length("log-probabilities of a batch", jobs.len(), log_probs.len())?;
                let mut weights = Vec::with_capacity(jobs.len());
                for (job, &log_prob) in jobs.iter().zip(log_probs) {
                    let (group, prior) = (batch.groups[job.group], &batch.priors[job.group]);
                    if log_prob.is_nan() || log_prob == f64::INFINITY {
                        let by = format!("policy, in context {},", group.context);
                        return Err(CoreError::NotANumber { by, index: job.at, value: log_prob });
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
            done.map_err(self.at(Stage::Gradient))?;
        }
        Ok(gradient)
    }
}

/// The lengths of the jobs' samples, if the problem knows them; the jobs are then brought into order of
/// length, longest first, so that a batch pads little and one that does not fit in memory comes first.
fn lengths<C, X>(
    problem: &Problem<'_, C, X>,
    batch: &Batch<'_, X>,
    jobs: &mut Vec<Job>,
) -> Option<Vec<usize>> {
    let length = problem.length.as_ref()?;
    let mut pairs: Vec<(usize, Job)> =
        jobs.drain(..).map(|job| (length(&batch.groups[job.group].samples[job.at]), job)).collect();
    pairs.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
    let (lengths, sorted) = pairs.into_iter().unzip();
    *jobs = sorted;
    Some(lengths)
}

/// Runs of jobs, each within the limits.
fn cut<'j>(jobs: &'j [Job], lengths: Option<&[usize]>, limits: MicroBatch) -> Vec<&'j [Job]> {
    let mut runs = Vec::new();
    let mut from = 0;
    while from < jobs.len() {
        let mut size = limits.samples.min(jobs.len() - from);
        if let (Some(tokens), Some(lengths)) = (limits.tokens, lengths) {
            // The first is the longest, and pads the others.
            size = size.min((tokens / lengths[from].max(1)).max(1));
        }
        runs.push(&jobs[from..from + size]);
        from += size;
    }
    runs
}
