//! Drawing and scoring the samples of a step: each worker its part of every context's samples.

use disco_core::{Distribution, Error as CoreError, StreamRng, Streams};

use super::{Run, collective::gather_lists, timer::Timer};
use crate::{
    config::Sampling,
    error::{Result, Stage},
    gradient::{ContextSamples, checked_log_probs},
    policy::Policy,
    workers::part,
};

/// A worker's part of the samples, or of all outcomes, of one context.
pub(crate) struct Part {
    /// The position of the context in the list of contexts.
    pub(crate) context: usize,
    /// The number of the part's first sample among all of the context.
    pub(crate) start: usize,
    /// One stream per sample of the part; outcomes that are enumerated use nothing of theirs.
    pub(crate) streams: Streams,
}

impl<P, C, X> Run<'_, P, C, X>
where
    P: Policy<C, X>,
{
    /// Draws contexts and samples, and scores them.
    pub(crate) fn draw(&self, timer: &mut Timer) -> Result<Vec<ContextSamples<X>>> {
        let (config, step) = (self.tuner.config(), self.progress.step);
        let count = config.contexts_per_step.min(self.problem.contexts.len());
        let positions = self.order.take(step * count as u64, count);
        if config.sampling == Sampling::Enumerated {
            return self.enumerate(Stage::Score, self.problem.contexts.items(), &positions, timer);
        }
        let mut rng = StreamRng::of_stream(config.seed, step);
        let samples = |slot: usize| {
            config.samples_per_step / count + usize::from(slot < config.samples_per_step % count)
        };
        let parts: Vec<Part> = positions
            .into_iter()
            .enumerate()
            .map(|(slot, context)| self.part(slot, context, Streams::from_rng(&mut rng, samples(slot))))
            .collect();
        let own = self.draw_own(&parts, timer);
        self.complete(own)
    }

    /// This worker's part of the samples that `streams` stand for.
    pub(crate) fn part(&self, slot: usize, context: usize, streams: Streams) -> Part {
        if !self.is_shared() {
            return Part { context, start: 0, streams };
        }
        let part = part(streams.len(), self.workers.rank(), self.workers.count(), slot);
        let streams = streams.split_at(part.end).0.split_at(part.start).1;
        Part { context, start: part.start, streams }
    }

    /// Draws and scores this worker's parts.
    fn draw_own(&self, parts: &[Part], timer: &mut Timer) -> Result<Vec<ContextSamples<X>>> {
        let contexts = self.problem.contexts.items();
        // A context with fewer samples than there are workers is empty on some of them.
        let asked = || parts.iter().filter(|part| !part.streams.is_empty());
        let (places, streams): (Vec<&C>, Vec<Streams>) =
            asked().map(|part| (&contexts[part.context], part.streams.clone())).unzip();
        let (by, sampled) = match &self.proposal {
            _ if places.is_empty() => ("policy", Ok(Vec::new())),
            Some(proposal) => {
                ("proposal", timer.time(Stage::Sample, || proposal.sample_each(&places, &streams)))
            }
            None => ("policy", timer.time(Stage::Sample, || self.policy.sample_each(&places, &streams))),
        };
        let sampled = sampled.map_err(self.at(Stage::Sample))?;
        CoreError::check_length("contexts sampled in", places.len(), sampled.len())
            .map_err(self.at(Stage::Sample))?;
        let mut sampled = sampled.into_iter();
        let mut groups = Vec::with_capacity(parts.len());
        for part in parts {
            let drawn = if part.streams.is_empty() { Vec::new() } else { sampled.next().unwrap_or_default() };
            let named = |error: CoreError| {
                self.in_context(Stage::Sample, part.context)(error.at_sample(|index| part.start + index))
            };
            CoreError::check_length("samples of a context", part.streams.len(), drawn.len())
                .map_err(named)?;
            let (samples, log_probs) = checked_log_probs(by, drawn).map_err(named)?;
            groups.push(self.score(Stage::Score, contexts, part, samples, log_probs, timer)?);
        }
        Ok(groups)
    }

    /// Scores a part's samples under the target; errors name `stage`.
    pub(crate) fn score(
        &self,
        stage: Stage,
        contexts: &[C],
        part: &Part,
        samples: Vec<X>,
        log_probs: Vec<f64>,
        timer: &mut Timer,
    ) -> Result<ContextSamples<X>> {
        let borrowed: Vec<&X> = samples.iter().collect();
        if let Some(length) = &self.problem.length {
            let tokens: usize = samples.iter().map(length).sum();
            timer.count(Stage::Sample, [tokens]);
            timer.count(Stage::Score, [tokens]);
        }
        let context = &contexts[part.context];
        let scores = match borrowed.is_empty() {
            true => Ok(Vec::new()),
            false => timer.time(Stage::Score, || self.problem.target.log_scores(context, &borrowed)),
        };
        scores
            .and_then(|scores| ContextSamples::new(part.context, part.start, samples, log_probs, scores))
            .map_err(|error| error.at_sample(|index| part.start + index))
            .map_err(self.in_context(stage, part.context))
    }

    /// Adds the numbers of the other workers' samples.
    pub(crate) fn complete(&self, own: Result<Vec<ContextSamples<X>>>) -> Result<Vec<ContextSamples<X>>> {
        if !self.is_shared() {
            return own;
        }
        let (groups, lists) = match own {
            Ok(groups) => {
                let lists = groups.iter().flat_map(ContextSamples::numbers).collect();
                (groups, Ok(lists))
            }
            Err(error) => (Vec::new(), Err(error)),
        };
        let mut lists = gather_lists(self.workers, lists)?.into_iter();
        let mut next = || lists.next().unwrap_or_default();
        Ok(groups.into_iter().map(|group| group.completed([next(), next(), next()])).collect())
    }
}
