//! Drawing and searching completions, and writing them as JSON lines.

use disco_core::{Distribution, Sampled};
use disco_lm::{BeamSearch, LanguageModel};
use serde::Serialize;

use super::{Decoder, Sampling, on_server::draws_on_server};
use crate::{
    Progress, ProgressTarget, Result,
    contexts::TextContext,
    models::{ModelKind, device, folder_of, generation},
    remote::RemoteModel,
    stages::SampleLines,
    steering::draw_in_order,
};

/// A line. `disco_core::Empirical::<String, Completion>::from_json_lines` reads it.
#[derive(Serialize)]
struct Line<'a, X> {
    context: &'a str,
    /// The number of a draw among those of its context.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    sample: &'a X,
    /// Under the model as it is decoded, in nats.
    log_prob: f64,
    /// The score by which a beam search ranked it.
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
}

pub(super) fn run(sampling: &Sampling) -> Result<()> {
    let mut lines = SampleLines::open(sampling.out.as_deref(), sampling.inputs.as_ref())?;
    if let Some((count, seed)) = draws_on_server(sampling)? {
        let first = sampling.contexts.first().map_or("", String::as_str);
        let model = RemoteModel::connect(&sampling.model, first)?;
        draw(sampling, &model, count, seed, &mut lines)?;
        return lines.finish();
    }
    let model = load(sampling)?;
    let contexts: Vec<&str> = sampling.contexts.iter().map(String::as_str).collect();
    match sampling.decoder {
        Decoder::Draw { count, seed } => draw(sampling, &model, count, seed, &mut lines)?,
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

/// Draws the shard's part of `count` completions in each context.
fn draw<X: Serialize>(
    sampling: &Sampling,
    model: &impl Distribution<TextContext, X>,
    count: usize,
    seed: u64,
    lines: &mut SampleLines,
) -> Result<()> {
    let contexts: Vec<TextContext> =
        sampling.contexts.iter().map(|context| context.as_str().into()).collect();
    let numbers = sampling.shard.range(count);
    let total = numbers.len().saturating_mul(contexts.len());
    let mut progress = Progress::new(ProgressTarget::detect(), "sample", "samples", total);
    let take = |context: usize, number: usize, sample: Sampled<X>| {
        let (sample, log_prob) = (&sample.value, sample.log_prob);
        let (context, index) = (contexts[context].text(), Some(number));
        lines.write(&Line { context, index, sample, log_prob, score: None })
    };
    draw_in_order(model, &contexts, numbers, seed, &mut progress, take)
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
