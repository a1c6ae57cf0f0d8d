//! Measuring the samples of a step or of a validation.

use super::{
    Run,
    collective::{agree, gather_lists, gather_texts},
};
use crate::{
    error::{Error, Result, Stage},
    gradient::{ContextSamples, LogPolicy, UpdateBatch, ZEstimate},
    metrics::{Measured, Metrics, SampleValues, measure, statistics},
    observer::DisplayedSample,
    policy::Policy,
};

/// A group of samples with its log-probabilities under the policy, and the estimate of `Z` from earlier samples.
pub(crate) type Scored<'m, X> = (&'m ContextSamples<X>, &'m [f64], ZEstimate);

impl<P, C, X> Run<'_, P, C, X>
where
    P: Policy<C, X>,
{
    /// The metrics of a step's samples.
    pub(crate) fn measure_step(&self, batch: &UpdateBatch<'_, X>, log_policy: &LogPolicy) -> Result<Metrics> {
        let parts = batch.current_groups().iter().zip(&batch.normalisers).zip(log_policy);
        let scored: Vec<Scored<'_, X>> = parts
            .filter_map(|((group, normaliser), log_policy)| {
                Some((*group, log_policy.as_deref()?, normaliser.outside))
            })
            .collect();
        self.measure(Stage::Metrics, self.problem.contexts.items(), &scored, self.proposal.is_some())
    }

    /// The metrics of some groups of samples; `offline` says that the frozen proposal drew them.
    pub(crate) fn measure(
        &self,
        stage: Stage,
        contexts: &[C],
        scored: &[Scored<'_, X>],
        offline: bool,
    ) -> Result<Metrics> {
        let scored: Vec<&Scored<'_, X>> = scored.iter().filter(|(group, ..)| group.len() > 0).collect();
        let values = self.values(stage, contexts, &scored)?;
        let statistics = self.statistics(stage, &scored)?;
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
        measure(self.problem, &measured, offline)
            .map_err(|(context, error)| self.in_context(stage, context)(error))
    }

    /// The values of base, features and lengths; each worker evaluates its own samples.
    fn values(&self, stage: Stage, contexts: &[C], scored: &[&Scored<'_, X>]) -> Result<Vec<SampleValues>> {
        let evaluate = |(group, ..): &&Scored<'_, X>| {
            SampleValues::of_own(self.problem, &contexts[group.context], group)
                .map(SampleValues::into_lists)
                .map_err(|error| self.in_context(stage, group.context)(group.numbered(error, group.first)))
        };
        let own: Result<Vec<Vec<Vec<f64>>>> = scored.iter().map(evaluate).collect();
        if !self.is_shared() {
            return Ok(own?.into_iter().map(SampleValues::from_lists).collect());
        }
        let lists = gather_lists(self.workers, own.map(|lists| lists.into_iter().flatten().collect()))?;
        let count = SampleValues::count(self.problem);
        let group = |at: usize| SampleValues::from_lists(lists[at * count..(at + 1) * count].to_vec());
        Ok((0..scored.len()).map(group).collect())
    }

    /// The statistics of each group; each worker computes them from the samples of all.
    fn statistics(&self, stage: Stage, scored: &[&Scored<'_, X>]) -> Result<Vec<Vec<f64>>> {
        if self.problem.statistics.is_empty() {
            return Ok(vec![Vec::new(); scored.len()]);
        }
        let of = |group: &ContextSamples<X>, samples: &[X]| {
            statistics(self.problem, &samples.iter().collect::<Vec<&X>>())
                .map_err(|error| self.in_context(stage, group.context)(error))
        };
        if !self.is_shared() {
            return scored.iter().map(|(group, ..)| of(group, &group.samples)).collect();
        }
        let groups: Vec<&ContextSamples<X>> = scored.iter().map(|(group, ..)| *group).collect();
        let all = self.gather_samples(&groups)?;
        let own = groups.iter().zip(&all).map(|(group, samples)| of(group, samples)).collect();
        agree(self.workers, own)
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
            let failed = |cause| Error::Workers { cause: disco_core::Error::failed("texts", cause) };
            let own = serde_json::to_string(&texts).map_err(failed);
            texts = vec![Vec::new(); positions.len()];
            for text in gather_texts(self.workers, own)? {
                let found: Vec<Vec<String>> = serde_json::from_str(&text).map_err(failed)?;
                texts.iter_mut().zip(found).for_each(|(all, own)| all.extend(own));
            }
        }
        let displayed = |(context, texts): (usize, Vec<String>)| {
            texts.into_iter().map(move |text| DisplayedSample { context, text })
        };
        Ok(positions.into_iter().zip(texts).flat_map(displayed).collect())
    }
}
