//! Sums at the speed of memory.

/// How many partial sums run side by side: enough to hide the latency of an addition, and so that the
/// compiler can use vector instructions, which it may not do with one sum, because addition of floats is not
/// associative.
const LANES: usize = 16;

/// `sum_i term(a_i)`.
pub(crate) fn sum_of(values: &[f64], term: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0.0; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest: f64 = chunks.remainder().iter().map(|value| term(*value)).sum();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += term(*value);
        }
    }
    lanes.iter().sum::<f64>() + rest
}

/// `sum_i term(a_i, b_i)` over two slices of one length.
pub(crate) fn sum_of_pairs(one: &[f64], two: &[f64], term: impl Fn(f64, f64) -> f64) -> f64 {
    debug_assert_eq!(one.len(), two.len());
    let mut lanes = [0.0; LANES];
    let (ones, twos) = (one.chunks_exact(LANES), two.chunks_exact(LANES));
    let rest: f64 = ones.remainder().iter().zip(twos.remainder()).map(|(a, b)| term(*a, *b)).sum();
    for (ones, twos) in ones.zip(twos) {
        for ((lane, a), b) in lanes.iter_mut().zip(ones).zip(twos) {
            *lane += term(*a, *b);
        }
    }
    lanes.iter().sum::<f64>() + rest
}
