//! Statistical: nominal 95% intervals cover the truth in 92% to 98% of 1,000 seeded repetitions.
//!
//! n = 1,000 repetitions; alpha = 2.5e-5 per test: with a true coverage of 95%, the share that covers leaves that
//! range for one test in 40,000 (binomial).

use disco_core::{
    Distribution, Exponential, ImportanceAccumulator, ImportanceWeights, Product, Sampled, Scorer, Space,
    Streams, Table, feature, predicate, scorer,
};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use rayon::prelude::*;

const REPETITIONS: u64 = 1000;
const SAMPLES: usize = 1000;

#[track_caller]
fn covered(name: &str, truth: f64, interval: impl Fn(u64) -> (f64, f64) + Sync) {
    let hits = (0..REPETITIONS).into_par_iter().filter(|seed| {
        let (low, high) = interval(*seed);
        low <= truth && truth <= high
    });
    let hits = hits.count();
    println!("{name}: {:.1}%", 100.0 * hits as f64 / REPETITIONS as f64);
    assert!((920..=980).contains(&hits), "{name}: {hits} of {REPETITIONS}");
}

/// A base of 50 outcomes, and a tilted target with a hard constraint over them.
fn base() -> Table<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(99);
    let scores = (0..50).map(|_| 2.0 * rng.random::<f64>()).collect();
    Table::from_log_scores(Space::new(0..50).unwrap(), scores).unwrap()
}

fn target(base: &Table<usize>) -> impl Scorer<(), usize> + '_ {
    let allowed = scorer(|_: &(), x: &usize| if x.is_multiple_of(3) { f64::NEG_INFINITY } else { 0.0 });
    let height = feature("height", |_: &(), x: &usize| (*x as f64 / 10.0).sin());
    Product(Product(base, allowed), Exponential { feature: height, coefficient: 0.8 })
}

fn weights_of(target: &impl Scorer<(), usize>, samples: &[Sampled<usize>]) -> ImportanceWeights {
    let values: Vec<&usize> = samples.iter().map(|sample| &sample.value).collect();
    let log_p: Vec<f64> = target.log_scores(&(), &values).unwrap().into_iter().map(Result::unwrap).collect();
    let log_q: Vec<f64> = samples.iter().map(|sample| sample.log_prob).collect();
    ImportanceWeights::new(&log_p, &log_q).unwrap()
}

#[test]
fn log_z_moments_and_plain_means_are_covered() {
    let base = base();
    let target = target(&base);
    let space = base.space();
    let exact = space.normalise(&target, &()).unwrap();
    let log_z = space.log_z(&target, &()).unwrap();
    let binary = predicate("high", |_: &(), x: &usize| *x >= 35);
    let real = feature("square", |_: &(), x: &usize| (*x as f64).powi(2));
    let moments = exact.moments::<(), &dyn disco_core::Feature<(), usize>>(&[&binary, &real], &()).unwrap();
    let draw = |seed| base.sample(&(), &Streams::new(seed, SAMPLES)).unwrap();
    let high = |samples: &[Sampled<usize>]| -> Vec<f64> {
        samples.iter().map(|sample| f64::from(u8::from(sample.value >= 35))).collect()
    };
    let squares = |samples: &[Sampled<usize>]| -> Vec<f64> {
        samples.iter().map(|sample| (sample.value as f64).powi(2)).collect()
    };

    covered("log Z", log_z, |seed| weights_of(&target, &draw(seed)).log_z().interval(1.96));
    covered("binary moment", moments[0], |seed| {
        let samples = draw(seed);
        weights_of(&target, &samples).mean(&high(&samples)).unwrap().interval(1.96)
    });
    covered("real moment", moments[1], |seed| {
        let samples = draw(seed);
        weights_of(&target, &samples).mean(&squares(&samples)).unwrap().interval(1.96)
    });
    covered("plain mean of the normalised target", moments[0], |seed| {
        let samples = draw(seed);
        weights_of(&exact, &samples).plain_mean(&high(&samples)).unwrap().interval(1.96)
    });
    covered("accumulated moment", moments[1], |seed| {
        let samples = draw(seed);
        let weights = weights_of(&target, &samples);
        let mut accumulator = ImportanceAccumulator::new(1);
        for (log_weight, value) in weights.log_weights().iter().zip(squares(&samples)) {
            accumulator.add(*log_weight, &[value]).unwrap();
        }
        accumulator.mean(0).unwrap().interval(1.96)
    });
    // Smaller, because every repetition is resampled 300 times.
    let few = |seed| base.sample(&(), &Streams::new(seed, 300)).unwrap();
    covered("bootstrapped moment", moments[1], |seed| {
        let samples = few(seed);
        let weights = weights_of(&target, &samples);
        let bootstrap = weights.bootstrap_mean(&squares(&samples), &Streams::new(seed, 300)).unwrap();
        bootstrap.interval(0.95).unwrap()
    });
    covered("bootstrapped log Z", log_z, |seed| {
        let weights = weights_of(&target, &few(seed));
        weights.bootstrap_log_z(&Streams::new(seed, 300)).unwrap().interval(0.95).unwrap()
    });
}

#[test]
fn batches_from_two_proposals_are_covered() {
    let base = base();
    let target = target(&base);
    let space = base.space();
    let log_z = space.log_z(&target, &()).unwrap();
    let other = space.uniform();
    let draw = |seed| {
        let streams = Streams::new(seed, SAMPLES);
        let (some, rest) = streams.split_at(600);
        (base.sample(&(), &some).unwrap(), other.sample(&(), &rest).unwrap())
    };
    covered("log Z, pooled", log_z, |seed| {
        let (some, rest) = draw(seed);
        let batches = [weights_of(&target, &some), weights_of(&target, &rest)];
        ImportanceWeights::pooled(&batches).unwrap().log_z().interval(1.96)
    });
    covered("log Z, balance heuristic", log_z, |seed| {
        let (some, rest) = draw(seed);
        let all = [some, rest].concat();
        let values: Vec<&usize> = all.iter().map(|sample| &sample.value).collect();
        let log_p: Vec<f64> =
            target.log_scores(&(), &values).unwrap().into_iter().map(Result::unwrap).collect();
        let log_q = [base.log_probs(&(), &values).unwrap(), other.log_probs(&(), &values).unwrap()];
        let weights = ImportanceWeights::balanced(&log_p, &[&log_q[0], &log_q[1]], &[600, 400]).unwrap();
        weights.log_z().interval(1.96)
    });
}
