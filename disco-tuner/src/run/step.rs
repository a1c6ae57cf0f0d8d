//! One step of a run.

use std::collections::VecDeque;

use super::{
    Run,
    accumulate::Accumulated,
    collective::agree,
    resume::VERIFIED,
    support::{successes, total},
    timer::Timer,
};
use crate::{
    config::Sampling,
    error::{Error, Result, Stage},
    gradient::{ContextSamples, LogPolicy, UpdateBatch},
    metrics::{Metrics, Note, weight_metrics},
    observer::StepReport,
    optimizer::Update,
    policy::Policy,
};

impl<P, C, X> Run<'_, P, C, X>
where
    P: Policy<C, X>,
{
    pub(crate) fn advance(&mut self) -> Result<StepReport> {
        let mut timer = Timer::default();
        let groups = self.draw(&mut timer)?;
        let first_skip = self.first_skip(&groups)?;
        self.check_support(&groups, first_skip.as_ref())?;
        let mut notes: Vec<Note> = first_skip.iter().map(|skip| skip.note().at(Stage::Score)).collect();
        let mut steps = std::mem::take(&mut self.replay_buffer);
        steps.push_back(groups);
        let result = self.update(&steps, &mut timer, &mut notes);
        self.replay_buffer = steps;
        if result.is_err() {
            self.replay_buffer.pop_back();
        }
        let mut report = result?;
        self.retire();
        self.progress.step += 1;
        report.metrics.extend(self.validate(&mut timer, &mut notes)?);
        report.warnings = self.warnings(report.step, notes);
        report.seconds = timer.seconds();
        if self.problem.length.is_some() {
            report.tokens = timer.tokens_of_all(self.workers)?;
        }
        Ok(report)
    }

    /// Measures and follows the gradient of the samples of some steps, the last of which is the current one.
    fn update(
        &mut self,
        steps: &VecDeque<Vec<ContextSamples<X>>>,
        timer: &mut Timer,
        notes: &mut Vec<Note>,
    ) -> Result<StepReport> {
        let config = self.tuner.config();
        let (step, offline) = (self.progress.step, self.proposal.is_some());
        let enumerated = self.is_enumerated();
        let batch = match enumerated {
            true => UpdateBatch::of_spaces(steps),
            false => UpdateBatch::new(steps, &self.progress.z_estimates, config.partition),
        };
        let current = steps.back().map_or(&[][..], Vec::as_slice);
        let mut report = self.report(current, &batch);
        let measured = config.metrics_every > 0
            && (step.is_multiple_of(config.metrics_every) || step + 1 == config.steps);
        let test = match config.sampling {
            Sampling::Offline { metric, z, every } if step.is_multiple_of(every) => Some((metric, z)),
            _ => None,
        };
        // The first pass over the contexts shows whether their spaces hold all outcomes of the policy.
        let contexts = self.problem.contexts.len() as u64;
        let is_first_pass = step.saturating_mul(contexts.min(config.contexts_per_step as u64)) < contexts;
        let all = measured || test.is_some() || (enumerated && is_first_pass);
        let mut log_policy = self.log_policy(&batch, !offline && !enumerated, all, timer)?;
        if enumerated {
            let known = batch.current_groups().iter().zip(&log_policy);
            let known = known.filter_map(|(group, log_policy)| Some((*group, log_policy.as_deref()?)));
            self.check_mass(Stage::LogProb, known)?;
        }
        // Everything that can fail because of a number comes before the first update.
        if measured {
            report.metrics = timer.time(Stage::Metrics, || self.measure_step(&batch, &log_policy, notes))?;
            report.shown = self.display(batch.current_groups())?;
        }
        let mut proposal = None;
        if let Some((metric, z)) = test
            && self.replaces_proposal(&batch, &log_policy, metric, z)?
        {
            let frozen = self.policy.freeze().map_err(self.at(Stage::Update));
            proposal = Some(agree(self.workers, frozen)?);
            self.save_proposal()?;
        }
        let update = Update {
            optimizer: config.optimizer.clone(),
            learning_rate: report.learning_rate,
            max_gradient_norm: config.max_gradient_norm,
        };
        let snapshot = if config.epochs > 1 { self.policy.snapshot() } else { None };
        for epoch in 0..config.epochs {
            if epoch > 0 {
                log_policy = match self.log_policy(&batch, false, false, timer) {
                    Ok(log_policy) => log_policy,
                    Err(error) => return Err(self.undo(epoch, snapshot, error)),
                };
            }
            let accumulated = match self.follow(&batch, &log_policy, &update, &mut report, timer) {
                Ok(accumulated) => accumulated,
                Err(error) => return Err(self.undo(epoch, snapshot, error)),
            };
            if epoch == 0 && measured {
                weight_metrics(&accumulated.weights, enumerated, &mut report.metrics);
                report.metrics.extend(accumulated.gap.map(|gap| ("log_prob_gap".to_owned(), gap.into())));
            }
        }
        if proposal.is_some() {
            (self.proposal, report.proposal_replaced) = (proposal, true);
            self.progress.proposal_step = self.checkpointing.as_ref().map(|_| step);
        }
        self.count_support(current);
        Ok(report)
    }

    /// One epoch: accumulates the gradient and follows it.
    fn follow(
        &mut self,
        batch: &UpdateBatch<'_, X>,
        log_policy: &LogPolicy,
        update: &Update,
        report: &mut StepReport,
        timer: &mut Timer,
    ) -> Result<Accumulated> {
        let accumulated = self.accumulate(batch, log_policy, timer)?;
        report.weighted += accumulated.weighted;
        let updated = timer.time(Stage::Update, || self.policy.step(update)).map_err(self.at(Stage::Update));
        report.gradient_norm = agree(self.workers, updated)?.gradient_norm;
        Ok(accumulated)
    }

    /// Undoes the updates of earlier epochs, if the policy has a snapshot.
    fn undo(&mut self, epoch: usize, snapshot: Option<P>, error: Error) -> Error {
        match snapshot {
            Some(before) => {
                *self.policy = before;
                error
            }
            None if epoch == 0 => error,
            None => Error::LaterEpoch { epoch, cause: Box::new(error) },
        }
    }

    /// The report of a step before its update.
    fn report(&self, groups: &[ContextSamples<X>], batch: &UpdateBatch<'_, X>) -> StepReport {
        let (config, step) = (self.tuner.config(), self.progress.step);
        StepReport {
            step: step + 1,
            steps: config.steps,
            samples: total(groups) as usize,
            successes: successes(groups),
            skipped: groups.iter().map(ContextSamples::skipped).sum(),
            unnormalised: batch.normalisers.iter().map(|normaliser| normaliser.unnormalised).sum(),
            contexts_without_success: groups.iter().filter(|group| group.successes() == 0).count(),
            weighted: 0,
            learning_rate: config.learning_rate * config.schedule.share(step, config.steps),
            gradient_norm: 0.0,
            proposal_replaced: false,
            seconds: Default::default(),
            tokens: Default::default(),
            metrics: Metrics::new(),
            warnings: Vec::new(),
            shown: Vec::new(),
        }
    }

    /// The warnings that the notes of a step make: those that the run has not said before.
    fn warnings(&mut self, step: u64, notes: Vec<Note>) -> Vec<String> {
        let new = notes.into_iter().filter(|note| self.said.insert(note.key.clone()));
        new.map(|note| format!("step {step}, {}", note.text)).collect()
    }

    /// Moves the steps that leave the replay buffer into the estimates of `Z` per context.
    fn retire(&mut self) {
        while self.replay_buffer.len() > self.tuner.config().replay {
            let mut groups = self.replay_buffer.pop_front().unwrap_or_default();
            for group in &mut groups {
                let estimate = &mut self.progress.z_estimates[group.context];
                *estimate = estimate.and(group.z_estimate());
                group.truncate(VERIFIED.1);
            }
            groups.truncate(VERIFIED.0);
            self.verification_samples = [groups].into();
        }
    }
}
