//! Sampling of tables, and importance estimates against the speed of memory.
//!
//! `cargo bench -p disco-core`. The last lines printed are the two figures that the crate promises: samples
//! of a table per second and thread, and estimates relative to a plain pass over the same memory, timed
//! alternately in one process so that other load on the machine falls on both: for pairs that fit into a
//! processor's last cache, which gives them faster than baseline x86-64 multiplies, and for ten times as many as do.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput};
use disco_core::{
    Distribution, ImportanceAccumulator, ImportanceWeights, Parallel, Scorer, Space, Streams, Table,
};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

const SAMPLES: usize = 1_000_000;
/// The weights and values of this many samples take 640 MB.
const MANY: usize = 40_000_000;

fn table() -> Table<u32> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let scores = (0..1000).map(|_| 5.0 * rng.random::<f64>()).collect();
    Table::from_log_scores(Space::new(0..1000).expect("distinct"), scores).expect("finite scores")
}

fn log_weights_and_values(count: usize) -> (Vec<f64>, Vec<f64>) {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    (0..count).map(|_| (4.0 * rng.random::<f64>(), rng.random::<f64>())).unzip()
}

/// The sum of all numbers of two slices, read once: what any estimate from them has to do at least.
fn plain_pass(one: &[f64], two: &[f64]) -> f64 {
    let mut lanes = [0.0; 16];
    for (ones, twos) in one.chunks_exact(16).zip(two.chunks_exact(16)) {
        for ((lane, a), b) in lanes.iter_mut().zip(ones).zip(twos) {
            *lane += a + b;
        }
    }
    lanes.iter().sum()
}

fn sampling(c: &mut Criterion) {
    let table = table();
    let streams = Streams::new(1, SAMPLES);
    let samples = table.sample(&(), &streams).expect("a table never fails");
    let values: Vec<&u32> = samples.iter().map(|sample| &sample.value).collect();
    let mut group = c.benchmark_group("table");
    group.throughput(Throughput::Elements(SAMPLES as u64)).sample_size(10);
    group.bench_function("sample, one thread", |b| b.iter(|| table.sample(&(), black_box(&streams))));
    let parallel = Parallel::new(&table);
    group.bench_function("sample, all threads", |b| b.iter(|| parallel.sample(&(), black_box(&streams))));
    group.bench_function("score", |b| b.iter(|| table.log_scores(&(), black_box(&values))));
    group.finish();
}

fn estimates(c: &mut Criterion) {
    let (log_weights, values) = log_weights_and_values(SAMPLES);
    let weights = ImportanceWeights::from_log(log_weights.clone()).expect("finite weights");
    let mut group = c.benchmark_group("weights");
    group.throughput(Throughput::Elements(SAMPLES as u64)).sample_size(20);
    group.bench_function("plain pass", |b| {
        b.iter(|| plain_pass(black_box(weights.normalised()), black_box(&values)))
    });
    group.bench_function("mean with error", |b| b.iter(|| black_box(&weights).mean(black_box(&values))));
    group.bench_function("plain mean with error", |b| {
        b.iter(|| black_box(&weights).plain_mean(black_box(&values)))
    });
    group.bench_function("from log", |b| {
        b.iter(|| ImportanceWeights::from_log(black_box(log_weights.clone())))
    });
    group.bench_function("pareto tail", |b| b.iter(|| black_box(&weights).pareto_tail()));
    group.bench_function("accumulator, one quantity", |b| {
        b.iter(|| {
            let mut accumulator = ImportanceAccumulator::new(1);
            for (log_weight, value) in log_weights.iter().zip(&values) {
                accumulator.add(*log_weight, &[*value]).expect("finite");
            }
            accumulator.mean(0)
        })
    });
    group.finish();
}

fn timed<T>(work: impl Fn() -> T) -> Duration {
    let start = Instant::now();
    black_box(work());
    start.elapsed()
}

/// The shortest of many runs of each, taken in turns: the run that was disturbed least.
fn shortest_of_both<A, B>(runs: usize, one: impl Fn() -> A, two: impl Fn() -> B) -> (Duration, Duration) {
    (0..runs).fold((Duration::MAX, Duration::MAX), |(best_one, best_two), _| {
        (best_one.min(timed(&one)), best_two.min(timed(&two)))
    })
}

/// Prints how long estimates take relative to a plain pass over the same weights and values.
fn against_a_plain_pass(count: usize, runs: usize) {
    let (log_weights, values) = log_weights_and_values(count);
    let weights = ImportanceWeights::from_log(log_weights).expect("finite weights");
    let pass = || plain_pass(weights.normalised(), &values);
    let compare = |name: &str, (estimate, pass): (Duration, Duration)| {
        let (ratio, bytes) = (estimate.as_secs_f64() / pass.as_secs_f64(), 16.0 * count as f64);
        let rate = bytes / pass.as_secs_f64() / 1e9;
        println!(
            "{count} samples, {name}: {estimate:.2?}, a plain pass {pass:.2?} ({rate:.0} GB/s), ratio {ratio:.2}"
        );
    };
    compare("mean with error", shortest_of_both(runs, || weights.mean(&values), pass));
    compare("plain mean with error", shortest_of_both(runs, || weights.plain_mean(&values), pass));
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    sampling(&mut criterion);
    estimates(&mut criterion);
    criterion.final_summary();

    let (table, streams) = (table(), Streams::new(1, SAMPLES));
    let (sampling, _) = shortest_of_both(5, || table.sample(&(), &streams), || ());
    println!("table: {:.2} million samples per second and thread", 1.0 / sampling.as_secs_f64());
    against_a_plain_pass(SAMPLES, 40);
    against_a_plain_pass(MANY, 10);
}
