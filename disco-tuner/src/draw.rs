//! The samples of a step.

use disco_core::{Distribution, Error as CoreError, StreamRng, Streams};
use rand::SeedableRng;

use crate::{
    Error, Policy, Result, Run, Stage,
    clock::Clock,
    group::{Group, drawn},
};

impl<P, C, X> Run<'_, P, C, X>
where
    P: Policy<C, X>,
{
    /// Draws contexts and samples, and scores them.
    pub(crate) fn draw(&self, clock: &mut Clock) -> Result<Vec<Group<X>>> {
        let (config, step) = (self.tuner.config(), self.progress.step);
        let count = config.contexts_per_step.min(self.problem.contexts.len());
        let places = self.order.take(step * count as u64, count);
        let mut rng = StreamRng::seed_from_u64(config.seed);
        rng.set_stream(step);
        let share = |slot: usize| {
            config.samples_per_step / count + usize::from(slot < config.samples_per_step % count)
        };
        let streams: Vec<Streams> = (0..count).map(|slot| Streams::draw(&mut rng, share(slot))).collect();
        let contexts: Vec<&C> = places.iter().map(|&place| &self.problem.contexts.items()[place]).collect();
        let (by, sampled) = match &self.proposal {
            Some(proposal) => {
                ("proposal", clock.time(Stage::Sample, || proposal.sample_each(&contexts, &streams)))
            }
            None => ("policy", clock.time(Stage::Sample, || self.policy.sample_each(&contexts, &streams))),
        };
        let sampled = sampled.map_err(self.at(Stage::Sample))?;
        CoreError::check_length("contexts sampled in", count, sampled.len())
            .map_err(self.at(Stage::Sample))?;
        let mut groups = Vec::with_capacity(count);
        for ((slot, sampled), &place) in sampled.into_iter().enumerate().zip(&places) {
            let named = self.in_context(Stage::Sample, place);
            CoreError::check_length("samples of a context", share(slot), sampled.len()).map_err(&named)?;
            let (samples, log_probs) = drawn(by, sampled).map_err(&named)?;
            let contexts = self.problem.contexts.items();
            groups.push(self.score_at(Stage::Score, contexts, place, samples, log_probs, clock)?);
        }
        Ok(groups)
    }

    /// Scores samples under the target; errors name `stage`.
    pub(crate) fn score_at(
        &self,
        stage: Stage,
        contexts: &[C],
        place: usize,
        samples: Vec<X>,
        log_probs: Vec<f64>,
        clock: &mut Clock,
    ) -> Result<Group<X>> {
        let borrowed: Vec<&X> = samples.iter().collect();
        if let Some(length) = &self.problem.length {
            let tokens: usize = samples.iter().map(length).sum();
            clock.count(Stage::Sample, [tokens]);
            clock.count(Stage::Score, [tokens]);
        }
        let scores = clock.time(Stage::Score, || self.problem.target.log_scores(&contexts[place], &borrowed));
        scores
            .and_then(|scores| Group::new(place, samples, log_probs, scores))
            .map_err(self.in_context(stage, place))
    }

    /// Refuses constraints that the divergence cannot have, and the last of too many steps without a success.
    pub(crate) fn check_support(&self, groups: &[Group<X>]) -> Result<()> {
        let step = self.progress.step;
        if self.tuner.refuses_hard_constraints()
            && let Some(group) = groups.iter().find(|group| group.successes() < group.len())
        {
            let at = group.log_target.iter().position(|score| *score == f64::NEG_INFINITY);
            let (context, at) = (group.context, group.place(at.unwrap_or_default()));
            let found =
                format!("step {step}, context {context}: the target gives sample {at} no probability");
            return Err(self.tuner.hard_constraints(found));
        }
        let (steps, samples) = (self.progress.barren_steps + 1, self.progress.barren_samples + total(groups));
        if successes(groups) == 0 && steps >= self.tuner.config().max_steps_without_success {
            let skipped = groups.iter().map(|group| group.skipped() as u64).sum();
            return Err(Error::NoSuccess { steps, samples, skipped });
        }
        Ok(())
    }

    /// Counts a finished step, for the next [`check_support`](Self::check_support).
    pub(crate) fn count_support(&mut self, groups: &[Group<X>]) {
        let progress = &mut self.progress;
        if successes(groups) > 0 {
            (progress.barren_steps, progress.barren_samples) = (0, 0);
        } else {
            (progress.barren_steps, progress.barren_samples) =
                (progress.barren_steps + 1, progress.barren_samples + total(groups));
        }
    }
}

/// How many samples were drawn, the skipped ones too.
pub(crate) fn total<X>(groups: &[Group<X>]) -> u64 {
    groups.iter().map(|group| (group.len() + group.skipped()) as u64).sum()
}

/// How many samples lie in the target's support.
pub(crate) fn successes<X>(groups: &[Group<X>]) -> usize {
    groups.iter().map(Group::successes).sum()
}
