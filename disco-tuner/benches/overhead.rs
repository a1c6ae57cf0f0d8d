//! The cost of the tuner itself per sample, beside a policy and a target that cost next to nothing.
//!
//! Issue 4 allows 2 microseconds per sample at 10,000 samples a step. Criterion prints the throughput; one
//! sample takes its inverse.
#![allow(missing_docs)] // Of the function that `criterion_group!` makes.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use disco_core::{Contexts, Distribution, Feature, Result, Sampled, Score, Scorer, Streams, feature};
use disco_divergence::FDivergence;
use disco_tuner::{
    Baseline, BatchItem, MicroBatch, Policy, Problem, Sampling, Tuner, TunerConfig, Update, UpdateStats,
    WeightFn,
};

const SAMPLES: usize = 10_000;

#[derive(Clone)]
struct Free;

fn log_prob(sample: u32) -> f64 {
    -1.0 - f64::from(sample % 97) / 20.0
}

impl Scorer<usize, u32> for Free {
    fn log_scores(&self, _: &usize, samples: &[&u32]) -> Result<Vec<Score>> {
        Ok(samples.iter().map(|sample| Ok(log_prob(**sample))).collect())
    }
}

impl Distribution<usize, u32> for Free {
    fn sample(&self, _: &usize, streams: &Streams) -> Result<Vec<Sampled<u32>>> {
        let samples = 0..streams.len() as u32;
        Ok(samples.map(|value| Sampled { value, log_prob: log_prob(value) }).collect())
    }
}

impl Policy<usize, u32> for Free {
    type Frozen = Self;

    fn freeze(&self) -> Result<Self> {
        Ok(Self)
    }

    fn accumulate(&mut self, batch: &[BatchItem<'_, usize, u32>], weigh: &mut WeightFn<'_>) -> Result<()> {
        let log_probs: Vec<f64> = batch.iter().map(|item| log_prob(*item.sample)).collect();
        weigh(&log_probs).map(drop)
    }

    fn clear(&mut self) {}

    fn step(&mut self, _: &Update) -> Result<UpdateStats> {
        Ok(UpdateStats { gradient_norm: 0.0 })
    }
}

struct Target;

impl Scorer<usize, u32> for Target {
    fn log_scores(&self, _: &usize, samples: &[&u32]) -> Result<Vec<Score>> {
        let score =
            |sample: u32| if sample.is_multiple_of(5) { f64::NEG_INFINITY } else { log_prob(sample + 3) };
        Ok(samples.iter().map(|sample| Ok(score(**sample))).collect())
    }
}

fn overhead(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("step");
    group.throughput(Throughput::Elements(SAMPLES as u64)).sample_size(20);
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    let samplings = [
        ("online", Sampling::Online, 0),
        // The proposal test is made at every step, and never passed.
        ("offline", Sampling::Offline { metric: FDivergence::KlForward, z: 1e12, every: 1 }, 0),
        ("replay of one", Sampling::Online, 1),
    ];
    let odd = feature("odd", |_: &usize, sample: &u32| f64::from(sample % 2));
    let third = feature("third", |_: &usize, sample: &u32| f64::from(sample % 3));
    let features: [&dyn Feature<usize, u32>; 2] = [&odd, &third];
    let baselines = [("no baseline", Baseline::None), ("leave-one-out", Baseline::LeaveOneOut)];
    for (sampled, sampling, replay) in samplings {
        for (based, baseline) in baselines {
            for (measured, metrics_every) in [("", 0), (", metrics", 1)] {
                for contexts in [1, 100] {
                    let config = TunerConfig {
                        steps: u64::MAX,
                        samples_per_step: SAMPLES,
                        contexts_per_step: contexts,
                        sampling: sampling.clone(),
                        replay,
                        baseline,
                        metrics_every,
                        micro_batch: MicroBatch { samples: 64, tokens: None },
                        ..TunerConfig::default()
                    };
                    let contexts = Contexts::new((0..contexts).collect()).unwrap();
                    let (tuner, mut policy) = (Tuner::new(config).unwrap(), Free);
                    // The metrics: the divergences from target and base, and the moments of two features.
                    let problem =
                        Problem::new(&contexts, &Target).with_base(&Free).with_features(features).unwrap();
                    let mut run = tuner.start(&mut policy, &problem).unwrap();
                    let name = format!("{sampled}, {based}{measured}, {} contexts", contexts.len());
                    group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                        bencher.iter(|| run.step().unwrap());
                    });
                }
            }
        }
    }
    group.finish();
}

criterion_group!(benches, overhead);
criterion_main!(benches);
