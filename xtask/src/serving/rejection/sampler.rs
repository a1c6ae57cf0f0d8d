//! Samples of a target for the requests of a server.

use std::{ops::ControlFlow, thread};

use disco_core::{Distribution, Scorer, StreamRng, Streams};
use disco_ebm::{Ebm, Fit};
use disco_qrs::{Budget, Draw, Qrs, Ratios, RunConfig};
use rand::Rng;
use serde_json::json;

use super::{
    calibration::{Calibration, Calibrations},
    jobs::{Cancelled, Job, Jobs},
    joint_draws::JointDraws,
};
use crate::{
    contexts::TextContext,
    features::TextSample,
    serving::engine::{DrawEvent, DrawnToken, Refusal},
    spec::{ModelSpec, QrsGoal},
    steering::known_bound,
};

/// The number of requests that are drawn at a time. Their proposals share the model's batches.
const THREADS: usize = 32;

/// The fewest and the most proposals that are drawn for a request at once.
const BATCH: (f64, f64) = (4.0, 256.0);

/// The number of samples of the policy that are drawn at once to choose beta.
const PILOT_BATCH: usize = 256;

/// How completions are accepted.
#[derive(Clone, Debug)]
pub(crate) struct Acceptance {
    /// The base, and how it is sampled.
    pub(crate) model: ModelSpec,
    /// How beta is chosen where no bound is known.
    pub(crate) goal: QrsGoal,
    /// The number of samples of the policy by which it is chosen, in each context.
    pub(crate) pilot: usize,
    /// The seed of these samples.
    pub(crate) seed: u64,
    /// The most proposals for each completion, on average over those of a request.
    pub(crate) proposals: u64,
    /// Whether the policy is the base, so that a known bound of the target's factor is one of the ratios.
    pub(crate) is_base: bool,
    /// Whether the contexts of the run file have columns.
    pub(crate) has_columns: bool,
}

/// Draws samples of a target by quasi-rejection sampling (Eikema et al. 2022) from a policy.
pub(super) struct TargetSampler<'a, B, D, X> {
    policy: JointDraws<'a, TextContext, X, D>,
    target: Ebm<&'a B, TextContext, X>,
    fit: &'a Fit<TextContext, X>,
    acceptance: Acceptance,
    calibrations: Calibrations,
}

impl<'a, X, B, D> TargetSampler<'a, B, D, X>
where
    X: TextSample,
    B: Scorer<TextContext, X>,
    D: Distribution<TextContext, X>,
{
    pub(super) fn new(
        base: &'a B,
        policy: &'a D,
        fit: &'a Fit<TextContext, X>,
        acceptance: Acceptance,
    ) -> Self {
        Self {
            policy: JointDraws::new(policy),
            target: fit.target(base),
            fit,
            acceptance,
            calibrations: Calibrations::default(),
        }
    }

    /// Draws what is asked for while `work` goes on, and until all of it is done. `work` closes the jobs at its end.
    pub(super) fn run<T>(&self, jobs: &Jobs, work: impl FnOnce() -> T) -> T {
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    while let Some(mut running) = jobs.next() {
                        if let Err(refusal) = self.draw(&mut running.job) {
                            running.job.tell(DrawEvent::Failed(refusal));
                        }
                    }
                });
            }
            let result = work();
            jobs.close();
            result
        })
    }

    /// Draws the completions of a job.
    fn draw(&self, job: &mut Job) -> Result<(), Refusal> {
        if job.cancelled.has_all() {
            return Ok(());
        }
        let found = self.calibrations.of(&job.context, || self.calibrate(&job.context, &job.cancelled))?;
        let count = job.count as u64;
        let most = self.acceptance.proposals.saturating_mul(count);
        // Half as many again as are expected.
        let (least, largest) = BATCH;
        let batch = (1.5 * job.count as f64 / found.rate).ceil().clamp(least, largest) as usize;
        let budget = Budget { draws: Some(count), proposals: Some(most), ..Budget::default() };
        let seed = StreamRng::of_stream(job.seed, job.stream).next_u64();
        let config = RunConfig { seed, batch, budget };
        let cancelled = job.cancelled.clone();
        let go_on = move |_: &_| match cancelled.has_all() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        let (policy, target) = (&self.policy, &self.target);
        let sampler = Qrs::new(policy, target, job.context.clone(), found.log_beta, config);
        let sampler =
            sampler.and_then(|sampler| sampler.with_bounds(vec![found.log_bound])).map_err(failed)?;
        let (mut drawn, mut last) = (0, None);
        for draw in sampler.on_batch(go_on) {
            let draw = draw.map_err(failed)?;
            let proposals = draw.proposal - last.map_or(0, |last: u64| last + 1) + 1;
            last = Some(draw.proposal);
            hand_over(job, drawn, &draw, &found, proposals);
            drawn += 1;
        }
        if drawn < job.count && !job.cancelled.has_all() {
            let message = format!(
                "{drawn} of {count} samples of the target were found in {most} proposals of the model, which are allowed"
            );
            return Err(Refusal::Exhausted(message));
        }
        Ok(())
    }

    /// Chooses beta in a context. It ends early where nobody waits any more.
    fn calibrate(&self, context: &TextContext, cancelled: &Cancelled) -> Result<Calibration, Refusal> {
        let Acceptance { goal, proposals, pilot, seed, .. } = self.acceptance;
        // A context that the target was not fitted in.
        let bound = known_bound(self.fit.tilt(), context, &self.acceptance.model);
        let bound = bound.map_err(|error| Refusal::Invalid(error.to_string()))?;
        let log_bound = bound.filter(|_| self.acceptance.is_base);
        let (mut log_target, mut log_proposal, mut skipped) = (Vec::new(), Vec::new(), 0);
        for streams in Streams::new(seed, pilot).chunks(PILOT_BATCH) {
            if cancelled.has_all() {
                return Err(Refusal::Stopped);
            }
            let samples = self.policy.sample(context, &streams).map_err(failed)?;
            let values: Vec<&X> = samples.iter().map(|sample| &sample.value).collect();
            let scores = self.target.log_scores(context, &values);
            let scores = scores.map_err(|error| self.unscored(context, &error))?;
            skipped += scores.iter().filter(|score| score.is_err()).count();
            log_target.extend(scores.into_iter().map(|score| score.unwrap_or(f64::NEG_INFINITY)));
            log_proposal.extend(samples.iter().map(|sample| sample.log_prob));
        }
        if log_target.iter().all(|log_target| *log_target == f64::NEG_INFINITY) {
            let skipped = if skipped > 0 { format!(" ({skipped} were skipped)") } else { String::new() };
            let message = format!(
                "none of {pilot} samples of the model in this context is a sample that the target allows{skipped}"
            );
            return Err(Refusal::Exhausted(message));
        }
        let ratios = Ratios::new(&log_target, &log_proposal).map_err(failed)?;
        Calibration::choose(ratios, log_bound, goal, proposals).map_err(failed)
    }

    /// The refusal of a context whose samples cannot be scored: it may lack the columns that features ask for.
    fn unscored(&self, context: &TextContext, error: &disco_core::Error) -> Refusal {
        if self.acceptance.has_columns && context.columns().is_empty() {
            return Refusal::Invalid(format!(
                "`prompt` is none of the contexts of the run file, whose rows have columns: {error}"
            ));
        }
        failed(error)
    }
}

/// Hands a sample over to the one who asked for it, cut at the largest number of tokens.
fn hand_over<X: TextSample>(
    job: &mut Job,
    completion: usize,
    draw: &Draw<X>,
    found: &Calibration,
    proposals: u64,
) {
    if job.cancelled.has(completion) {
        return;
    }
    let ids = draw.value.token_ids();
    let mut facts = found.facts.clone();
    facts.insert("proposals".into(), json!(proposals));
    // A request may cut the text at a length or a stop.
    let whole =
        json!({"tokens": ids.len(), "finished": draw.value.finished(), "log_target": draw.log_target});
    facts.insert("whole_sample".into(), whole);
    job.tell(DrawEvent::Facts { completion, facts });
    for id in ids.iter().take(job.max_tokens) {
        let token = DrawnToken { id: *id, log_prob: None, alternatives: Vec::new() };
        job.tell(DrawEvent::Token { completion, token });
    }
    job.tell(DrawEvent::Finished {
        completion,
        is_cut: ids.len() > job.max_tokens || !draw.value.finished(),
    });
}

fn failed(error: impl std::fmt::Display) -> Refusal {
    Refusal::Failed(error.to_string())
}
