//! The stage "measure": samples of the base with their log-probabilities and the values of all features.

use std::{
    collections::BTreeMap,
    hash::Hash,
    path::{Path, PathBuf},
};

use disco_core::{Distribution, Scorer};
use serde::Serialize;

use super::Inputs;
use crate::{
    Error, Progress, Result,
    contexts::TextContext,
    features::{TextSample, TextScorers},
    process::peak_bytes,
    results::{ModelRecord, OutputFolder, RunRecord, keep_apart, write_outputs},
    samples::{SampleLine, Shard},
    scorers::external_scorers,
    spec::Spec,
    steering::{BaseModel, Clock, Measurement, RunControl, RunPlan, measure_drawn},
};

/// The file with the samples.
pub(crate) const MEASURED: &str = "measured.jsonl";

/// The stage, with its settings.
#[derive(Clone, Debug)]
pub(crate) struct MeasureStage<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) out: &'a Path,
    /// The part of the samples that this process draws.
    pub(crate) shard: Shard,
    pub(crate) inputs: Inputs,
    pub(crate) control: &'a RunControl,
}

impl MeasureStage<'_> {
    /// Draws the samples that [`measure`](crate::measure()) draws, or those of the shard, and writes them with the values of all
    /// features; returns the folder of the results and the record.
    ///
    /// # Errors
    /// As [`OutputFolder::prepare`], before anything is computed; those of `load`, of the base and of the features. Nothing is then left.
    pub(crate) fn measure<X, B, Q>(
        self,
        load: impl FnOnce() -> Result<(BaseModel<B, Q, X>, TextScorers, ModelRecord)>,
    ) -> Result<(PathBuf, RunRecord)>
    where
        X: TextSample + Eq + Hash + Serialize,
        B: Scorer<TextContext, X>,
        Q: Distribution<TextContext, X>,
    {
        let Self { spec, out, shard, inputs, control } = self;
        keep_apart(out, spec)?;
        let interrupt = &control.interrupt;
        let folder = interrupt.begin(|| OutputFolder::prepare(out, 0), OutputFolder::temporary)?;
        let mut clock = Clock::default();
        // Programs are started before the model is loaded, so that one that cannot run is found first.
        let programs = external_scorers(spec.features.iter().map(|one| (one.name.as_str(), &one.kind)))?;
        let (model, mut scorers, about) = load()?;
        scorers.extend(programs);
        clock.lap("load", 0, 0);
        let plan = RunPlan::new(spec, &scorers, control.progress)?;
        let contexts = &spec.contexts.items;
        let numbers = shard.range(spec.per_context(spec.fit.samples));
        let first = numbers.start;
        let count = numbers.len() * contexts.len();
        let mut progress = Progress::new(plan.progress, "measure base", "samples", count);
        let drawn =
            model.origin.samples(&model.proposal, contexts, numbers, plan.seeds.base, &mut progress)?;
        drop(progress);
        let measured = measure_drawn(&plan, &model, Some(drawn))?;
        let tokens = measured.record.samples.iter().map(|sample| sample.tokens).sum();
        clock.lap("measure base", measured.record.samples.len(), tokens);

        folder.begin_writing()?;
        folder.write(MEASURED, &lines(&plan, &measured, first)?)?;
        let mut record = RunRecord::new(spec, about);
        record.base = Some(measured.record);
        record.stages = clock.stages().to_vec();
        record.peak_memory_bytes = peak_bytes();
        inputs.write(&folder)?;
        write_outputs(&folder, &record)?;
        Ok((interrupt.finish(|| folder.finish())?, record))
    }
}

/// The samples as lines of a file, by context. Their numbers begin with `first`.
fn lines<X: TextSample + Serialize>(
    plan: &RunPlan<'_>,
    measured: &Measurement<X>,
    first: usize,
) -> Result<Vec<u8>> {
    let mut lines = Vec::new();
    for ((context, drawn), values) in
        plan.spec.contexts.items.iter().zip(&measured.drawn).zip(&measured.values)
    {
        for (index, sample) in drawn.samples.iter().enumerate() {
            let named = plan.measures.iter().map(|measure| measure.name.as_str());
            let line = SampleLine {
                context,
                index: Some(first + index),
                sample,
                log_prob: drawn.log_proposal[index],
                log_base: Some(drawn.log_policy[index]),
                log_target: None,
                features: named.zip(values[index].iter().copied()).collect::<BTreeMap<_, _>>(),
            };
            serde_json::to_writer(&mut lines, &line).map_err(Error::Json)?;
            lines.push(b'\n');
        }
    }
    Ok(lines)
}
