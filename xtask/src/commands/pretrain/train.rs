//! Training, and the card of the trained model.

use std::{path::Path, time::Instant};

use disco_core::input;

use disco_lm::{
    Generation, LanguageModel, Precision,
    pretrain::{Corpus, Pretrain},
};

use super::PretrainArguments;
use crate::{Progress, ProgressTarget, Result, models::device, terminal::print};

/// The share of a corpus, at its end, that is held out.
const HELD_OUT: f64 = 0.1;

/// Trains the model, saves it in `folder`, in f16, or in f32 if it does not fit into f16, loads it again and measures the loaded model.
pub(super) fn train(arguments: &PretrainArguments, folder: &Path) -> Result<()> {
    LanguageModel::check_folder(folder)?;
    let text = input::read_text(&arguments.corpus)?;
    let mut pretrain = Pretrain { seed: arguments.seed, ..Pretrain::default() };
    pretrain.steps = arguments.steps.unwrap_or(pretrain.steps);
    let device = device(arguments.backend)?;
    let corpus = Corpus::new(&text, HELD_OUT, pretrain.vocabulary)?;

    let started = Instant::now();
    let mut progress = Progress::new(ProgressTarget::detect(), "pretrain", "steps", pretrain.steps);
    // The mean of about the last fifty steps: a single one is too noisy to look at.
    let mut recent: Option<f64> = None;
    let model = pretrain.train(&corpus, &device, |now, _| {
        let mean = recent.map_or(now.loss, |mean| mean + (now.loss - mean) / 50.0);
        recent = Some(mean);
        progress.advance(1, || format!("loss {mean:.3} nats/token"));
        Ok(())
    })?;
    drop(progress);
    let seconds = started.elapsed().as_secs_f64();

    match model.save(folder, Precision::F16) {
        // Weights that f16 cannot hold: rather a larger file than none after all the steps.
        Err(disco_lm::Error::Invalid { field: "precision", .. }) => model.save(folder, Precision::F32),
        saved => saved,
    }?;
    let stored = LanguageModel::load(folder, &device, Generation::default())?;
    let loss = stored.nats_per_character(&corpus)?;
    let card = card(&arguments.corpus, &text, &pretrain, &corpus, &stored, loss);
    LanguageModel::add_file(folder, "README.md", card.as_bytes())?;
    print(format_args!(
        "{} parameters, {loss:.4} nats per held-out character as stored, trained in {seconds:.0} s: {}",
        stored.tokens().parameters(),
        folder.display()
    ))
}

/// The model card, in Markdown.
fn card(
    path: &Path,
    text: &str,
    pretrain: &Pretrain,
    corpus: &Corpus,
    model: &LanguageModel,
    loss: f64,
) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let Pretrain { width, layers, heads, feed_forward, vocabulary, .. } = pretrain;
    let Pretrain { window, batch, steps, warm_up, learning_rate, dropout, seed, weight_decay, .. } = pretrain;
    let default = Pretrain::default();
    let mut flags = String::new();
    if *seed != default.seed {
        flags += &format!(" --seed {seed}");
    }
    if *steps != default.steps {
        flags += &format!(" --steps {steps}");
    }
    format!(
        "---
license: mit
language: en
pipeline_tag: text-generation
---

# The embedded model of disco

A Llama of {parameters} parameters ({layers} layers, width {width}, {heads} heads, feed-forward {feed_forward}, tied
embeddings, byte-level BPE of {vocabulary} entries, {window} positions), stored in f16. It is here to be tuned in a
demonstration, not to be useful.

| | |
|---|---|
| corpus | `{name}`: {characters} characters; the first 90% train, the last 10% held out |
| training command | `cargo xtask pretrain --corpus {name}{flags}` |
| seed | {seed} |
| training | {steps} steps of {batch} x {window} tokens ({epochs:.1} epochs); AdamW, betas 0.9 and 0.99, weight decay {weight_decay}; warm-up of {warm_up} steps to {learning_rate}, cosine to a tenth; dropout {dropout} on embedding and residual branches; gradient norm clipped at 1 |
| tokenizer | learnt from the training part alone; {characters_per_token:.2} characters per token there |
| **held-out loss** | **{loss:.4} nats per character**, of these f16 weights |

The figure per character: the negative log-probabilities of all tokens of the held-out part are added, those of the
end tokens between passages included, and the sum is divided by the number of held-out characters. Each token is
predicted once, from between {half} and {window} tokens before it (fewer at the very beginning). Passages, separated by
blank lines, are each followed by the end token `<|endoftext|>`, which also begins every context.
",
        parameters = model.tokens().parameters(),
        characters = text.chars().count(),
        epochs = (steps * batch * window) as f64 / corpus.train_tokens() as f64,
        characters_per_token = corpus.characters_per_token(),
        half = window / 2,
    )
}
