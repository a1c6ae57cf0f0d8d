//! Log-probabilities of texts under a language model.

use std::collections::BTreeMap;

use disco_core::Distribution;
use disco_lm::{ChoiceModel, Choices, Completion, Generation, LanguageModel};
use serde::Serialize;

use super::Scoring;
use crate::{
    Progress, ProgressTarget, Result,
    contexts::TextContext,
    models::{ModelKind, device, folder_of, generation},
    remote::{RemoteModel, RemoteSample},
    samples::{SampleLine, StoredLine, StoredSample},
    spec::ModelSource,
    stages::SampleLines,
};

/// The number of samples of one context that are scored at once.
const CHUNK: usize = 256;

pub(super) fn run(scoring: &Scoring) -> Result<()> {
    let lines = SampleLines::open(scoring.out.as_deref(), scoring.shard.as_ref())?;
    if let (ModelSource::Server(_), Some(first)) = (&scoring.model.source, scoring.lines.first()) {
        let model = RemoteModel::connect(&scoring.model, first.context.text())?;
        let score_lines = |lines: &[StoredLine]| {
            let samples = remote_samples(&model, lines)?;
            let log_probs = model.log_probs(&lines[0].context, &samples.iter().collect::<Vec<_>>())?;
            Ok((samples, log_probs))
        };
        return score(scoring, lines, score_lines);
    }
    let folder = folder_of(&scoring.model.source, ModelKind::LanguageModel)?;
    let model = LanguageModel::load(&folder, &device(scoring.backend)?, generation(&scoring.model))?;
    let score_lines = |lines: &[StoredLine]| {
        let context = &lines[0].context;
        let samples = completions(&model, context, lines)?;
        let log_probs = match scoring.of_run {
            true => model.log_probs(context, &samples.iter().collect::<Vec<_>>())?,
            false => of_any_length(&model, context, &samples)?,
        };
        Ok((samples, log_probs))
    };
    score(scoring, lines, score_lines)
}

/// The log-probabilities of completions under a model that no run cuts at a length: one that has no end token was cut where it ends.
fn of_any_length(model: &LanguageModel, context: &TextContext, samples: &[Completion]) -> Result<Vec<f64>> {
    let mut by_length: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let longest = samples.iter().map(|sample| sample.tokens.len()).max().unwrap_or(0);
    for (index, sample) in samples.iter().enumerate() {
        let length = if sample.finished { longest } else { sample.tokens.len() };
        by_length.entry(length).or_default().push(index);
    }
    let mut log_probs = vec![f64::NEG_INFINITY; samples.len()];
    for (length, indices) in by_length {
        // A completion without a token: the empty text, cut at once.
        if length == 0 {
            indices.iter().for_each(|index| log_probs[*index] = 0.0);
            continue;
        }
        let generation = Generation { max_new_tokens: length, ..model.tokens().generation().clone() };
        let cut_there = model.with_generation(generation)?;
        let own: Vec<&Completion> = indices.iter().map(|index| &samples[*index]).collect();
        for (index, log_prob) in indices.iter().zip(cut_there.log_probs(context, &own)?) {
            log_probs[*index] = log_prob;
        }
    }
    Ok(log_probs)
}

/// Writes the log-probabilities of all lines; `score_lines` gives the samples of lines of one context, and their log-probabilities.
fn score<X: Serialize>(
    scoring: &Scoring,
    mut lines: SampleLines,
    score_lines: impl Fn(&[StoredLine]) -> Result<(Vec<X>, Vec<f64>)>,
) -> Result<()> {
    let target = ProgressTarget::detect();
    let mut progress = Progress::new(target, "score", "samples", scoring.lines.len());
    let same = |one: &StoredLine, next: &StoredLine| one.context == next.context;
    for of_context in scoring.lines.chunk_by(same) {
        for chunk in of_context.chunks(CHUNK) {
            let context = &chunk[0].context;
            let (samples, log_probs) = score_lines(chunk)?;
            for ((line, sample), log_prob) in chunk.iter().zip(&samples).zip(log_probs) {
                lines.write(&SampleLine {
                    context,
                    index: line.index,
                    sample,
                    log_prob,
                    log_base: line.log_base,
                    log_target: line.log_target,
                    features: line.features.iter().map(|(name, value)| (name.as_str(), *value)).collect(),
                })?;
            }
            progress.advance(chunk.len(), String::new);
        }
    }
    drop(progress);
    lines.finish()
}

/// The samples of lines, for a model on a server.
fn remote_samples(model: &RemoteModel, lines: &[StoredLine]) -> Result<Vec<RemoteSample>> {
    let sample = |line: &StoredLine| match &line.sample {
        StoredSample { tokens: Some(ids), text, finished, .. } => {
            Ok(RemoteSample { text: text.clone(), ids: ids.clone(), tokens: ids.len(), finished: *finished })
        }
        StoredSample { finished: false, text, .. } => model.sample_of(line.context.text(), text),
        StoredSample { .. } => {
            let problem = "there are no token ids (`tokens`), and a server does not tell the id of the end token; allowed: a sample with \
                           them, or `\"finished\": false` for a text without an end";
            Err(line.place.wrong(problem).into())
        }
    };
    lines.iter().map(sample).collect()
}

/// The samples of lines of one context. Texts without token ids have those that they have in the running text behind the context, and,
/// unless they are cut off, an end token.
fn completions(
    model: &LanguageModel,
    context: &TextContext,
    lines: &[StoredLine],
) -> Result<Vec<Completion>> {
    let mut spelled: BTreeMap<(&str, bool), Completion> = BTreeMap::new();
    for finished in [true, false] {
        let texts =
            lines.iter().filter(|line| line.sample.tokens.is_none() && line.sample.finished == finished);
        let mut texts: Vec<&str> = texts.map(|line| line.sample.text.as_str()).collect();
        texts.sort_unstable();
        texts.dedup();
        if texts.is_empty() {
            continue;
        }
        let choices = Choices::new(texts.iter().copied())?;
        let choices = if finished { choices } else { choices.without_end_token() };
        let space = ChoiceModel::new(model.clone(), choices)?.space(context)?;
        spelled.extend(
            texts.iter().zip(space.outcomes()).map(|(text, found)| ((*text, finished), found.clone())),
        );
    }
    let completion = |line: &StoredLine| match &line.sample.tokens {
        Some(tokens) => {
            let has_end = tokens.last().is_some_and(|id| model.tokens().is_end(*id));
            if line.sample.finished && !has_end {
                let problem = "`finished` is true, and the last of its `tokens` is no end token of the model; allowed: the end token behind \
                               them, or `\"finished\": false`";
                return Err(line.place.wrong(problem).into());
            }
            Ok(Completion { tokens: tokens.clone(), text: line.sample.text.clone(), finished: has_end })
        }
        None => spelled
            .get(&(line.sample.text.as_str(), line.sample.finished))
            .cloned()
            .ok_or_else(|| line.place.wrong("the text has no tokens").into()),
    };
    lines.iter().map(completion).collect()
}
