//! Small worlds in which every sum can be written out.

use disco_core::{Scorer, Space, feature, numerics::log_sum_exp, scorer};
use disco_ebm::Constraint;

/// A number in (0, 1) for any three numbers (SplitMix64).
pub(crate) fn noise(a: u64, b: u64, c: u64) -> f64 {
    let mut z = a
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add(b.wrapping_mul(0xBF58_476D_1CE4_E5B9))
        .wrapping_add(c.wrapping_mul(0x94D0_49BB_1331_11EB));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64 + 1e-17
}

/// `ln a(x|c)` of outcomes `0..outcomes`: random numbers, normalised in each context.
pub(crate) fn log_base(seed: u64, outcomes: usize, context: usize) -> Vec<f64> {
    let raw: Vec<f64> =
        (0..outcomes).map(|x| 3.0 * noise(seed, context as u64 + 1, x as u64 + 100)).collect();
    let log_z = log_sum_exp(&raw);
    raw.into_iter().map(|score| score - log_z).collect()
}

pub(crate) fn base(seed: u64, outcomes: usize) -> impl Scorer<usize, usize> {
    scorer(move |context: &usize, x: &usize| log_base(seed, outcomes, *context)[*x])
}

pub(crate) fn space(outcomes: usize) -> Space<usize> {
    Space::new(0..outcomes).expect("distinct")
}

/// A feature of random values, which depend on the context too.
pub(crate) fn value(name: u64, context: usize, x: usize) -> f64 {
    4.0 * noise(1000 + name, context as u64, x as u64) - 1.0
}

/// A binary feature that does not depend on the context.
pub(crate) fn bit(name: u64, x: usize) -> f64 {
    f64::from(u8::from(noise(2000 + name, 7, x as u64) < 0.5))
}

pub(crate) fn values(name: u64) -> impl disco_core::Feature<usize, usize> {
    feature(format!("value {name}"), move |context: &usize, x: &usize| value(name, *context, *x))
}

pub(crate) fn bits(name: u64) -> impl disco_core::Feature<usize, usize> {
    feature(format!("bit {name}"), move |_: &usize, x: &usize| bit(name, *x))
}

pub(crate) fn moment(
    feature: impl disco_core::Feature<usize, usize> + 'static,
    target: f64,
) -> Constraint<usize, usize> {
    Constraint::moment(feature, target).expect("finite")
}

/// The mean of `f` under weights given by their logarithms.
pub(crate) fn mean(log_weights: &[f64], f: impl Fn(usize) -> f64) -> f64 {
    let log_z = log_sum_exp(log_weights);
    log_weights.iter().enumerate().map(|(x, weight)| (weight - log_z).exp() * f(x)).sum()
}

/// The zero of an increasing function, by bisection to the last bit.
pub(crate) fn bisect(increasing: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (-200.0f64, 200.0f64);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if increasing(middle) < 0.0 { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}
