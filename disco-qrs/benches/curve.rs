//! A curve of 64 betas on a million stored pairs, and its parts.

#![allow(missing_docs)] // criterion_group! makes an undocumented function.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use disco_core::Streams;
use disco_qrs::{Goal, Ratios};
use rand::RngExt;

const PAIRS: usize = 1_000_000;
const BETAS: usize = 64;

/// `ln P` and `ln q` whose difference is roughly normal with a standard deviation of 2, as of a text model
/// against its tuned copy, and a binary feature.
fn pairs() -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let mut rng = Streams::new(7, 1).rng(0);
    let mut columns = (vec![], vec![], vec![]);
    for _ in 0..PAIRS {
        let normal: f64 = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        let log_proposal = -100.0 * rng.random::<f64>();
        columns.0.push(log_proposal + 2.0 * normal);
        columns.1.push(log_proposal);
        columns.2.push(f64::from(u8::from(rng.random::<f64>() < 0.3)));
    }
    columns
}

fn curve(criterion: &mut Criterion) {
    let (log_target, log_proposal, feature) = pairs();
    let ratios = Ratios::new(&log_target, &log_proposal).unwrap();
    let grid = ratios.grid(BETAS).unwrap();
    let mut group = criterion.benchmark_group("1e6 pairs");
    group.sample_size(10);
    group.bench_function("sort and 64 betas", |bencher| {
        bencher.iter(|| Ratios::new(&log_target, &log_proposal).unwrap().curve(black_box(&grid)).unwrap());
    });
    group.bench_function("64 betas", |bencher| bencher.iter(|| ratios.curve(black_box(&grid)).unwrap()));
    let with_feature = ratios.clone().with_feature("feature", &feature).unwrap();
    group.bench_function("64 betas with a feature", |bencher| {
        bencher.iter(|| with_feature.curve(black_box(&grid)).unwrap());
    });
    group.bench_function("choose", |bencher| {
        bencher.iter(|| ratios.choose(black_box(Goal::TotalVariation(0.1))).unwrap());
    });
    group.finish();
}

criterion_group!(benches, curve);
criterion_main!(benches);
