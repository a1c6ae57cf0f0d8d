//! One step of a run.

use std::collections::VecDeque;

use crate::{
    Error, Metrics, Policy, Report, Result, Run, Sampling, Shown, Stage, Update,
    batch::{Batch, LogPolicy},
    clock::Clock,
    draw::{successes, total},
    gradient::Gradient,
    group::Group,
    measure::{Measured, measure, term_metrics},
    resume::PROBED,
};

impl<P, C, X> Run<'_, P, C, X>
where
    P: Policy<C, X>,
{
    pub(crate) fn advance(&mut self) -> Result<Report> {
        let mut clock = Clock::default();
        let groups = self.draw(&mut clock)?;
        self.check_support(&groups)?;
        let mut window = std::mem::take(&mut self.window);
        window.push_back(groups);
        let result = self.update(&window, &mut clock);
        self.window = window;
        if result.is_err() {
            self.window.pop_back();
        }
        let mut report = result?;
        self.retire();
        self.progress.step += 1;
        report.metrics.extend(self.validate(&mut clock)?);
        (report.seconds, report.tokens) = (clock.seconds(), clock.tokens());
        Ok(report)
    }

    /// Measures and follows the gradient of a window of samples, the last of which are the step's own.
    fn update(&mut self, window: &VecDeque<Vec<Group<X>>>, clock: &mut Clock) -> Result<Report> {
        let config = self.tuner.config();
        let (step, offline) = (self.progress.step, self.proposal.is_some());
        let batch = Batch::new(window, &self.progress.masses, config.partition);
        let mut report = self.report(window.back().map_or(&[], Vec::as_slice), &batch);
        let measured = config.metrics_every > 0
            && (step.is_multiple_of(config.metrics_every) || step + 1 == config.steps);
        let test = match config.sampling {
            Sampling::Offline { metric, z, every } if step.is_multiple_of(every) => Some((metric, z)),
            _ => None,
        };
        let mut log_policy = self.log_policy(&batch, !offline, measured || test.is_some(), clock)?;
        // All that can fail for want of a number comes before the first update.
        if measured {
            report.metrics = clock.time(Stage::Metrics, || self.measure(&batch, &log_policy))?;
            report.shown = self.show(batch.own());
        }
        let mut proposal = None;
        if let Some((metric, z)) = test
            && self.is_nearer(&batch, &log_policy, metric, z)?
        {
            proposal = Some(self.policy.freeze().map_err(self.at(Stage::Update))?);
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
                log_policy = match self.log_policy(&batch, false, false, clock) {
                    Ok(log_policy) => log_policy,
                    Err(error) => return Err(self.go_back(epoch, snapshot, error)),
                };
            }
            let gradient = match self.follow(&batch, &log_policy, &update, &mut report, clock) {
                Ok(gradient) => gradient,
                Err(error) => return Err(self.go_back(epoch, snapshot, error)),
            };
            if epoch == 0 && measured {
                term_metrics(&gradient.terms, &mut report.metrics);
                report.metrics.extend(gradient.gap.map(|gap| ("log_prob_gap".to_owned(), gap.into())));
            }
        }
        if proposal.is_some() {
            (self.proposal, report.proposal_replaced) = (proposal, true);
            self.progress.proposal = self.checkpoints.as_ref().map(|_| step);
        }
        self.count_support(window.back().map_or(&[], Vec::as_slice));
        Ok(report)
    }

    /// One epoch: accumulates the gradient and follows it.
    fn follow(
        &mut self,
        batch: &Batch<'_, X>,
        log_policy: &LogPolicy,
        update: &Update,
        report: &mut Report,
        clock: &mut Clock,
    ) -> Result<Gradient> {
        let gradient = self.accumulate(batch, log_policy, clock)?;
        report.weighted += gradient.weighted;
        let updated = clock.time(Stage::Update, || self.policy.step(update));
        report.gradient_norm = updated.map_err(self.at(Stage::Update))?.gradient_norm;
        Ok(gradient)
    }

    /// Undoes the updates of earlier epochs, where the policy can.
    fn go_back(&mut self, epoch: usize, snapshot: Option<P>, error: Error) -> Error {
        match snapshot {
            _ if epoch == 0 => error,
            Some(before) => {
                *self.policy = before;
                error
            }
            None => Error::LaterEpoch { epoch, source: Box::new(error) },
        }
    }

    /// What can be said of a step before its update.
    fn report(&self, groups: &[Group<X>], batch: &Batch<'_, X>) -> Report {
        let (config, step) = (self.tuner.config(), self.progress.step);
        Report {
            step: step + 1,
            steps: config.steps,
            samples: total(groups) as usize,
            successes: successes(groups),
            skipped: groups.iter().map(Group::skipped).sum(),
            unnormalised: batch.priors.iter().map(|prior| prior.unnormalised).sum(),
            contexts_without_success: groups.iter().filter(|group| group.successes() == 0).count(),
            weighted: 0,
            learning_rate: config.learning_rate * config.schedule.share(step, config.steps),
            gradient_norm: 0.0,
            proposal_replaced: false,
            seconds: Default::default(),
            tokens: Default::default(),
            metrics: Metrics::new(),
            shown: Vec::new(),
        }
    }

    fn measure(&self, batch: &Batch<'_, X>, log_policy: &LogPolicy) -> Result<Metrics> {
        let parts = batch.own().iter().zip(&batch.priors).zip(log_policy);
        let measured: Vec<_> = parts
            .filter_map(|((group, prior), log_policy)| {
                Some(Measured {
                    context: &self.problem.contexts.items()[group.context],
                    group,
                    log_policy: log_policy.as_deref()?,
                    earlier: prior.outside,
                })
            })
            .collect();
        measure(self.problem, &measured, self.proposal.is_some())
            .map_err(|(context, error)| self.in_context(Stage::Metrics, context)(error))
    }

    fn show(&self, groups: &[&Group<X>]) -> Vec<Shown> {
        let Some((count, show)) = &self.problem.show else { return Vec::new() };
        let contexts = self.problem.contexts.items();
        groups
            .iter()
            .flat_map(|group| group.samples.iter().map(|sample| (group.context, sample)))
            .take(*count)
            .map(|(context, sample)| Shown { context, text: show(&contexts[context], sample) })
            .collect()
    }

    /// Moves what leaves the window into the sums of weights per context.
    fn retire(&mut self) {
        while self.window.len() > self.tuner.config().replay {
            let mut groups = self.window.pop_front().unwrap_or_default();
            for group in &mut groups {
                let mass = &mut self.progress.masses[group.context];
                *mass = mass.and(group.mass());
                group.truncate(PROBED.1);
            }
            groups.truncate(PROBED.0);
            self.probe = [groups].into();
        }
    }
}
