//! Sums of numbers whose weights are known by their logarithms.

/// Terms may exceed the unit by `e` to this power before the unit is raised: far from overflow, and rare.
const HEADROOM: f64 = 16.0;

/// Sums of `exp(log_weight) values`, in units of `exp(unit)` near the largest weight so far, so that they neither
/// over- nor underflow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scaled<const N: usize> {
    pub(crate) unit: f64,
    pub(crate) sums: [f64; N],
    /// The power of the weight that each sum has.
    powers: [i32; N],
}

impl<const N: usize> Scaled<N> {
    /// No terms yet; sum `i` will be one of `exp(powers[i] log_weight) values[i]`, in units of
    /// `exp(powers[i] unit)`.
    pub(crate) fn new(powers: [i32; N]) -> Self {
        Self { unit: f64::NEG_INFINITY, sums: [0.0; N], powers }
    }

    pub(crate) fn add(&mut self, log_weight: f64, values: [f64; N]) {
        if log_weight > self.unit + HEADROOM || self.unit == f64::NEG_INFINITY {
            let shrink = (self.unit - log_weight).exp();
            for (sum, power) in self.sums.iter_mut().zip(self.powers) {
                *sum *= shrink.powi(power);
            }
            self.unit = log_weight;
        }
        let weight = (log_weight - self.unit).exp();
        for ((sum, value), power) in self.sums.iter_mut().zip(values).zip(self.powers) {
            *sum += if power == 1 { weight } else { weight * weight } * value;
        }
    }
}

/// `ln sum_{i <= k} exp(terms_i)` for each `k`.
pub(crate) fn log_running_sums(terms: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sum = Scaled::new([1]);
    let log_sum = |term| {
        sum.add(term, [1.0]);
        sum.unit + sum.sums[0].ln()
    };
    terms.map(log_sum).collect()
}

/// `ln sum_{i >= k} exp(terms_i)` for each `k`, and `-inf` at the end.
pub(crate) fn log_sums_from(terms: impl DoubleEndedIterator<Item = f64>) -> Vec<f64> {
    let mut sums = log_running_sums(terms.rev());
    sums.reverse();
    sums.push(f64::NEG_INFINITY);
    sums
}

/// A difference that rounding may leave just below zero. NaN stays NaN.
pub(crate) fn not_negative(value: f64) -> f64 {
    if value < 0.0 { 0.0 } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_neither_over_nor_underflow() {
        let found = log_running_sums([-900.0, -900.0, 800.0, -5.0, 810.0, 835.0].into_iter());
        let expected = [
            -900.0,
            -900.0 + 2f64.ln(),
            800.0,
            800.0,
            810.0 + (-10f64).exp().ln_1p(),
            835.0 + ((-25f64).exp() * (1.0 + (-10f64).exp())).ln_1p(),
        ];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        let from = log_sums_from([800.0, -900.0, -900.0].into_iter());
        assert_eq!(from.len(), 4);
        assert!((from[0] - 800.0).abs() < 1e-12 && (from[1] - found[1]).abs() < 1e-12);
        assert_eq!(from[3], f64::NEG_INFINITY);
    }

    #[test]
    fn sums_of_squares_have_the_unit_squared() {
        let mut sums = Scaled::new([1, 2]);
        for (log_weight, value) in [(0.0, 3.0), (40.0, 2.0), (39.0, 5.0)] {
            sums.add(log_weight, [value, value]);
        }
        let expected = [2.0 + 5.0 / 1f64.exp(), 2.0 + 5.0 / 2f64.exp()];
        assert_eq!(sums.unit, 40.0);
        assert!(sums.sums.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-14));
    }

    #[test]
    fn nan_is_no_rounding() {
        assert_eq!((not_negative(-1e-20), not_negative(2.0)), (0.0, 2.0));
        assert!(not_negative(f64::NAN).is_nan());
    }
}
