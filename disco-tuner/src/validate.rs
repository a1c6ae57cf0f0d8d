//! Measuring the policy on contexts that it is not tuned in.

use disco_core::{StreamRng, Streams};
use rand::SeedableRng;

use crate::{
    Metrics, Partition, Policy, Result, Run, Stage,
    clock::Clock,
    group::drawn,
    measure::{Measured, measure},
    partition::Mass,
};

impl<P, C, X> Run<'_, P, C, X>
where
    P: Policy<C, X>,
{
    /// The metrics of the policy as it is now on the held-out contexts, where they are due.
    pub(crate) fn validate(&self, clock: &mut Clock) -> Result<Metrics> {
        let config = self.tuner.config();
        let (Some(validation), Some(held_out)) = (&config.validation, self.problem.held_out) else {
            return Ok(Metrics::new());
        };
        if !self.progress.step.is_multiple_of(validation.every) && self.progress.step != config.steps {
            return Ok(Metrics::new());
        }
        let mut tokens = Clock::default();
        let metrics = clock.time(Stage::Validation, || {
            // The same streams every time, so that two measurements differ by the policy alone; no step has
            // this number.
            let mut rng = StreamRng::seed_from_u64(config.seed);
            rng.set_stream(u64::MAX);
            let mut groups = Vec::with_capacity(held_out.len());
            for (place, context) in held_out.items().iter().enumerate() {
                let named = self.in_context(Stage::Validation, place);
                let streams = Streams::draw(&mut rng, validation.samples);
                let sampled = self.policy.sample(context, &streams).map_err(&named)?;
                let (samples, log_probs) = drawn("policy", sampled).map_err(&named)?;
                groups.push(self.score_at(
                    Stage::Validation,
                    held_out.items(),
                    place,
                    samples,
                    log_probs,
                    &mut tokens,
                )?);
            }
            let earlier = match config.partition {
                Partition::Normalised => Mass::NORMALISED,
                Partition::Running | Partition::Step => Mass::NONE,
            };
            let measured: Vec<_> = groups
                .iter()
                .map(|group| Measured {
                    context: &held_out.items()[group.context],
                    group,
                    log_policy: &group.log_proposal,
                    earlier,
                })
                .collect();
            let metrics = measure(self.problem, &measured, false)
                .map_err(|(context, error)| self.in_context(Stage::Validation, context)(error))?;
            Ok(metrics.into_iter().map(|(name, metric)| (format!("validation/{name}"), metric)).collect())
        });
        clock.count(
            Stage::Validation,
            tokens.tokens().remove(Stage::Sample.name()).map(|count| count as usize),
        );
        metrics
    }
}
