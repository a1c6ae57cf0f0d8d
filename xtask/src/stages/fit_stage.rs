//! The stage "fit": a target from samples in files. No model is needed.

use std::path::{Path, PathBuf};

use super::{Inputs, stored_base::stored_base};
use crate::{
    Result,
    features::TextScorers,
    process::peak_bytes,
    results::{ModelRecord, OutputFolder, RunRecord, keep_apart, write_outputs},
    samples::{
        ContextSamples, StoredLine, StoredSample, check_distinct, check_probabilities, in_contexts,
        parse_samples, recorded_scorers,
    },
    scorers::external_scorers,
    spec::{FeatureKind, LengthUnit, Spec},
    steering::{Clock, Measurement, RunControl, RunPlan, fit, measure_drawn},
};

/// The stage, with its samples.
#[derive(Clone, Debug)]
pub(crate) struct FitStage<'a> {
    spec: &'a Spec,
    samples: Vec<ContextSamples>,
    /// The values of features that the files have.
    recorded: TextScorers,
}

impl<'a> FitStage<'a> {
    /// The samples of some files, whose bytes have been read; checks that they can be samples of a model with the contexts of the spec.
    ///
    /// # Errors
    /// [`disco_core::Error::Io`] and [`disco_core::Error::Malformed`], with the line; [`crate::StageError::Twice`].
    pub(crate) fn read(spec: &'a Spec, files: &[(PathBuf, Vec<u8>)]) -> Result<Self> {
        check_distinct(files.iter().map(|(path, bytes)| (path.as_path(), bytes.as_slice())))?;
        let samples = in_contexts(parse_samples(files)?, &spec.contexts.items)?;
        if spec.model.choices.is_none() {
            check_probabilities(&samples)?;
        }
        check_facts(spec, &samples)?;
        let names = spec.features.iter().filter(|feature| feature.kind.is_scored());
        let names: Vec<&str> = names.map(|feature| feature.name.as_str()).collect();
        let recorded = recorded_scorers(&names, &samples, &spec.contexts.items)?;
        Ok(Self { spec, samples, recorded })
    }

    /// The spec with those features alone that classifiers have to give, because the files do not have their values; `None` if there
    /// are none.
    pub(crate) fn of_classifiers(&self) -> Option<Spec> {
        let is_asked = |name: &String, kind: &FeatureKind| {
            matches!(kind, FeatureKind::Classifier(_)) && !self.recorded.contains_key(name)
        };
        let features: Vec<_> =
            self.spec.features.iter().filter(|one| is_asked(&one.name, &one.kind)).cloned().collect();
        (!features.is_empty()).then(|| Spec { features, ..self.spec.clone() })
    }

    /// Fits the target, and writes it to `out`; returns the folder and the record. `classifiers` are the text scorers of the
    /// features of [`of_classifiers`](Self::of_classifiers).
    ///
    /// # Errors
    /// As [`OutputFolder::prepare`]; as [`fit`](fit()); [`disco_core::Error::Malformed`] with the line of a sample for which the file has
    /// another value of a feature than its definition gives.
    pub(crate) fn fit(
        self,
        out: &Path,
        inputs: &Inputs,
        control: &RunControl,
        classifiers: TextScorers,
    ) -> Result<(PathBuf, RunRecord)> {
        let Self { spec, samples, recorded } = self;
        keep_apart(out, spec)?;
        let interrupt = &control.interrupt;
        let folder = interrupt.begin(|| OutputFolder::prepare(out, 0), OutputFolder::temporary)?;
        let mut clock = Clock::default();
        let asked = spec.features.iter().filter(|feature| !recorded.contains_key(&feature.name));
        let mut scorers = external_scorers(asked)?;
        scorers.extend(classifiers);
        scorers.extend(recorded);
        let plan = RunPlan::new(spec, &scorers, control.progress)?;
        let (base, drawn) = stored_base(&spec.contexts.items, &samples, spec.model.choices.is_some())?;
        clock.lap("read", samples.iter().map(Vec::len).sum(), 0);
        let mut measured = measure_drawn(&plan, &base, Some(drawn))?;
        check_values(&plan, &measured, &samples)?;
        if spec.model.grammar.is_none() {
            // Another distribution drew them, but no grammar.
            measured.record.masking = None;
        }
        let fitted = fit(&plan, &measured)?;
        clock.lap("fit", 0, 0);

        let about = ModelRecord { name: spec.model.source.name(), facts: Default::default() };
        let mut record = RunRecord::new(spec, about);
        record.base = Some(measured.record);
        record.target = Some(fitted.record);
        record.stages = clock.stages().to_vec();
        record.peak_memory_bytes = peak_bytes();
        folder.begin_writing()?;
        fitted.fit.save(folder.path().join("target.json"))?;
        inputs.write(&folder)?;
        write_outputs(&folder, &record)?;
        Ok((interrupt.finish(|| folder.finish())?, record))
    }
}

/// Refuses files that leave out a fact of their samples on which a feature depends.
fn check_facts(spec: &Spec, samples: &[ContextSamples]) -> Result<()> {
    for feature in &spec.features {
        let needs = match &feature.kind {
            FeatureKind::Length { unit: LengthUnit::Tokens } => "tokens",
            FeatureKind::Ends { text: None } => "finished",
            _ => continue,
        };
        let tells = |line: &&StoredLine| match needs {
            "tokens" => line.tells.tokens,
            _ => line.tells.finished,
        };
        if let Some(line) = samples.iter().flatten().find(|line| !tells(line)) {
            let problem = format!("there is no `{needs}`, on which the feature `{}` depends", feature.name);
            return Err(line.place.wrong(problem).into());
        }
    }
    Ok(())
}

/// Compares the values that the files have with those that the definitions of the features give.
fn check_values(
    plan: &RunPlan<'_>,
    measured: &Measurement<StoredSample>,
    samples: &[ContextSamples],
) -> Result<()> {
    for (lines, values) in samples.iter().zip(&measured.values) {
        for (line, values) in lines.iter().zip(values) {
            for (measure, computed) in plan.measures.iter().zip(values) {
                let Some(written) = line.features.get(&measure.name) else { continue };
                let is_same = match (written, computed) {
                    (Some(one), Some(other)) => (one - other).abs() <= 1e-9 * (1.0 + other.abs()),
                    (one, other) => one.is_none() && other.is_none(),
                };
                if !is_same {
                    let shown =
                        |value: &Option<f64>| value.map_or("null".to_owned(), |value| value.to_string());
                    let problem = format!(
                        "`{}` is {}, but its definition in the run file gives {}: the file has another feature of this name, or \
                         another text",
                        measure.name,
                        shown(written),
                        shown(computed)
                    );
                    return Err(line.place.wrong(problem).into());
                }
            }
        }
    }
    Ok(())
}
