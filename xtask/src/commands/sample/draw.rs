//! Drawing and searching completions, and writing them as JSON lines.

use std::path::Path;

use disco_core::Sampled;
use disco_lm::{BeamSearch, Completion, LanguageModel};
use serde::{Deserialize, Serialize, de::IgnoredAny};

use super::{Decoder, Sampling};
use crate::{
    Error, Interrupt, OutputFile, Progress, ProgressTarget, Result,
    models::{ModelKind, device, folder_of, generation},
    steering::draw_in_order,
    terminal::print_json,
};

/// A line. `disco_core::Empirical::<String, Completion>::from_json_lines` reads it.
#[derive(Serialize)]
struct Line<'a> {
    context: &'a str,
    sample: &'a Completion,
    /// Under the model as it is decoded, in nats.
    log_prob: f64,
    /// The score by which a beam search ranked it.
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
}

/// The fields by which a line of an earlier file is known.
#[derive(Deserialize)]
#[expect(dead_code, reason = "that they are there is enough")]
struct Written {
    context: IgnoredAny,
    sample: IgnoredAny,
    log_prob: IgnoredAny,
}

/// The output: a file that gets its name at the end, or standard output.
enum Lines {
    File(Box<OutputFile>, Interrupt),
    Output,
}

pub(super) fn run(sampling: &Sampling) -> Result<()> {
    let mut lines = Lines::open(sampling.out.as_deref())?;
    let model = load(sampling)?;
    let contexts: Vec<&str> = sampling.contexts.iter().map(String::as_str).collect();
    let target = ProgressTarget::detect();
    match sampling.decoder {
        Decoder::Draw { count, seed } => {
            let total = count.saturating_mul(contexts.len());
            let mut progress = Progress::new(target, "sample", "samples", total);
            let take = |context: usize, sample: Sampled<Completion>| {
                lines.write(contexts[context], &sample.value, sample.log_prob, None)
            };
            draw_in_order(&model, &sampling.contexts, count, seed, &mut progress, take)?;
        }
        Decoder::Greedy => {
            for (context, found) in contexts.iter().zip(model.greedy(&contexts)?) {
                lines.write(context, &found.value, found.log_prob, None)?;
            }
        }
        Decoder::Beam { count, width, length_penalty } => {
            let search = BeamSearch { width, returned: count, length_penalty, ..BeamSearch::default() };
            for (context, found) in contexts.iter().zip(model.beam_search(&contexts, &search)?) {
                for found in found {
                    lines.write(context, &found.value, found.log_prob, Some(found.score))?;
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

impl Lines {
    /// Opens the output. A file is made now, so that a place that cannot be written to is found before the model is loaded.
    fn open(out: Option<&Path>) -> Result<Self> {
        let Some(path) = out else { return Ok(Self::Output) };
        let interrupt = Interrupt::install()?;
        let is_ours = |line: &[u8]| serde_json::from_slice::<Written>(line).is_ok();
        let file = interrupt.begin(|| OutputFile::prepare(path, is_ours), OutputFile::temporary)?;
        Ok(Self::File(Box::new(file), interrupt))
    }

    fn write(&mut self, context: &str, sample: &Completion, log_prob: f64, score: Option<f64>) -> Result<()> {
        let line = serde_json::to_string(&Line { context, sample, log_prob, score }).map_err(Error::Json)?;
        match self {
            Self::File(file, _) => file.write(line.as_bytes()),
            Self::Output => print_json(&line),
        }
    }

    fn finish(self) -> Result<()> {
        match self {
            Self::File(file, interrupt) => interrupt.finish(|| file.finish()),
            Self::Output => Ok(()),
        }
    }
}
