//! Bisection down to neighbouring numbers.

/// The most halvings: rounding stops the bisection of an interval of `ln beta` far earlier.
const STEPS: usize = 200;

/// The two neighbours between which `holds` turns false: it holds at the first, and not at the second unless
/// that is `high`.
pub(crate) fn bisect(low: f64, high: f64, holds: impl Fn(f64) -> bool) -> (f64, f64) {
    let (mut low, mut high) = (low, high);
    for _ in 0..STEPS {
        let middle = low + 0.5 * (high - low);
        if middle <= low || middle >= high {
            break;
        }
        if holds(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low, high)
}
