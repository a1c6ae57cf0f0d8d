//! Measures the cost of a tuning step: `cargo run -p disco-lm --example step_cost -- FOLDER [full|lora|merged] [SAMPLES] [TOKENS] [MICRO]`.
//!
//! Draws samples from a model in Hugging Face's format, accumulates the gradient of all of them in micro-batches of MICRO, takes
//! a step of Adam, and prints the seconds of each and the peak memory so far. `merged` tunes like `lora`, but draws and
//! scores with the adapter merged into the weights.

use std::{error::Error, path::Path, time::Instant};

use disco_core::{Distribution, Streams};
use disco_lm::{Backend, Generation, LanguageModel, LmPolicy, Lora};
use disco_tuner::{BatchItem, Optimizer, Policy, Update};

const CONTEXT: &str = "It was a cold and stormy night";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = arguments.first().ok_or("the first argument is the model's folder")?;
    let mode = arguments.get(1).map_or("full", String::as_str);
    let number = |at: usize, default| arguments.get(at).map_or(Ok(default), |value| value.parse::<usize>());
    let (samples, max_new_tokens, micro_batch) = (number(2, 64)?, number(3, 40)?, number(4, 16)?);

    let mut clock = Clock(Instant::now());
    let generation = Generation { max_new_tokens, ..Generation::default() };
    let base = LanguageModel::load(Path::new(folder), &Backend::Flex.device()?, generation)?;
    clock.lap("load", 0);
    let mut policy = match mode {
        "full" => LmPolicy::new(base.clone()),
        "lora" | "merged" => LmPolicy::lora(&base, &Lora::default())?,
        other => return Err(format!("{other}: allowed are full, lora and merged").into()),
    };
    let context = CONTEXT.to_owned();
    for step in 0..3 {
        let proposal = if mode == "merged" { policy.model().merged() } else { policy.model() };
        clock.lap("prepare", 0);
        let drawn = proposal.sample(&context, &Streams::new(step, samples))?;
        let tokens: usize = drawn.iter().map(|sample| sample.value.tokens.len()).sum();
        clock.lap("sample", tokens);
        let values: Vec<_> = drawn.iter().map(|sample| &sample.value).collect();
        proposal.log_probs(&context, &values)?;
        drop(proposal);
        clock.lap("score", tokens);
        let batch: Vec<_> = values.iter().map(|&sample| BatchItem { context: &context, sample }).collect();
        for part in batch.chunks(micro_batch) {
            policy.accumulate(part, &mut |log_probs| Ok(vec![-1.0 / samples as f64; log_probs.len()]))?;
        }
        clock.lap("gradient", tokens);
        let update =
            Update { optimizer: Optimizer::default(), learning_rate: 1e-5, max_gradient_norm: Some(1.0) };
        let updated = Policy::<String, _>::step(&mut policy, &update)?;
        clock.lap("update", 0);
        println!("step {step}: {tokens} tokens, gradient norm {:.4}", updated.gradient_norm);
    }
    Ok(())
}

struct Clock(Instant);

impl Clock {
    /// Prints the time since the last lap, and the rate of `tokens` unless there are none.
    fn lap(&mut self, what: &str, tokens: usize) {
        let seconds = self.0.elapsed().as_secs_f64();
        let rate =
            if tokens > 0 { format!("{:6.0} tokens/s", tokens as f64 / seconds) } else { String::new() };
        println!("{what:9} {seconds:7.2} s {rate:15} peak {:5.0} MB", peak_megabytes());
        self.0 = Instant::now();
    }
}

/// The highest resident size of this process so far (Linux; 0 elsewhere).
fn peak_megabytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) / 1024.0
}
