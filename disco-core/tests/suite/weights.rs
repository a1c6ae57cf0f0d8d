//! Importance weights: exact small cases, merging, accumulation, resampling, the tail, bad input.

use disco_core::{
    Discrete, Distribution, Error, Estimate, ImportanceAccumulator, ImportanceWeights, Streams,
    statrs::distribution::Poisson,
};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

#[track_caller]
pub(crate) fn close(one: f64, two: f64, tolerance: f64) {
    assert!((one - two).abs() <= tolerance * (1.0 + two.abs()), "{one} is not {two}");
}

#[track_caller]
fn same(one: Estimate, two: Estimate, tolerance: f64) {
    close(one.value, two.value, tolerance);
    close(one.std_error, two.std_error, tolerance);
    close(one.ess, two.ess, tolerance);
}

#[test]
fn estimates_follow_their_formulas() {
    // w = 1, 2, 3, 0 and v = 1, 5, 2, NaN (no weight, not looked at).
    let log_weights = vec![0.0, 2f64.ln(), 3f64.ln(), f64::NEG_INFINITY];
    let weights = ImportanceWeights::from_log(log_weights).unwrap();
    close(weights.ess(), 36.0 / 14.0, 1e-14);
    close(weights.largest_share(), 0.5, 1e-14);
    let log_z = weights.log_z();
    close(log_z.value, 1.5f64.ln(), 1e-14);
    // Variance of 1, 2, 3, 0 is 5/3; sd / (sqrt(4) * 1.5).
    close(log_z.std_error, (5.0f64 / 3.0 / 4.0).sqrt() / 1.5, 1e-14);

    let values = [1.0, 5.0, 2.0, f64::NAN];
    let mean = weights.mean(&values).unwrap();
    close(mean.value, 17.0 / 6.0, 1e-14);
    let m = 17.0 / 6.0;
    let squares = [(1.0f64, 1.0f64), (2.0, 5.0), (3.0, 2.0)].map(|(w, v)| (w / 6.0 * (v - m)).powi(2));
    close(mean.std_error, (4.0 / 3.0 * squares.iter().sum::<f64>()).sqrt(), 1e-14);

    // w v = 1, 10, 6, 0: mean 17/4, variance (137 - 4 (17/4)^2) / 3.
    let plain = weights.plain_mean(&values).unwrap();
    close(plain.value, 4.25, 1e-14);
    close(plain.std_error, ((137.0 - 72.25) / 3.0 / 4.0f64).sqrt(), 1e-14);
}

#[test]
fn estimates_over_many_lanes_equal_a_plain_loop() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let log_weights: Vec<f64> = (0..1003).map(|_| 3.0 * rng.random::<f64>() - 700.0).collect();
    let values: Vec<f64> = (0..1003).map(|_| 1e3 + rng.random::<f64>()).collect();
    let weights = ImportanceWeights::from_log(log_weights).unwrap();
    let mean: f64 = weights.normalised().iter().zip(&values).map(|(w, v)| w * v).sum();
    let squares: f64 = weights.normalised().iter().zip(&values).map(|(w, v)| (w * (v - mean)).powi(2)).sum();
    let estimate = weights.mean(&values).unwrap();
    close(estimate.value, mean, 1e-14);
    close(estimate.std_error, (squares * 1003.0 / 1002.0).sqrt(), 1e-12);
}

#[test]
fn one_sample_has_an_estimate_and_no_error() {
    let weights = ImportanceWeights::from_log(vec![-3.0]).unwrap();
    assert_eq!(weights.log_z().value, -3.0);
    for estimate in [weights.log_z(), weights.mean(&[2.0]).unwrap(), weights.plain_mean(&[2.0]).unwrap()] {
        assert_eq!(estimate.std_error, f64::INFINITY);
    }
    assert_eq!(weights.pareto_tail(), None);
}

#[test]
fn bad_weights_are_refused() {
    assert!(matches!(ImportanceWeights::from_log(vec![]), Err(Error::Empty { .. })));
    let zero = vec![f64::NEG_INFINITY; 3];
    assert!(matches!(ImportanceWeights::from_log(zero), Err(Error::ZeroWeights { count: 3 })));
    for bad in [f64::NAN, f64::INFINITY] {
        let error = ImportanceWeights::from_log(vec![0.0, bad]).unwrap_err();
        assert!(matches!(error, Error::NotANumber { index: 1, .. }), "{error}");
    }
    assert!(matches!(ImportanceWeights::new(&[0.0], &[0.0, 1.0]), Err(Error::Length { .. })));
    // A sample that the proposal cannot draw, inside and outside the target's support.
    for target in [0.0, f64::NEG_INFINITY] {
        let error = ImportanceWeights::new(&[target], &[f64::NEG_INFINITY]).unwrap_err();
        assert!(matches!(error, Error::NotANumber { .. }), "{error}");
    }
    let weights = ImportanceWeights::from_log(vec![0.0, 0.0]).unwrap();
    assert!(matches!(weights.mean(&[1.0]), Err(Error::Length { .. })));
    assert!(matches!(weights.mean(&[1.0, f64::NAN]), Err(Error::NotANumber { index: 1, .. })));
    assert!(matches!(weights.mean(&[f64::INFINITY, 0.0]), Err(Error::NotANumber { index: 0, .. })));
    assert!(matches!(weights.plain_mean(&[f64::NAN, 0.0]), Err(Error::NotANumber { index: 0, .. })));
    let huge = ImportanceWeights::from_log(vec![800.0, 800.0]).unwrap();
    assert!(matches!(huge.plain_mean(&[1.0, 1.0]), Err(Error::Invalid { .. })));
    assert!(matches!(weights.bootstrap_log_z(&Streams::new(1, 1)), Err(Error::Invalid { .. })));
    let bootstrap = weights.bootstrap_log_z(&Streams::new(1, 10)).unwrap();
    for level in [0.0, 1.0, -0.5, f64::NAN] {
        assert!(matches!(bootstrap.interval(level), Err(Error::Invalid { .. })), "{level}");
    }
    // One sample says nothing of its error.
    let one = ImportanceWeights::from_log(vec![0.5]).unwrap().bootstrap_log_z(&Streams::new(1, 10)).unwrap();
    assert_eq!((one.estimate.value, one.estimate.std_error), (0.5, f64::INFINITY));
}

/// Samples of Poisson(`rate`): values, and their log-probabilities.
fn poisson(rate: f64, seed: u64, n: usize) -> (Vec<u64>, Vec<f64>) {
    let drawn = Discrete(Poisson::new(rate).unwrap()).sample(&(), &Streams::new(seed, n)).unwrap();
    drawn.into_iter().map(|sample| (sample.value, sample.log_prob)).unzip()
}

fn log_probs(rate: f64, values: &[u64]) -> Vec<f64> {
    let values: Vec<&u64> = values.iter().collect();
    Discrete(Poisson::new(rate).unwrap()).log_probs(&(), &values).unwrap()
}

#[test]
fn an_accumulator_gives_the_estimates_of_the_whole_batch() {
    let (drawn, log_q) = poisson(10.0, 5, 5000);
    // A target far from normalised, and impossible on odd numbers.
    let mut log_p = log_probs(12.0, &drawn);
    for (log_p, value) in log_p.iter_mut().zip(&drawn) {
        *log_p = if value % 2 == 1 { f64::NEG_INFINITY } else { *log_p - 900.0 };
    }
    let values: Vec<f64> = drawn.iter().map(|value| 1e6 + *value as f64).collect();
    let whole = ImportanceWeights::new(&log_p, &log_q).unwrap();
    let mut parts = vec![ImportanceAccumulator::new(1); 7];
    for (i, log_weight) in whole.log_weights().iter().enumerate() {
        parts[i % 7].add(*log_weight, &values[i..=i]).unwrap();
    }
    let mut merged = ImportanceAccumulator::new(1);
    for part in &parts {
        merged.merge(part).unwrap();
    }
    assert_eq!(merged.count(), 5000);
    same(merged.log_z().unwrap(), whole.log_z(), 1e-12);
    // The values lie 1e6 standard deviations from zero: 1e-9 is what their own rounding leaves.
    same(merged.mean(0).unwrap(), whole.mean(&values).unwrap(), 1e-9);
    close(merged.largest_share().unwrap(), whole.largest_share(), 1e-12);
}

#[test]
fn accumulators_refuse_bad_samples_and_stay_as_they_were() {
    let mut accumulator = ImportanceAccumulator::new(2);
    assert!(matches!(accumulator.log_z(), Err(Error::Empty { .. })));
    accumulator.add(f64::NEG_INFINITY, &[f64::NAN, 0.0]).unwrap();
    assert!(matches!(accumulator.mean(0), Err(Error::ZeroWeights { count: 1 })));
    accumulator.add(-5.0, &[1.0, 2.0]).unwrap();
    let before = accumulator.clone();
    assert!(matches!(accumulator.add(0.0, &[1.0]), Err(Error::Length { .. })));
    assert!(matches!(accumulator.add(f64::NAN, &[1.0, 2.0]), Err(Error::NotANumber { index: 2, .. })));
    assert!(matches!(accumulator.add(f64::INFINITY, &[1.0, 2.0]), Err(Error::NotANumber { .. })));
    assert!(matches!(accumulator.add(0.0, &[1.0, f64::NAN]), Err(Error::NotANumber { .. })));
    assert!(matches!(accumulator.merge(&ImportanceAccumulator::new(1)), Err(Error::Length { .. })));
    assert!(matches!(accumulator.mean(2), Err(Error::Invalid { .. })));
    assert_eq!(accumulator, before);
    let saved = serde_json::to_string(&accumulator).unwrap();
    assert_eq!(serde_json::from_str::<ImportanceAccumulator>(&saved).unwrap(), accumulator);
}

#[test]
fn the_balance_heuristic_survives_bad_proposals() {
    // Each proposal misses one side of the target, where its own weights are giant.
    let ((low, low_q), (high, high_q)) = (poisson(5.0, 1, 2000), poisson(18.0, 2, 2000));
    let all = [low.as_slice(), high.as_slice()].concat();
    let log_p: Vec<f64> = log_probs(10.0, &all).iter().map(|log_p| log_p + 3.0).collect();
    let by_proposal = [log_probs(5.0, &all), log_probs(18.0, &all)];
    let slices: Vec<&[f64]> = by_proposal.iter().map(Vec::as_slice).collect();
    let balanced = ImportanceWeights::balanced(&log_p, &slices, &[2000, 2000]).unwrap();
    let pooled = ImportanceWeights::pooled(&[
        ImportanceWeights::new(&log_p[..2000], &low_q).unwrap(),
        ImportanceWeights::new(&log_p[2000..], &high_q).unwrap(),
    ])
    .unwrap();
    let z = balanced.log_z();
    assert!((z.value - 3.0).abs() < 4.0 * z.std_error, "{z:?}");
    let (balanced_ess, pooled_ess) = (balanced.ess(), pooled.ess());
    assert!(balanced_ess > 5.0 * pooled_ess, "{balanced_ess} {pooled_ess}");
    let values: Vec<f64> = all.iter().map(|value| *value as f64).collect();
    let mean = balanced.mean(&values).unwrap();
    assert!((mean.value - 10.0).abs() < 4.0 * mean.std_error, "{mean:?}");

    // With one proposal it is ordinary importance sampling.
    let alone = ImportanceWeights::balanced(&log_p[..2000], &[&low_q], &[2000]).unwrap();
    let plain = ImportanceWeights::new(&log_p[..2000], &low_q).unwrap();
    same(alone.log_z(), plain.log_z(), 1e-12);
}

#[test]
fn bad_batches_are_refused() {
    let q: &[f64] = &[-1.0, -1.0];
    let p = [0.0, 0.0];
    assert!(matches!(ImportanceWeights::balanced(&p, &[], &[]), Err(Error::Empty { .. })));
    assert!(matches!(ImportanceWeights::balanced(&p, &[q], &[1, 1]), Err(Error::Length { .. })));
    assert!(matches!(ImportanceWeights::balanced(&p, &[q, &q[..1]], &[1, 1]), Err(Error::Length { .. })));
    assert!(matches!(ImportanceWeights::balanced(&p, &[q, q], &[1, 2]), Err(Error::Invalid { .. })));
    let cannot: &[f64] = &[f64::NEG_INFINITY; 2];
    assert!(matches!(ImportanceWeights::balanced(&p, &[cannot], &[2]), Err(Error::NotANumber { .. })));
    assert!(matches!(ImportanceWeights::pooled([]), Err(Error::Empty { .. })));
}

#[test]
fn the_bootstrap_agrees_with_the_delta_method_where_both_hold() {
    // n = 4000, 2000 replicates: a standard error from 2000 replicates has a relative error of 1.6%;
    // six of those (two-sided alpha = 2e-9).
    let (drawn, log_q) = poisson(10.0, 3, 4000);
    let weights = ImportanceWeights::new(&log_probs(11.0, &drawn), &log_q).unwrap();
    let values: Vec<f64> = drawn.iter().map(|value| *value as f64).collect();
    let replicates = Streams::new(9, 2000);
    for (bootstrap, delta) in [
        (weights.bootstrap_log_z(&replicates).unwrap(), weights.log_z()),
        (weights.bootstrap_mean(&values, &replicates).unwrap(), weights.mean(&values).unwrap()),
    ] {
        assert_eq!(bootstrap.estimate.value, delta.value);
        let ratio = bootstrap.estimate.std_error / delta.std_error;
        assert!((ratio - 1.0).abs() < 0.1, "{ratio}");
        let (low, high) = bootstrap.interval(0.95).unwrap();
        close((high - low) / (2.0 * 1.96 * delta.std_error), 1.0, 0.1);
    }
}

#[test]
fn the_bootstrap_says_when_it_has_nothing_to_go_on() {
    let mut log_weights = vec![f64::NEG_INFINITY; 100];
    log_weights[3] = 0.0;
    let weights = ImportanceWeights::from_log(log_weights).unwrap();
    let replicates = Streams::new(1, 200);
    let log_z = weights.bootstrap_log_z(&replicates).unwrap();
    assert_eq!(log_z.estimate.std_error, f64::INFINITY);
    assert_eq!(log_z.interval(0.95).unwrap().0, f64::NEG_INFINITY);
    // One weight above zero has the same mean in every replicate: no error can be told.
    let mean = weights.bootstrap_mean(&[1.0; 100], &replicates).unwrap_err().to_string();
    assert_eq!(
        mean,
        "number of samples with weight above zero is 1; allowed: at least 2, for the bootstrap of a mean"
    );
}

#[test]
fn the_bootstrap_of_few_weights_above_zero_leaves_replicates_without_weight_out() {
    // Two weights of 1 among 20 samples, values 0 and 1. With K ~ Binomial(20, 1/10) hits, of which half are the one, the
    // mean of a replicate with hits has the variance E[1/(4K) | K > 0], summed here over K.
    let (n, hit) = (20, 0.1f64);
    let (mut sum, mut all, mut ways) = (0.0, 0.0, 1.0);
    for k in 1..=n {
        ways *= f64::from(n - k + 1) / f64::from(k);
        let probability = ways * hit.powi(k) * (1.0 - hit).powi(n - k);
        sum += probability / (4.0 * f64::from(k));
        all += probability;
    }
    let expected = (sum / all).sqrt();
    let mut log_weights = vec![f64::NEG_INFINITY; 20];
    (log_weights[3], log_weights[8]) = (0.0, 0.0);
    let mut values = [7.0; 20];
    (values[3], values[8]) = (0.0, 1.0);
    let weights = ImportanceWeights::from_log(log_weights).unwrap();
    let found = weights.bootstrap_mean(&values, &Streams::new(1, 20_000)).unwrap();
    assert_eq!((found.estimate.value, found.replicates().len()), (0.5, 20_000));
    // The standard deviation of 20,000 replicates has a relative error below 1%: five of those.
    close(found.estimate.std_error / expected, 1.0, 0.05);
}

#[test]
fn the_pareto_shape_is_that_of_the_reference() {
    #[derive(serde::Deserialize)]
    struct Row {
        n: usize,
        k: f64,
        khat: f64,
    }
    let rows: Vec<Row> = serde_json::from_str(include_str!("reference/pareto_shape.json")).unwrap();
    for Row { n, k, khat } in rows {
        let quantile = |i: usize| -k * (-(i as f64 + 0.5) / n as f64).ln_1p();
        // In an order that is not sorted, and far from scale 1.
        let log_weights = (0..n).map(|i| quantile(i * 7 % n) - 500.0).collect();
        let tail = ImportanceWeights::from_log(log_weights).unwrap().pareto_tail().unwrap();
        close(tail.k, khat, 1e-9);
        close(tail.threshold, (1.0 - 1.0 / (n as f64).log10()).min(0.7), 1e-14);
        assert_eq!(tail.is_reliable(), khat < tail.threshold);
    }
}

#[test]
fn the_pareto_shape_of_samples_is_near_the_truth() {
    // Weights of a unit exponential against one of rate r have a Pareto tail of shape 1 - 1/r.
    for (rate, seed) in [(1.5, 1), (4.0, 2)] {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let log_weights = (0..100_000).map(|_| {
            let x = -(-rng.random::<f64>()).ln_1p() / rate;
            -x + rate * x - f64::ln(rate)
        });
        let tail = ImportanceWeights::from_log(log_weights.collect()).unwrap().pareto_tail().unwrap();
        // 948 tail points: the standard error of k is near (1 + k) / sqrt(948), 0.06; four of those.
        assert!((tail.k - (1.0 - 1.0 / rate)).abs() < 0.24, "{tail:?}");
    }
}

#[test]
fn bounded_weights_over_few_outcomes_have_no_tail_to_fit() {
    let equal = ImportanceWeights::from_log(vec![1.0; 1000]).unwrap();
    assert_eq!(equal.pareto_tail(), None);
    let mostly_zero = (0..1000).map(|i| if i < 3 { 0.0 } else { f64::NEG_INFINITY }).collect();
    assert_eq!(ImportanceWeights::from_log(mostly_zero).unwrap().pareto_tail(), None);
}
