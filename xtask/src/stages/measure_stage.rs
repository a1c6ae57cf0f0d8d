//! The stage "measure": samples of the base with their log-probabilities and the values of all features.

use std::{
    collections::BTreeMap,
    hash::Hash,
    ops::Range,
    path::{Path, PathBuf},
};

use disco_core::{Distribution, Scorer};
use serde::{Serialize, de::DeserializeOwned};

use super::Inputs;
use crate::{
    Error, Progress, Result,
    contexts::TextContext,
    features::{TextSample, TextScorers},
    process::peak_bytes,
    results::{ModelRecord, OutputFolder, RunRecord, keep_apart, resolve, write_outputs},
    samples::{SampleLine, Shard},
    scorers::external_scorers,
    spec::Spec,
    steering::{
        BaseModel, Clock, KeptSamples, Measurement, Origin, RunControl, RunPlan, StartMode, draw_keeping,
        measure_drawn,
    },
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
    /// Samples are kept in `OUT.drawn.jsonl` while they are drawn: a process with the same inputs goes on from those that one before it has
    /// left, and ends with the same bytes. The file is gone when the stage is done.
    ///
    /// # Errors
    /// As [`OutputFolder::prepare`], before anything is computed; those of `load`, of the base and of the features. Nothing but
    /// the samples that were drawn is then left.
    pub(crate) fn measure<X, B, Q>(
        self,
        load: impl FnOnce() -> Result<(BaseModel<B, Q, X>, TextScorers, ModelRecord)>,
    ) -> Result<(PathBuf, RunRecord)>
    where
        X: TextSample + Eq + Hash + Serialize + DeserializeOwned,
        B: Scorer<TextContext, X>,
        Q: Distribution<TextContext, X>,
    {
        let Self { spec, out, shard, inputs, control } = self;
        keep_apart(out, spec)?;
        let interrupt = &control.interrupt;
        let folder = interrupt.begin(|| OutputFolder::prepare(out, 0), OutputFolder::temporary)?;
        let mut clock = Clock::default();
        // Programs are started before the model is loaded, so that one that cannot run is found first.
        let programs = external_scorers(&spec.features)?;
        let (model, mut scorers, about) = load()?;
        scorers.extend(programs);
        clock.lap("load", 0, 0);
        let plan = RunPlan::new(spec, &scorers, control.progress)?;
        let contexts = &spec.contexts.items;
        let numbers = numbers(spec, shard);
        let first = numbers.start;
        let kept = kept(out, spec, shard)?;
        let (drawn, growing) = match &model.origin {
            Origin::Listed(_) => {
                let count = numbers.len() * contexts.len();
                let mut progress = Progress::new(plan.progress, "measure base", "samples", count);
                let key = plan.seeds.base;
                (model.origin.samples(&model.proposal, contexts, numbers, key, &mut progress)?, None)
            }
            Origin::Base | Origin::Proposal => {
                let anew = control.start == StartMode::Restart;
                let (drawn, growing) = draw_keeping(&plan, &model.proposal, numbers, &kept, anew)?;
                (drawn, Some(growing))
            }
        };
        let measured = match measure_drawn(&plan, &model, Some(drawn)) {
            Ok(measured) => measured,
            Err(error) => {
                if let Some(growing) = growing {
                    growing.stay();
                }
                return Err(error);
            }
        };
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
        let place = interrupt.finish(|| folder.finish());
        // Results that had to be kept beside their place are finished too.
        if growing.is_some() && matches!(place, Ok(_) | Err(Error::KeptBeside { .. })) {
            kept.remove()?;
        }
        Ok((place?, record))
    }
}

/// The numbers of the samples of a shard in each context.
fn numbers(spec: &Spec, shard: Shard) -> Range<usize> {
    shard.range(spec.per_context(spec.fit.samples))
}

/// The file `OUT.drawn.jsonl`.
fn kept(out: &Path, spec: &Spec, shard: Shard) -> Result<KeptSamples> {
    let out = resolve(out)?;
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(".drawn.jsonl");
    KeptSamples::new(out.with_file_name(name), spec, numbers(spec, shard))
}

/// Removes the samples that a process of these inputs drew, if it was killed after its results were in their place.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn forget_drawn(out: &Path, spec: &Spec, shard: Shard) -> Result<()> {
    kept(out, spec, shard)?.remove_if_there()
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
