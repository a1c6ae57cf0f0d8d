//! Measuring the policy on held-out contexts.

use disco_core::{Error as CoreError, StreamRng, Streams};

use super::{Run, draw::Part, measurement::Scored, timer::Timer};
use crate::{
    config::Partition,
    error::{Result, Stage},
    gradient::{ContextSamples, ZEstimate, checked_log_probs},
    metrics::{Metrics, Note, Source},
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
        let enumerated = self.is_enumerated();
        let source = if enumerated { Source::Enumerated } else { Source::Policy };
        let metrics = timer.time(Stage::Validation, || {
            let groups = match enumerated {
                true => {
                    let positions: Vec<usize> = (0..held_out.len()).collect();
                    self.enumerate(Stage::Validation, held_out.items(), &positions, &mut tokens)?
                }
                false => self.draw_all_held_out(held_out.items(), validation.samples, &mut tokens)?,
            };
            notes.extend(self.first_skip(&groups)?.map(|skip| skip.note().at(Stage::Validation)));
            let log_policy = match enumerated {
                true => {
                    let all: Vec<&ContextSamples<X>> = groups.iter().collect();
                    let found = self.all_log_probs(Stage::Validation, held_out.items(), &all, &mut tokens)?;
                    self.check_mass(Stage::Validation, groups.iter().zip(found.iter().map(Vec::as_slice)))?;
                    found
                }
                false => groups.iter().map(|group| group.log_proposal.clone()).collect(),
            };
            let earlier = match config.partition {
                Partition::Normalised if !enumerated => ZEstimate::NORMALISED,
                _ => ZEstimate::NONE,
            };
            let scored: Vec<Scored<'_, X>> = groups
                .iter()
                .zip(&log_policy)
                .map(|(group, log_policy)| (group, log_policy.as_slice(), earlier))
                .collect();
            let metrics = self.measure(Stage::Validation, held_out.items(), &scored, source, notes)?;
            Ok(metrics.into_iter().map(|(name, metric)| (format!("validation/{name}"), metric)).collect())
        });
        timer.count(
            Stage::Validation,
            tokens.tokens().remove(Stage::Sample.name()).map(|count| count as usize),
        );
        metrics
    }

    /// Draws and scores the samples of all held-out contexts.
    fn draw_all_held_out(
        &self,
        contexts: &[C],
        samples: usize,
        tokens: &mut Timer,
    ) -> Result<Vec<ContextSamples<X>>> {
        // These streams are used every time, so that two measurements differ by the policy alone; no step has this number.
        let mut rng = StreamRng::of_stream(self.tuner.config().seed, u64::MAX);
        let parts: Vec<Part> = (0..contexts.len())
            .map(|context| self.part(context, context, Streams::from_rng(&mut rng, samples)))
            .collect();
        let own = parts.iter().map(|part| self.draw_held_out(part, contexts, tokens));
        self.complete(own.collect())
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
