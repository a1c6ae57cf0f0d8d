//! A run: its state between steps. It begins in `tuner.rs`, `resume.rs` or [`Run::new`]; `step.rs` makes a step,
//! `drive.rs` all of them with an observer.

mod accumulate;
mod checkpointing;
mod collective;
mod draw;
mod drive;
mod enumerate;
mod log_probs;
mod measurement;
mod proposal_test;
mod resume;
mod step;
mod support;
mod timer;
mod tuner;
mod validation;

use std::collections::{BTreeSet, VecDeque};

use disco_core::{ContextOrder, Error as CoreError, Replacement};
use disco_divergence::Divergence;

use crate::{
    checkpoint::{Checkpoints, Progress},
    config::Sampling,
    error::{Error, Result, Stage},
    gradient::ContextSamples,
    metrics::check_early_stopping,
    observer::{StepReport, StopReason},
    policy::Policy,
    problem::Problem,
    storage::crc32c,
    workers::Workers,
};
use checkpointing::Checkpointing;
use collective::{Sharing, exchange};
use enumerate::check_space;

pub use tuner::Tuner;

/// A run of a [`Tuner`], made by [`Tuner::start`], [`Tuner::start_shared`] or [`Tuner::resume`].
///
/// Its random numbers depend on the seed and the number of the step only, so that a checkpoint contains no state of a
/// generator.
///
/// ```
/// use disco_core::{Contexts, Space, scorer};
/// use disco_tuner::{Problem, SoftmaxTable, Tuner, TunerConfig};
/// let (contexts, target) = (Contexts::single(()), scorer(|_: &(), x: &u8| f64::from(*x)));
/// let problem = Problem::new(&contexts, &target);
/// let mut policy = SoftmaxTable::uniform(Space::new([()])?, Space::new(0..4u8)?);
/// let tuner = Tuner::new(TunerConfig { steps: 5, metrics_every: 1, ..TunerConfig::default() })?;
/// let mut run = tuner.start(&mut policy, &problem)?;
/// while let Some(report) = run.step()? {
///     println!("step {}: KL {:.3}", report.step, report.metrics["kl_target_policy"].value);
///     assert_eq!(report.step, run.done());
/// }
/// // The last step favours what the target favours.
/// let probabilities = run.policy().rows()[0].probabilities();
/// assert!(probabilities[3] > probabilities[0]);
/// # Ok::<(), disco_tuner::Error>(())
/// ```
#[derive(Debug)]
pub struct Run<'a, P: Policy<C, X>, C, X> {
    pub(crate) tuner: &'a Tuner,
    pub(crate) policy: &'a mut P,
    pub(crate) problem: &'a Problem<'a, C, X>,
    pub(crate) order: ContextOrder<'a, C>,
    /// The workers that share the run, of which this process is one.
    pub(crate) workers: &'a dyn Workers,
    /// Present if the run was started as a shared one.
    pub(crate) sharing: Option<Sharing<P, X>>,
    /// The distribution that offline samples are drawn from.
    pub(crate) proposal: Option<P::Frozen>,
    pub(crate) progress: Progress,
    /// The samples of earlier steps that are used again, oldest first.
    pub(crate) replay_buffer: VecDeque<Vec<ContextSamples<X>>>,
    /// Some samples of the last step that left the replay buffer, which show on resuming whether the target changed.
    pub(crate) verification_samples: VecDeque<Vec<ContextSamples<X>>>,
    pub(crate) checkpointing: Option<Checkpointing<'a, P, X>>,
    /// The keys of the notes that were made warnings; a run that is resumed says them again.
    pub(crate) said: BTreeSet<String>,
}

impl<'a, P, C, X> Run<'a, P, C, X>
where
    P: Policy<C, X>,
{
    pub(crate) fn new(
        tuner: &'a Tuner,
        policy: &'a mut P,
        problem: &'a Problem<'a, C, X>,
        workers: &'a dyn Workers,
        sharing: Option<Sharing<P, X>>,
    ) -> Result<Self> {
        let config = tuner.config();
        check_problem(tuner, problem)?;
        let probabilities = problem.contexts.probabilities();
        let equal = probabilities.iter().all(|other| *other == probabilities[0]);
        let replacement = if equal { Replacement::Without } else { Replacement::With };
        // A pending gradient of the caller's would be taken for part of the first step's.
        policy.clear();
        let proposal = match config.sampling {
            Sampling::Online | Sampling::Enumerated => None,
            Sampling::Offline { .. } => Some(policy.freeze()?),
        };
        Ok(Self {
            order: problem.contexts.order(config.seed, replacement)?,
            progress: Progress::new(problem.contexts.len()),
            replay_buffer: VecDeque::new(),
            verification_samples: VecDeque::new(),
            checkpointing: None,
            said: BTreeSet::new(),
            tuner,
            policy,
            problem,
            workers,
            sharing,
            proposal,
        })
    }

    /// Refuses workers whose settings, problem or checkpoint differ from those of rank 0, as far as that can be seen.
    pub(crate) fn checked_among_workers(self) -> Result<Self> {
        if !self.is_shared() {
            return Ok(self);
        }
        let problem = self.problem;
        let checksum = |bytes: &[u8]| f64::from(crc32c(bytes));
        let settings = serde_json::to_vec(self.tuner.config())
            .map_err(|cause| CoreError::failed("settings of a run", cause).into());
        let own = settings.map(|settings| {
            let counts = [
                problem.contexts.len(),
                problem.held_out.map_or(0, disco_core::Contexts::len),
                usize::from(problem.base.is_some()),
                problem.features.len(),
                problem.statistics.len(),
                usize::from(problem.length.is_some()),
                problem.show.as_ref().map_or(0, |(count, _)| *count),
                usize::from(problem.hard),
            ];
            let mut numbers = vec![checksum(&settings), checksum(self.tuner.divergence().name().as_bytes())];
            numbers.extend(counts.map(|count| count as f64));
            numbers.push(self.progress.step as f64);
            numbers
        });
        let all = exchange(self.workers, own)?;
        match all.iter().position(|other| *other != all[0]) {
            None => Ok(self),
            Some(rank) => {
                let what = format!("settings, problem or checkpoint of worker {rank}");
                Err(Error::Workers { cause: CoreError::invalid(what, "another", "the same as on worker 0") })
            }
        }
    }

    /// The number of steps done.
    pub fn done(&self) -> u64 {
        self.progress.step
    }

    /// The policy with its current parameters.
    pub fn policy(&self) -> &P {
        self.policy
    }

    /// The distribution that offline samples are drawn from; `None` online.
    pub fn proposal(&self) -> Option<&P::Frozen> {
        self.proposal.as_ref()
    }

    /// Makes one step, and a checkpoint if one is due; `None` if the run is over.
    ///
    /// # Errors
    /// [`enum@Error`]. The parameters are then as the last finished update left them, and the pending gradient is cleared.
    /// The step does not count, except if validation failed, which comes after the step. If several workers share the run and
    /// an update fails on only some of them, their parameters differ: resume from a checkpoint.
    pub fn step(&mut self) -> Result<Option<StepReport>> {
        let report = self.step_without_checkpoint()?;
        if report.is_some() {
            self.checkpoint_if_due()?;
        }
        Ok(report)
    }

    fn step_without_checkpoint(&mut self) -> Result<Option<StepReport>> {
        if self.progress.reason.is_some() {
            return Ok(None);
        }
        let report = self.advance().inspect_err(|_| self.policy.clear())?;
        self.watch(&report);
        if self.progress.step >= self.tuner.config().steps {
            self.progress.reason.get_or_insert(StopReason::Finished);
        }
        Ok(Some(report))
    }

    fn checkpoint_if_due(&self) -> Result<()> {
        let due = |checkpoints: &Checkpoints<X>| self.progress.step.is_multiple_of(checkpoints.every);
        let best = self.progress.best.is_some_and(|(_, step)| step == self.progress.step);
        if self.checkpointing.as_ref().is_some_and(|checkpointing| due(checkpointing.checkpoints))
            || best
            || self.progress.reason.is_some()
        {
            self.checkpoint()?;
        }
        Ok(())
    }

    /// Follows the metric of early stopping.
    fn watch(&mut self, report: &StepReport) {
        let Some(stopping) = &self.tuner.config().early_stopping else { return };
        // The run has this metric; where it is missing it is not due, or there was nothing to estimate it from.
        let Some(metric) = report.metrics.get(&stopping.metric) else { return };
        let Ok(direction) = stopping.improves() else { return };
        let progress = &mut self.progress;
        let best = progress.best.map(|(best, _)| best);
        if direction.is_better(metric.value, best, stopping.min_delta) {
            progress.best = Some((metric.value, report.step));
            progress.measurements_without_improvement = 0;
        } else {
            progress.measurements_without_improvement += 1;
        }
        if progress.measurements_without_improvement >= stopping.patience {
            progress.reason = Some(StopReason::NoImprovement);
        }
    }

    /// Adds step, stage and context to an error of disco-core.
    pub(crate) fn in_context(
        &self,
        stage: Stage,
        context: usize,
    ) -> impl Fn(CoreError) -> Error + use<P, C, X> {
        let step = self.progress.step;
        move |cause| Error::Context { step, stage, context, cause }
    }

    /// Adds step and stage to an error of disco-core.
    pub(crate) fn at(&self, stage: Stage) -> impl Fn(CoreError) -> Error + use<P, C, X> {
        let step = self.progress.step;
        move |cause| Error::Step { step, stage, cause }
    }
}

/// Refuses settings that do not fit a problem.
fn check_problem<C, X>(tuner: &Tuner, problem: &Problem<'_, C, X>) -> Result<()> {
    let config = tuner.config();
    if problem.hard && tuner.refuses_hard_constraints() {
        return Err(tuner.hard_constraints("the target says so".into()));
    }
    if let Sampling::Offline { metric, .. } = config.sampling
        && problem.hard
        && metric.derivative_at_infinity() == f64::INFINITY
    {
        let divergence = format!("sampling.metric: {metric}");
        let (found, alternatives) = ("the target says so".into(), Tuner::alternatives());
        return Err(Error::HardConstraints { divergence, found, alternatives });
    }
    check_space(config.sampling == Sampling::Enumerated, problem)?;
    let contexts = config.contexts_per_step.min(problem.contexts.len());
    if config.sampling != Sampling::Enumerated && config.samples_per_step < 2 * contexts {
        let allowed = format!("at least {}: two in each of {contexts} contexts", 2 * contexts);
        return Err(CoreError::invalid("samples_per_step", config.samples_per_step, allowed).into());
    }
    if config.micro_batch.tokens.is_some() && problem.length.is_none() {
        let allowed = "none, for a problem that does not say how long a sample is";
        return Err(CoreError::invalid("micro_batch.tokens", "given", allowed).into());
    }
    if config.validation.is_some() != problem.held_out.is_some() {
        let (value, allowed) = match config.validation {
            Some(_) => ("given", "none, for a problem without held-out contexts"),
            None => ("none", "given, for a problem with held-out contexts"),
        };
        return Err(CoreError::invalid("validation", value, allowed).into());
    }
    check_early_stopping(config, problem)
}
