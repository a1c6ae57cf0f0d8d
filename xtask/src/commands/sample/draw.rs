//! Drawing and searching completions, and writing them as JSON lines.

use disco_core::Sampled;
use disco_lm::{BeamSearch, Completion, LanguageModel};
use serde::Serialize;

use super::{Decoder, Sampling};
use crate::{
    Progress, ProgressTarget, Result,
    models::{ModelKind, device, folder_of, generation},
    stages::SampleLines,
    steering::draw_in_order,
};

/// A line. `disco_core::Empirical::<String, Completion>::from_json_lines` reads it.
#[derive(Serialize)]
struct Line<'a> {
    context: &'a str,
    /// The number of a draw among those of its context.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    sample: &'a Completion,
    /// Under the model as it is decoded, in nats.
    log_prob: f64,
    /// The score by which a beam search ranked it.
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
}

pub(super) fn run(sampling: &Sampling) -> Result<()> {
    let mut lines = SampleLines::open(sampling.out.as_deref(), sampling.inputs.as_ref())?;
    let model = load(sampling)?;
    let contexts: Vec<&str> = sampling.contexts.iter().map(String::as_str).collect();
    let target = ProgressTarget::detect();
    match sampling.decoder {
        Decoder::Draw { count, seed } => {
            let numbers = sampling.shard.range(count);
            let total = numbers.len().saturating_mul(contexts.len());
            let mut progress = Progress::new(target, "sample", "samples", total);
            let take = |context: usize, number: usize, sample: Sampled<Completion>| {
                let (context, index) = (contexts[context], Some(number));
                let (sample, log_prob) = (&sample.value, sample.log_prob);
                lines.write(&Line { context, index, sample, log_prob, score: None })
            };
            draw_in_order(&model, &sampling.contexts, numbers, seed, &mut progress, take)?;
        }
        Decoder::Greedy => {
            for (context, found) in contexts.iter().zip(model.greedy(&contexts)?) {
                let (sample, log_prob) = (&found.value, found.log_prob);
                lines.write(&Line { context, index: None, sample, log_prob, score: None })?;
            }
        }
        Decoder::Beam { count, width, length_penalty } => {
            let search = BeamSearch { width, returned: count, length_penalty, ..BeamSearch::default() };
            for (context, found) in contexts.iter().zip(model.beam_search(&contexts, &search)?) {
                for found in found {
                    let (sample, log_prob) = (&found.value, found.log_prob);
                    let score = Some(found.score);
                    lines.write(&Line { context, index: None, sample, log_prob, score })?;
                }
            }
        }
    }
    lines.finish()
}

fn load(sampling: &Sampling) -> Result<LanguageModel> {
    let device = device(sampling.backend)?;
    let folder = folder_of(&sampling.model.source, ModelKind::LanguageModel)?;
    let adapter =
        sampling.adapter.as_ref().map(|adapter| folder_of(adapter, ModelKind::Adapter)).transpose()?;
    let mut model = LanguageModel::load(&folder, &device, generation(&sampling.model))?;
    if let Some(adapter) = adapter {
        model = model.with_adapter(&adapter)?;
    }
    if sampling.chat { Ok(model.answering(sampling.system.as_deref())?) } else { Ok(model) }
}
