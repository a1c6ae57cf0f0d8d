//! An exponential function that loops over tensors can inline. The C library's function would be called for each element.

/// The least argument of [`exp`]: not far below it, the exponential is no longer a normal f32.
pub(crate) const LOWEST: f32 = -87.0;

/// `exp(x)` for `x` from -87 to 0.
///
/// With `n` the integer nearest to `x / ln 2`, `exp(x) = 2^n exp(x - n ln 2)`, and the second factor is its Taylor
/// polynomial of degree 6 (error 1.2e-7 at ln(2)/2).
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to an integer and leaves that integer in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 as the sum of two parts. The first has so few digits that multiplying it by n is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    let p = 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let p = p * r + 1.0;
    let p = p * r + 1.0;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    p * power
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A relative error of two units in the last place of f32, and one for the rounding of `x / ln 2`.
    const TOLERANCE: f64 = 3e-7;

    #[test]
    fn the_exponential_is_that_of_f64() {
        for step in 0..=870_000 {
            let x = -step as f32 * 1e-4;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(error < TOLERANCE, "exp({x}) is wrong by {error}");
        }
        assert_eq!(exp(0.0), 1.0);
    }
}
