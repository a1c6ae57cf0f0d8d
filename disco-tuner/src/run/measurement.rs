//! Measuring the samples of a step or of a validation.

use super::{
    Run,
    collective::{gather_lists, gather_values},
};
use crate::{
    error::{Result, Stage},
    gradient::{ContextSamples, LogPolicy, UpdateBatch, ZEstimate},
    metrics::{Measured, Metrics, Note, SampleValues, Source, measure, statistics},
    observer::DisplayedSample,
    policy::Policy,
};

/// A group of samples with its log-probabilities under the policy, and the estimate of `Z` from earlier samples.
pub(crate) type Scored<'m, X> = (&'m ContextSamples<X>, &'m [f64], ZEstimate);

impl<P, C, X> Run<'_, P, C, X>
where
    P: Policy<C, X>,
{
    /// The metrics of a step's samples; notes on them are added to `notes`.
    pub(crate) fn measure_step(
        &self,
        batch: &UpdateBatch<'_, X>,
        log_policy: &LogPolicy,
        notes: &mut Vec<Note>,
    ) -> Result<Metrics> {
        let parts = batch.current_groups().iter().zip(&batch.normalisers).zip(log_policy);
        let scored: Vec<Scored<'_, X>> = parts
            .filter_map(|((group, normaliser), log_policy)| {
                Some((*group, log_policy.as_deref()?, normaliser.outside))
            })
            .collect();
        let contexts = self.problem.contexts.items();
        let source = match self.proposal {
            Some(_) => Source::Proposal,
            None if self.is_enumerated() => Source::Enumerated,
            None => Source::Policy,
        };
        self.measure(Stage::Metrics, contexts, &scored, source, notes)
    }

    /// The metrics of some groups of samples.
    pub(crate) fn measure(
        &self,
        stage: Stage,
        contexts: &[C],
        scored: &[Scored<'_, X>],
        source: Source,
        notes: &mut Vec<Note>,
    ) -> Result<Metrics> {
        let scored: Vec<&Scored<'_, X>> = scored.iter().filter(|(group, ..)| group.len() > 0).collect();
        let (values, of_values) = self.values(stage, contexts, &scored)?;
        let statistics = self.statistics(&scored)?;
        let parts = scored.iter().zip(values).zip(statistics);
        let measured: Vec<Measured<'_, X>> = parts
            .map(|((&&(group, log_policy, earlier), values), statistics)| Measured {
                group,
                log_policy,
                earlier,
                values,
                statistics,
            })
            .collect();
        let (metrics, of_metrics) = measure(self.problem, &measured, source);
        notes.extend(of_values.into_iter().chain(of_metrics).map(|note| note.at(stage)));
        Ok(metrics)
    }

    /// The values of base, features and lengths, with notes on them; each worker evaluates its own samples.
    fn values(
        &self,
        stage: Stage,
        contexts: &[C],
        scored: &[&Scored<'_, X>],
    ) -> Result<(Vec<SampleValues>, Vec<Note>)> {
        let mut notes = Vec::new();
        let mut evaluate = |(group, ..): &&Scored<'_, X>| {
            SampleValues::of_own(self.problem, &contexts[group.context], group, &mut notes)
                .map(SampleValues::into_lists)
                .map_err(|error| self.in_context(stage, group.context)(error))
        };
        let own: Result<Vec<Vec<Vec<f64>>>> = scored.iter().map(&mut evaluate).collect();
        if !self.is_shared() {
            return Ok((own?.into_iter().map(SampleValues::from_lists).collect(), notes));
        }
        let lists = gather_lists(self.workers, own.map(|lists| lists.into_iter().flatten().collect()))?;
        let count = SampleValues::count(self.problem);
        let group = |at: usize| SampleValues::from_lists(lists[at * count..(at + 1) * count].to_vec());
        let values = (0..scored.len()).map(group).collect();
        // Only where all workers see that there may be notes do they exchange them.
        if lists.iter().flatten().any(|value| !value.is_finite()) {
            let all = gather_values(self.workers, "notes on metrics, as JSON", &notes)?;
            notes = all.into_iter().flatten().collect();
        }
        Ok((values, notes))
    }

    /// The statistics of each group; each worker computes them from the samples of all.
    fn statistics(&self, scored: &[&Scored<'_, X>]) -> Result<Vec<Vec<f64>>> {
        if self.problem.statistics.is_empty() {
            return Ok(vec![Vec::new(); scored.len()]);
        }
        let of = |samples: &[X]| statistics(self.problem, &samples.iter().collect::<Vec<&X>>());
        if !self.is_shared() {
            return Ok(scored.iter().map(|(group, ..)| of(&group.samples)).collect());
        }
        let groups: Vec<&ContextSamples<X>> = scored.iter().map(|(group, ..)| *group).collect();
        Ok(self.gather_samples(&groups)?.iter().map(|samples| of(samples)).collect())
    }

    /// The first samples of a step as text, if the problem asks for them.
    pub(crate) fn display(&self, groups: &[&ContextSamples<X>]) -> Result<Vec<DisplayedSample>> {
        let Some((count, show)) = &self.problem.show else { return Ok(Vec::new()) };
        let contexts = self.problem.contexts.items();
        let mut before = 0;
        let (mut texts, mut positions) = (Vec::new(), Vec::new());
        for group in groups {
            let end = count.saturating_sub(before).min(group.len());
            let own = group.own();
            let text = |at: usize| show(&contexts[group.context], group.sample(at));
            texts.push((own.start.min(end)..own.end.min(end)).map(text).collect::<Vec<String>>());
            positions.push(group.context);
            before += group.len();
        }
        if self.is_shared() {
            let gathered = gather_values(self.workers, "texts", &texts)?;
            texts = vec![Vec::new(); positions.len()];
            for found in gathered {
                texts.iter_mut().zip(found).for_each(|(all, own)| all.extend(own));
            }
        }
        let displayed = |(context, texts): (usize, Vec<String>)| {
            texts.into_iter().map(move |text| DisplayedSample { context, text })
        };
        Ok(positions.into_iter().zip(texts).flat_map(displayed).collect())
    }
}
