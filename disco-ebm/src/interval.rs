//! Intervals of skewed estimates.

use disco_core::Estimate;

/// The two-sided interval of `z` standard errors, corrected for the skewness `g` of the estimate by Hall's
/// transformation (1992, *On the removal of skewness by transformation*): if `t`, the distance of the estimate
/// above the truth in standard errors, has the skewness of a studentised mean, then `t + g t^2 / 3 + g^2 t^3 / 27 +
/// g / 6` has no skewness to first order.
///
/// The cubic is `((1 + g t / 3)^3 - 1) / g + g / 6`, which grows with `t`, and is inverted at `-z` and `z`. At `g = 0`
/// this is [`Estimate::interval`].
pub(crate) fn skewed_interval(estimate: Estimate, skewness: Option<f64>, z: f64) -> (f64, f64) {
    let g = skewness.unwrap_or(0.0);
    let inverse = |y: f64| {
        // 3 (root - 1) / g, without the difference and the quotient of small numbers.
        let root = (1.0 + g * (y - g / 6.0)).cbrt();
        3.0 * (y - g / 6.0) / (root * root + root + 1.0)
    };
    (estimate.value - inverse(z) * estimate.std_error, estimate.value - inverse(-z) * estimate.std_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transformation_is_inverted() {
        let estimate = Estimate { value: 2.0, std_error: 0.5, ess: 100.0 };
        for g in [-3.0, -0.3, -1e-9, 1e-9, 0.3, 3.0] {
            let (low, high) = skewed_interval(estimate, Some(g), 1.96);
            assert!(low < high);
            for (end, y) in [(low, 1.96), (high, -1.96)] {
                let t = (estimate.value - end) / estimate.std_error;
                let transformed = t + g * t * t / 3.0 + g * g * t * t * t / 27.0 + g / 6.0;
                assert!((transformed - y).abs() < 1e-9, "{g}: {transformed} {y}");
            }
            // The long tail of the samples is where the truth may be.
            assert_eq!(high - estimate.value > estimate.value - low, g > 0.0);
        }
        let close = |g| {
            let ((low, high), plain) = (skewed_interval(estimate, g, 1.96), estimate.interval(1.96));
            (low - plain.0).abs() < 1e-12 && (high - plain.1).abs() < 1e-12
        };
        assert!(close(None) && close(Some(0.0)) && close(Some(1e-13)));
    }
}
