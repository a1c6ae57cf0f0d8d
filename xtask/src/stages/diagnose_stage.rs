//! The stage "diagnose": samples in files beside a saved target. No model is run.

use std::path::PathBuf;

use disco_core::input;

use super::TargetFile;
use crate::{
    Error, ProgressTarget, Result,
    contexts::TextContext,
    features::TextScorers,
    results::Diagnosis,
    samples::{
        ContextSamples, StoredSample, check_distinct, check_probabilities, find_contexts, in_contexts,
        read_samples, recorded_scorers,
    },
    spec::{ContextSpec, Spec},
    steering::{Drawn, RunPlan, SampledSet, diagnose, features_of_target},
};

/// The stage, with its files.
#[derive(Clone, Debug)]
pub(crate) struct DiagnoseStage {
    pub(super) target: TargetFile,
    /// The name and the samples of each set, by context.
    pub(super) sets: Vec<(String, Vec<ContextSamples>)>,
    /// The values of features that the files have.
    pub(super) recorded: Vec<TextScorers>,
}

impl DiagnoseStage {
    /// Reads samples. Their contexts are those of the run file that occur; or, if the target has no coefficients of single contexts, any
    /// that all files have. `is_from_base` says that samples without `log_base` are the base's own.
    ///
    /// # Errors
    /// [`disco_core::Error::Malformed`] with the line for what is no sample, has no `log_base`, or is of a context that other files lack;
    /// [`crate::StageError::Twice`].
    pub(crate) fn read(mut target: TargetFile, files: &[PathBuf], is_from_base: bool) -> Result<Self> {
        if files.len() > 1 {
            let read = |file: &PathBuf| input::read_bytes(file).map_err(|cause| Error::read(file, cause));
            let bytes = files.iter().map(read).collect::<Result<Vec<_>>>()?;
            check_distinct(files.iter().map(PathBuf::as_path).zip(bytes.iter().map(Vec::as_slice)))?;
        }
        let lines = files.iter().map(|file| read_samples(std::slice::from_ref(file)));
        let lines = lines.collect::<Result<Vec<_>>>()?;
        let contexts = lines.first().map(|lines| find_contexts(lines)).unwrap_or_default();
        target.spec.contexts = contexts_of(&target.spec, contexts);
        let (mut sets, mut recorded) = (Vec::new(), Vec::new());
        let items = &target.spec.contexts.items;
        for (file, lines) in files.iter().zip(lines) {
            let samples = in_contexts(lines, items)?;
            check_probabilities(&samples)?;
            let missing = samples.iter().flatten().find(|line| line.log_base.is_none());
            if let (Some(line), false) = (missing, is_from_base) {
                let problem = "there is no `log_base`, the log-score under the base: `score --target` adds it; for samples of the base itself \
                               `--from-base` says so";
                return Err(line.place.wrong(problem).into());
            }
            let names = target.spec.features.iter().filter(|feature| feature.kind.is_scored());
            let names: Vec<&str> = names.map(|feature| feature.name.as_str()).collect();
            recorded.push(recorded_scorers(&names, &samples, items)?);
            sets.push((file.display().to_string(), samples));
        }
        Ok(Self { target, sets, recorded })
    }

    /// The spec of the target.
    pub(crate) fn spec(&self) -> &Spec {
        &self.target.spec
    }

    /// The numbers of each set.
    ///
    /// # Errors
    /// Those of the features; [`crate::Error::NoTextScorer`] for a feature of a classifier whose values the files lack.
    pub(crate) fn diagnose(self) -> Result<Vec<Diagnosis>> {
        let spec = &self.target.spec;
        let mut found = Vec::new();
        for ((name, samples), recorded) in self.sets.into_iter().zip(self.recorded) {
            let scorers = self.target.scorers(&recorded)?;
            let plan = RunPlan::new(spec, &scorers, ProgressTarget::Hidden)?;
            let fit =
                self.target.saved.bind(features_of_target::<StoredSample>(&plan, &self.target.saved)?)?;
            let (drawn, log_base) = samples.iter().map(set_of).unzip();
            found.push(diagnose(&plan, fit.tilt(), SampledSet { name, drawn, log_base })?);
        }
        Ok(found)
    }
}

/// The samples of a context, and their log-scores under the base.
fn set_of(samples: &ContextSamples) -> (Drawn<StoredSample>, Vec<f64>) {
    let log_probs: Vec<f64> = samples.iter().map(|line| line.log_prob).collect();
    let drawn = Drawn {
        samples: samples.iter().map(|line| line.sample.clone()).collect(),
        log_proposal: log_probs.clone(),
        log_policy: log_probs,
        exact: false,
    };
    (drawn, samples.iter().map(|line| line.log_base.unwrap_or(line.log_prob)).collect())
}

/// The contexts of the run file that the samples have, with their weights; or those of the samples, if the run file has none of them.
fn contexts_of(spec: &Spec, found: Vec<TextContext>) -> ContextSpec {
    let own = &spec.contexts;
    let weights = own.weights();
    let is_there = |context: &TextContext| {
        found
            .iter()
            .any(|other| other == context || (other.columns().is_empty() && other.text() == context.text()))
    };
    let kept: Vec<usize> = (0..own.items.len()).filter(|&index| is_there(&own.items[index])).collect();
    if kept.is_empty() {
        return ContextSpec { items: found, weights: None, held_out: Vec::new(), chat: own.chat.clone() };
    }
    ContextSpec {
        items: kept.iter().map(|&index| own.items[index].clone()).collect(),
        weights: own.weights.as_ref().map(|_| kept.iter().map(|&index| weights[index]).collect()),
        held_out: Vec::new(),
        chat: own.chat.clone(),
    }
}
