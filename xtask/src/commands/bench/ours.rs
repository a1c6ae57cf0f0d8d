//! The jobs of the benchmark, done by disco.

use std::time::Instant;

use disco_core::{Condition, Contexts, Distribution, Sampled, Streams, predicate};
use disco_divergence::FDivergence;
use disco_lm::{Completion, Generation, LanguageModel, LmPolicy, Lora};
use disco_tuner::{Adam, Baseline, MicroBatch, Optimizer, Partition, Problem, Tuner, TunerConfig};

use super::{Job, Outcome, job::Work};
use crate::{Result, models::device, process::peak_bytes};

/// The seed of everything that is drawn.
const SEED: u64 = 0;

/// Does a job; returns the time that it took.
pub(super) fn run(job: &Job) -> Result<Outcome> {
    let device = device(job.backend)?;
    let generation = Generation { max_new_tokens: job.max_new_tokens, ..Generation::default() };
    let started = Instant::now();
    let model = LanguageModel::load(&job.model, &device, generation)?;
    let loaded = started.elapsed().as_secs_f64();
    let mut outcome = match job.work {
        Work::Load => Outcome { seconds: vec![loaded], ..Outcome::default() },
        Work::Sample32 | Work::Sample128 => sample(job, &model)?,
        Work::Score => score(job, &model)?,
        Work::ForwardKl => steps(job, LmPolicy::new(model.clone()), model, FDivergence::KlForward)?,
        Work::JensenShannon => steps(job, LmPolicy::new(model.clone()), model, FDivergence::JensenShannon)?,
        Work::ForwardKlLora => {
            steps(job, LmPolicy::lora(&model, &Lora::default())?, model, FDivergence::KlForward)?
        }
        Work::JensenShannonLora => {
            steps(job, LmPolicy::lora(&model, &Lora::default())?, model, FDivergence::JensenShannon)?
        }
    };
    outcome.peak_bytes = peak_bytes().into_iter().collect();
    outcome.program = format!("disco {} ({})", env!("CARGO_PKG_VERSION"), job.backend.feature());
    Ok(outcome)
}

fn draw(job: &Job, model: &LanguageModel, repetition: u32) -> Result<Vec<Sampled<Completion>>> {
    Ok(model.sample(&job.context, &Streams::new(SEED + u64::from(repetition), job.count))?)
}

fn sample(job: &Job, model: &LanguageModel) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for repetition in 0..=job.repetitions {
        let started = Instant::now();
        let drawn = draw(job, model, repetition)?;
        let seconds = started.elapsed().as_secs_f64();
        if repetition > 0 {
            outcome.seconds.push(seconds);
            outcome.tokens.push(drawn.iter().map(|sample| sample.value.tokens.len()).sum());
        }
    }
    Ok(outcome)
}

fn score(job: &Job, model: &LanguageModel) -> Result<Outcome> {
    let drawn = draw(job, model, 0)?;
    let samples: Vec<&Completion> = drawn.iter().map(|sample| &sample.value).collect();
    let sequences: Vec<Vec<u32>> = samples.iter().map(|sample| sample.tokens.clone()).collect();
    let tokens = sequences.iter().map(Vec::len).sum();
    let mut outcome = Outcome { sequences, ..Outcome::default() };
    for repetition in 0..=job.repetitions {
        let started = Instant::now();
        outcome.log_probs = model.log_probs(&job.context, &samples)?;
        let seconds = started.elapsed().as_secs_f64();
        if repetition > 0 {
            outcome.seconds.push(seconds);
            outcome.tokens.push(tokens);
        }
    }
    Ok(outcome)
}

/// Whole steps of the tuner: samples of the policy, their scores under the target (the base, where the text holds the
/// word), the gradient, and Adam's update. Metrics are off; no baseline, so that a forward-KL step has no gradient to
/// compute for samples outside of the target's support.
fn steps(job: &Job, mut policy: LmPolicy, base: LanguageModel, divergence: FDivergence) -> Result<Outcome> {
    let contexts = Contexts::single(job.context.clone());
    let word = predicate("word", |_: &String, sample: &Completion| sample.text.contains(&job.word));
    let target = Condition::always(word) * base;
    let problem = Problem::new(&contexts, &target).with_length(|sample: &Completion| sample.tokens.len());
    let config = TunerConfig {
        divergence,
        baseline: Baseline::None,
        steps: u64::from(job.repetitions) + 1,
        samples_per_step: job.count,
        contexts_per_step: 1,
        seed: SEED,
        partition: Partition::Step,
        micro_batch: MicroBatch { samples: job.micro_batch, tokens: None },
        optimizer: Optimizer::Adam(Adam::default()),
        learning_rate: job.learning_rate,
        metrics_every: 0,
        ..TunerConfig::default()
    };
    let tuner = Tuner::new(config)?;
    let mut run = tuner.start(&mut policy, &problem)?;
    let mut outcome = Outcome::default();
    loop {
        let started = Instant::now();
        let Some(report) = run.step()? else { break };
        let seconds = started.elapsed().as_secs_f64();
        outcome.successes.push(report.successes);
        if report.step > 1 {
            outcome.seconds.push(seconds);
        }
    }
    Ok(outcome)
}
