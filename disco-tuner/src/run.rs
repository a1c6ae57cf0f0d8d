//! A run: its state between steps, and how it begins and ends.

use std::collections::VecDeque;

use disco_core::{ContextOrder, Error as CoreError, Replacement};
use disco_divergence::Divergence;
use serde::{Deserialize, Serialize};

use crate::{
    Checkpoints, Control, Error, Observer, Outcome, Policy, Problem, Reason, Report, Result, Sampling, Stage,
    Tuner, group::Group, identity::Identity, partition::Mass,
};

/// A run of a [`Tuner`], made by [`Tuner::start`].
///
/// Its randomness depends on the seed and the step's number only: nothing of a generator has to be kept.
#[derive(Debug)]
pub struct Run<'a, P: Policy<C, X>, C, X> {
    pub(crate) tuner: &'a Tuner,
    pub(crate) policy: &'a mut P,
    pub(crate) problem: &'a Problem<'a, C, X>,
    pub(crate) order: ContextOrder<'a, C>,
    /// What offline samples are drawn from.
    pub(crate) proposal: Option<P::Frozen>,
    pub(crate) progress: Progress,
    /// The samples of earlier steps that are used again, oldest first.
    pub(crate) window: VecDeque<Vec<Group<X>>>,
    /// Some samples of the last step that left the window, by which a changed target is noticed.
    pub(crate) probe: VecDeque<Vec<Group<X>>>,
    /// Where checkpoints go, and what they say of the run.
    pub(crate) checkpoints: Option<(&'a Checkpoints<X>, Identity)>,
}

/// The state of a run, but for policy, proposal and replayed samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progress {
    /// How many steps are done.
    pub(crate) step: u64,
    /// The step before which the proposal was frozen, if that is kept in a checkpoint.
    pub(crate) proposal: Option<u64>,
    /// Per context, the importance weights of the steps that left the window.
    pub(crate) masses: Vec<Mass>,
    /// How many steps in a row, to the last, had no success; and their samples.
    pub(crate) barren_steps: u64,
    pub(crate) barren_samples: u64,
    /// The best value of the watched metric and its step; how many measurements ago.
    pub(crate) best: Option<(f64, u64)>,
    pub(crate) stale: u64,
    /// Why the run ended, if it did.
    pub(crate) reason: Option<Reason>,
}

impl<'a, P, C, X> Run<'a, P, C, X>
where
    P: Policy<C, X>,
{
    pub(crate) fn new(tuner: &'a Tuner, policy: &'a mut P, problem: &'a Problem<'a, C, X>) -> Result<Self> {
        let config = tuner.config();
        if problem.hard && tuner.refuses_hard_constraints() {
            return Err(tuner.hard_constraints("the target says so".into()));
        }
        if let Sampling::Offline { metric, .. } = config.sampling
            && problem.hard
            && metric.derivative_at_infinity() == f64::INFINITY
        {
            let divergence = format!("sampling.metric: {metric}");
            let (found, able) = ("the target says so".into(), Tuner::able());
            return Err(Error::HardConstraints { divergence, found, able });
        }
        let contexts = config.contexts_per_step.min(problem.contexts.len());
        if config.samples_per_step < 2 * contexts {
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
        config.check_watched(problem)?;
        let probabilities = problem.contexts.probabilities();
        let equal = probabilities.iter().all(|other| *other == probabilities[0]);
        let replacement = if equal { Replacement::Without } else { Replacement::With };
        // A pending gradient of the caller's would be taken for part of the first step's.
        policy.clear();
        let proposal = match config.sampling {
            Sampling::Online => None,
            Sampling::Offline { .. } => Some(policy.freeze()?),
        };
        Ok(Self {
            order: problem.contexts.order(config.seed, replacement)?,
            progress: Progress {
                step: 0,
                proposal: None,
                masses: vec![Mass::NONE; problem.contexts.len()],
                barren_steps: 0,
                barren_samples: 0,
                best: None,
                stale: 0,
                reason: None,
            },
            window: VecDeque::new(),
            probe: VecDeque::new(),
            checkpoints: None,
            tuner,
            policy,
            problem,
            proposal,
        })
    }

    /// How many steps are done.
    pub fn done(&self) -> u64 {
        self.progress.step
    }

    /// The policy as it is now.
    pub fn policy(&self) -> &P {
        self.policy
    }

    /// What offline samples are drawn from; `None` online.
    pub fn proposal(&self) -> Option<&P::Frozen> {
        self.proposal.as_ref()
    }

    /// Makes one step, and a checkpoint where one is due; `None` where the run is over.
    ///
    /// # Errors
    /// Those of [`enum@Error`]. The parameters are then as the last finished update left them, the pending
    /// gradient is cleared, and the step does not count, unless it was validation that failed, which comes
    /// after it.
    pub fn step(&mut self) -> Result<Option<Report>> {
        let report = self.step_without_checkpoint()?;
        if report.is_some() {
            self.checkpoint_if_due()?;
        }
        Ok(report)
    }

    fn step_without_checkpoint(&mut self) -> Result<Option<Report>> {
        if self.progress.reason.is_some() {
            return Ok(None);
        }
        let report = self.advance().inspect_err(|_| self.policy.clear())?;
        self.watch(&report);
        if self.progress.step >= self.tuner.config().steps {
            self.progress.reason.get_or_insert(Reason::Finished);
        }
        Ok(Some(report))
    }

    fn checkpoint_if_due(&self) -> Result<()> {
        let due = |checkpoints: &Checkpoints<X>| self.progress.step.is_multiple_of(checkpoints.every);
        let best = self.progress.best.is_some_and(|(_, step)| step == self.progress.step);
        if self.checkpoints.as_ref().is_some_and(|(checkpoints, _)| due(checkpoints))
            || best
            || self.progress.reason.is_some()
        {
            self.checkpoint()?;
        }
        Ok(())
    }

    /// Makes all remaining steps, and tells `observer` of each. A run that it stops leaves a checkpoint.
    ///
    /// # Errors
    /// As [`step`](Self::step); [`Error::Observer`] if the observer refuses to start.
    pub fn drive(mut self, observer: &mut dyn Observer) -> Result<Outcome> {
        let mut failures = Failures::default();
        if let Err(error) = self.drive_steps(observer, &mut failures) {
            // There is nobody left to tell of a failure to tell.
            let _ = observer.fail(self.progress.step, &error.to_string());
            return Err(error);
        }
        let mut outcome = Outcome {
            step: self.progress.step,
            reason: self.progress.reason.unwrap_or(Reason::Finished),
            best: self.progress.best,
            observer_failures: failures.count,
            first_observer_failure: failures.first.clone(),
        };
        if let Err(failure) = observer.finish(&outcome) {
            failures.add(outcome.step, &*failure);
            (outcome.observer_failures, outcome.first_observer_failure) = (failures.count, failures.first);
        }
        Ok(outcome)
    }

    fn drive_steps(&mut self, observer: &mut dyn Observer, failures: &mut Failures) -> Result<()> {
        observer.start(self.tuner.config(), self.progress.step).map_err(Error::Observer)?;
        while let Some(report) = self.step_without_checkpoint()? {
            // Before the checkpoint: a run that dies in between makes the step again, and no log misses it.
            match observer.step(&report) {
                Ok(Control::Continue) => {}
                Ok(Control::Stop) => {
                    self.progress.reason.get_or_insert(Reason::Observer);
                }
                Err(failure) => failures.add(report.step, &*failure),
            }
            self.checkpoint_if_due()?;
        }
        Ok(())
    }

    /// Follows the metric of early stopping.
    fn watch(&mut self, report: &Report) {
        let Some(stopping) = &self.tuner.config().early_stopping else { return };
        // Its name is a good one: where it is missing it is not due, or there was nothing to measure it from.
        let Some(metric) = report.metrics.get(&stopping.metric) else { return };
        let progress = &mut self.progress;
        let bar = progress.best.map_or(f64::INFINITY, |(best, _)| best - stopping.min_delta);
        if metric.value < bar {
            (progress.best, progress.stale) = (Some((metric.value, report.step)), 0);
        } else {
            progress.stale += 1;
        }
        if progress.stale >= stopping.patience {
            progress.reason = Some(Reason::NoImprovement);
        }
    }

    /// Names the step, stage and context of an error of core.
    pub(crate) fn in_context(
        &self,
        stage: Stage,
        context: usize,
    ) -> impl Fn(CoreError) -> Error + use<P, C, X> {
        let step = self.progress.step;
        move |source| Error::Context { step, stage, context, source }
    }

    /// Names the step and stage of an error of core.
    pub(crate) fn at(&self, stage: Stage) -> impl Fn(CoreError) -> Error + use<P, C, X> {
        let step = self.progress.step;
        move |source| Error::Step { step, stage, source }
    }
}

/// How often an observer failed, and how first.
#[derive(Default)]
struct Failures {
    count: u64,
    first: Option<(u64, String)>,
}

impl Failures {
    fn add(&mut self, step: u64, failure: &(dyn std::error::Error + Send + Sync)) {
        self.count += 1;
        self.first.get_or_insert_with(|| (step, failure.to_string()));
    }
}
