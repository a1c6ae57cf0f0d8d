//! Sums at the speed of memory.

/// The number of partial sums that run side by side: enough to hide the latency of an addition, and to let the compiler
/// use vector instructions, which it may not do with one sum, because addition of floats is not associative.
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

/// Sums of weighted values `v`, with `d = v - origin`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WeightedSums {
    /// `sum w d`
    pub(crate) first: f64,
    /// `sum w^2 d`
    pub(crate) square_first: f64,
    /// `sum w^2 d^2`
    pub(crate) square_second: f64,
}

/// The least share of its terms that a difference of sums may be: then it has lost at most three of about 16 digits,
/// besides the rounding of so long a sum.
pub(crate) const KEPT: f64 = 1e-3;

impl WeightedSums {
    /// `sum w^2 (d - shift)^2`, given `squares = sum w^2`, and the sum of the sizes of the terms that it is made of:
    /// where they nearly cancel, values about a better origin have to be summed.
    pub(crate) fn squares_about(&self, shift: f64, squares: f64) -> (f64, f64) {
        let (cross, square) = (2.0 * shift * self.square_first, shift * shift * squares);
        (self.square_second - cross + square, self.square_second + cross.abs() + square)
    }
}

/// All three sums in one pass over two slices of one length.
pub(crate) fn weighted_sums(weights: &[f64], values: &[f64], origin: f64) -> WeightedSums {
    debug_assert_eq!(weights.len(), values.len());
    let mut lanes = [[0.0; LANES]; 3];
    let mut add = |lane: usize, weight: f64, value: f64| {
        let distance = value - origin;
        let term = weight * distance;
        lanes[0][lane] += term;
        lanes[1][lane] += weight * term;
        lanes[2][lane] += term * term;
    };
    let (weights, values) = (weights.chunks_exact(LANES), values.chunks_exact(LANES));
    for (lane, (weight, value)) in weights.remainder().iter().zip(values.remainder()).enumerate() {
        add(lane, *weight, *value);
    }
    for (weights, values) in weights.zip(values) {
        for lane in 0..LANES {
            add(lane, weights[lane], values[lane]);
        }
    }
    let [first, square_first, square_second] = lanes.map(|lanes| lanes.iter().sum());
    WeightedSums { first, square_first, square_second }
}
