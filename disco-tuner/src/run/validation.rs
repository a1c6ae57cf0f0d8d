//! Measuring the policy on held-out contexts.

use disco_core::{Error as CoreError, StreamRng, Streams};

use super::{Run, draw::Part, measurement::Scored, timer::Timer};
use crate::{
    config::Partition,
    error::{Result, Stage},
    gradient::{ContextSamples, ZEstimate, checked_log_probs},
    metrics::{Metrics, Note},
    policy::Policy,
};

impl<P, C, X> Run<'_, P, C, X>
where
    P: Policy<C, X>,
{
    /// The metrics of the policy as it is now on the held-out contexts, at the steps that are due.
    pub(crate) fn validate(&self, timer: &mut Timer, notes: &mut Vec<Note>) -> Result<Metrics> {
        let config = self.tuner.config();
        let (Some(validation), Some(held_out)) = (&config.validation, self.problem.held_out) else {
            return Ok(Metrics::new());
        };
        if !self.progress.step.is_multiple_of(validation.every) && self.progress.step != config.steps {
            return Ok(Metrics::new());
        }
        let mut tokens = Timer::default();
        let metrics = timer.time(Stage::Validation, || {
            // These streams are used every time, so that two measurements differ by the policy alone; no step has this number.
            let mut rng = StreamRng::of_stream(config.seed, u64::MAX);
            let stream = |context| (context, Streams::from_rng(&mut rng, validation.samples));
            let streams: Vec<(usize, Streams)> = (0..held_out.len()).map(stream).collect();
            let parts: Vec<Part> =
                streams.into_iter().map(|(context, streams)| self.part(context, context, streams)).collect();
            let own = parts.iter().map(|part| self.draw_held_out(part, held_out.items(), &mut tokens));
            let groups = self.complete(own.collect())?;
            notes.extend(self.first_skip(&groups)?.map(|skip| skip.note().at(Stage::Validation)));
            let earlier = match config.partition {
                Partition::Normalised => ZEstimate::NORMALISED,
                Partition::Running | Partition::Step => ZEstimate::NONE,
            };
            let scored: Vec<Scored<'_, X>> =
                groups.iter().map(|group| (group, group.log_proposal.as_slice(), earlier)).collect();
            let metrics = self.measure(Stage::Validation, held_out.items(), &scored, false, notes)?;
            Ok(metrics.into_iter().map(|(name, metric)| (format!("validation/{name}"), metric)).collect())
        });
        timer.count(
            Stage::Validation,
            tokens.tokens().remove(Stage::Sample.name()).map(|count| count as usize),
        );
        metrics
    }

    /// Draws and scores a part of the samples of a held-out context.
    fn draw_held_out(&self, part: &Part, contexts: &[C], tokens: &mut Timer) -> Result<ContextSamples<X>> {
        let named = |error: CoreError| {
            self.in_context(Stage::Validation, part.context)(error.at_sample(|index| part.start + index))
        };
        let sampled = match part.streams.is_empty() {
            true => Vec::new(),
            false => self.policy.sample(&contexts[part.context], &part.streams).map_err(named)?,
        };
        let (samples, log_probs) = checked_log_probs("policy", sampled).map_err(named)?;
        self.score(Stage::Validation, contexts, part, samples, log_probs, tokens)
    }
}
