//! Exact: means and their errors keep their digits where values are far from zero, hardly vary, or begin where they
//! do not go on. The reference is the formula itself, in two passes about a mean that is itself corrected.

use disco_core::{Error, Estimate, ImportanceAccumulator, ImportanceWeights};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

/// The rounding of the values themselves in `f64`, and of 10,000 additions.
const ROUNDING: f64 = 1e-12;

/// Log-weights and values of 10,000 samples.
type Samples = (Vec<f64>, Vec<f64>);

fn samples(mut sample: impl FnMut(usize, f64, f64) -> (f64, f64)) -> Samples {
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    (0..10_000).map(|i| sample(i, rng.random(), rng.random())).unzip()
}

/// Each hard for sums about zero, or about the first values.
fn cases() -> Vec<(&'static str, Samples)> {
    let never = f64::NEG_INFINITY;
    vec![
        ("far from zero", samples(|_, a, b| (3.0 * a, 1e9 + b))),
        ("far from zero, and the first without weight", {
            samples(|i, a, b| (if i < 300 { never } else { 3.0 * a }, 1e9 + b))
        }),
        ("hardly any variance", samples(|_, a, b| (a, 3.0 + 1e-9 * b))),
        ("huge weights", samples(|_, a, b| (1e4 + 600.0 * a, 1e9 + b))),
        ("the first are elsewhere", samples(|i, a, b| (a, if i < 300 { -1e7 } else { 1e7 } + b))),
        ("the first are elsewhere, and weigh nothing in the end", {
            samples(|i, a, b| if i < 1024 { (a - 200.0, 1e12 + b) } else { (a, b) })
        }),
        ("the largest weight comes late, and elsewhere", {
            samples(|i, a, b| if i < 5000 { (a, 1e6 + b) } else { (a + 100.0, -1e6 - b) })
        }),
        ("values that go up", samples(|i, a, b| (a, i as f64 + b))),
        ("a single weight", samples(|i, _, b| (if i == 7777 { 0.0 } else { never }, 1e9 + b))),
    ]
}

/// The self-normalised mean and `sum W^2 (v - mean)^2`, straight from the formulas.
fn two_passes(weights: &ImportanceWeights, values: &[f64]) -> (f64, f64) {
    let pairs = || weights.normalised().iter().zip(values).filter(|(weight, _)| **weight > 0.0);
    let rough: f64 = pairs().map(|(weight, value)| weight * value).sum();
    let mean = rough + pairs().map(|(weight, value)| weight * (value - rough)).sum::<f64>();
    (mean, pairs().map(|(weight, value)| (weight * (value - mean)).powi(2)).sum())
}

#[track_caller]
fn same(name: &str, found: Estimate, mean: f64, std_error: f64) {
    // An error can be known to what rounding the values left of them.
    let digits = ROUNDING * mean.abs();
    assert!((found.value - mean).abs() <= digits + ROUNDING, "{name}: {found:?}, expected {mean}");
    let off = (found.std_error - std_error).abs();
    assert!(off <= 1e-9 * std_error + 1e-6 * digits, "{name}: {found:?}, expected {std_error}");
}

#[test]
fn means_in_one_pass_are_those_of_two() {
    for (name, (log_weights, values)) in cases() {
        let weights = ImportanceWeights::from_log(log_weights).unwrap();
        let (mean, squares) = two_passes(&weights, &values);
        same(name, weights.mean(&values).unwrap(), mean, (squares * 10_000.0 / 9_999.0).sqrt());
    }
}

#[test]
fn plain_means_in_one_pass_are_those_of_two() {
    for (name, (log_weights, values)) in cases() {
        // Normalised so that plain means can be told.
        let log_z = ImportanceWeights::from_log(log_weights.clone()).unwrap().log_z().value;
        let log_weights = log_weights.iter().map(|log_weight| log_weight - log_z).collect();
        let weights = ImportanceWeights::from_log(log_weights).unwrap();
        let terms: Vec<f64> =
            weights.log_weights().iter().zip(&values).map(|(log_weight, v)| log_weight.exp() * v).collect();
        let expected = Estimate::mean(&terms);
        same(name, weights.plain_mean(&values).unwrap(), expected.value, expected.std_error);
    }
}

#[test]
fn an_accumulator_does_not_depend_on_what_comes_first() {
    for (name, (log_weights, values)) in cases() {
        let mut whole = ImportanceAccumulator::new(1);
        let mut parts = vec![ImportanceAccumulator::new(1); 7];
        for (i, (log_weight, value)) in log_weights.iter().zip(&values).enumerate() {
            whole.add(*log_weight, &[*value]).unwrap();
            parts[i / 1500].add(*log_weight, &[*value]).unwrap();
        }
        let mut merged = ImportanceAccumulator::new(1);
        parts.iter().for_each(|part| merged.merge(part).unwrap());
        let weights = ImportanceWeights::from_log(log_weights).unwrap();
        let (mean, squares) = two_passes(&weights, &values);
        let std_error = (squares * 10_000.0 / 9_999.0).sqrt();
        same(name, whole.mean(0).unwrap(), mean, std_error);
        same(&format!("{name}, merged"), merged.mean(0).unwrap(), mean, std_error);
    }
}

#[test]
fn equal_values_have_no_error_and_equal_terms_hardly_any() {
    let log_weights: Vec<f64> = (0..1000).map(|i| f64::from(i % 11)).collect();
    let weights = ImportanceWeights::from_log(log_weights).unwrap();
    let mean = weights.mean(&[1e9 / 3.0; 1000]).unwrap();
    assert!((mean.value - 1e9 / 3.0).abs() < 1e-6 && mean.std_error < 1e-8, "{mean:?}");
    let equal = ImportanceWeights::from_log(vec![0.0; 1000]).unwrap();
    let plain = equal.plain_mean(&[1e9 / 3.0; 1000]).unwrap();
    assert!((plain.value - 1e9 / 3.0).abs() < 1e-6 && plain.std_error < 1e-8, "{plain:?}");
}

#[test]
fn what_has_no_weight_is_not_looked_at_and_what_has_must_be_finite() {
    let never = f64::NEG_INFINITY;
    let log_weights: Vec<f64> = (0..1000).map(|i| if i < 300 { never } else { f64::from(i % 7) }).collect();
    let weights = ImportanceWeights::from_log(log_weights).unwrap();
    let mut values: Vec<f64> = (0..1000).map(|i| 1e9 + f64::from(i % 13)).collect();
    let (mean, squares) = two_passes(&weights, &values);
    values[..300].fill(f64::NAN);
    same("NaN without weight", weights.mean(&values).unwrap(), mean, (squares * 1000.0 / 999.0).sqrt());
    assert!(weights.plain_mean(&values).unwrap().std_error.is_finite());
    values[600] = f64::INFINITY;
    for found in [weights.mean(&values), weights.plain_mean(&values)] {
        assert!(matches!(found, Err(Error::NotANumber { index: 600, .. })), "{found:?}");
    }
}
