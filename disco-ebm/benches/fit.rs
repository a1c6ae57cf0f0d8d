//! How long a fit takes, from measured samples to the report: 20 and 100 features on 100,000 samples.

#![allow(missing_docs)] // `criterion_group!` makes a public function without documentation.

use std::{hint::black_box, sync::Arc, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use disco_core::{Feature, Sampled, StreamRng, feature};
use disco_ebm::{Constraint, FitConfig, Measured, features};
use rand::{RngExt, SeedableRng};

const SAMPLES: usize = 100_000;

/// A sample is the values of its features.
type Values = Arc<Vec<f64>>;

/// Samples are vectors of feature values, half of them binary; targets are half a standard deviation or less
/// away.
fn problem(d: usize) -> (Measured<(), Values>, Vec<Constraint<(), Values>>) {
    let mut rng = StreamRng::seed_from_u64(1);
    let sample = |rng: &mut StreamRng| {
        let common: f64 = rng.random();
        let value = |j: usize, u: f64| {
            if j.is_multiple_of(2) { f64::from(u8::from(u < 0.3 * common)) } else { u + 0.5 * common }
        };
        let values: Vec<f64> = (0..d).map(|j| value(j, rng.random())).collect();
        Sampled { value: Arc::new(values), log_prob: -1.0 }
    };
    let samples: Vec<_> = (0..SAMPLES).map(|_| sample(&mut rng)).collect();
    let constraint = |j: usize| {
        let feature: Arc<dyn Feature<(), Values>> =
            Arc::new(feature(format!("feature {j}"), move |_: &(), x: &Values| x[j]));
        let target = if j.is_multiple_of(2) { 0.25 } else { 0.8 };
        Constraint::moment(feature, target).expect("finite")
    };
    let constraints: Vec<_> = (0..d).map(constraint).collect();
    (Measured::from_base(vec![()], vec![samples], &features(&constraints)).expect("measures"), constraints)
}

fn fits(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fit of 100,000 samples");
    group.sample_size(10).measurement_time(Duration::from_secs(10)).warm_up_time(Duration::from_secs(1));
    for d in [20, 100] {
        let (measured, constraints) = problem(d);
        let config = FitConfig::default();
        let report = measured.fit(&constraints, &config).expect("fits").report().clone();
        assert!(report.termination.is_converged());
        println!(
            "{d} features: {} Newton steps, ESS {:.0}",
            report.iterations,
            report.ess.unwrap_or(f64::NAN)
        );
        group.bench_function(format!("{d} features"), |bencher| {
            bencher.iter(|| measured.fit(black_box(&constraints), &config).expect("fits"));
        });
    }
    group.finish();
}

criterion_group!(benches, fits);
criterion_main!(benches);
