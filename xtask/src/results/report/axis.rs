//! Linear axes: from values to positions on a chart.

/// A linear axis.
pub(super) struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    step: f64,
}

/// About how far ticks are from each other, in SVG units: labels are wider than high.
const BETWEEN_TICKS_ACROSS: f64 = 60.0;
const BETWEEN_TICKS_UP: f64 = 42.0;

impl Axis {
    /// An axis from the least to the largest finite value, at the positions `from` to `to`.
    pub(super) fn tight(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        Self::between(values, from, to, BETWEEN_TICKS_ACROSS)
    }

    /// As [`tight`](Self::tight), from 4 to 96 percent of a width that is not known, with about three ticks.
    pub(super) fn fluid(values: impl Iterator<Item = f64>) -> Self {
        const BETWEEN_TICKS: f64 = 45.0;
        Self::between(values, 4.0, 96.0, BETWEEN_TICKS)
    }

    /// As [`tight`](Self::tight) for a vertical axis, and widened to whole ticks.
    pub(super) fn round(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let tight = Self::between(values, from, to, BETWEEN_TICKS_UP);
        let (low, high) = ((tight.low / tight.step + 1e-9).floor(), (tight.high / tight.step - 1e-9).ceil());
        Self { low: low * tight.step, high: high * tight.step, ..tight }
    }

    /// This axis with ticks at least `step` apart.
    pub(super) fn with_least_step(self, step: f64) -> Self {
        Self { step: self.step.max(step), ..self }
    }

    fn between(values: impl Iterator<Item = f64>, from: f64, to: f64, distance: f64) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite()) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if low == high {
            (low, high) = (low - 0.5, high + 0.5);
        }
        let ticks = ((to - from).abs() / distance).max(1.0);
        Self { low, high, from, to, step: nice_step((high - low) / ticks) }
    }

    /// The position of `value`; values beyond the ends are at the ends.
    pub(super) fn position(&self, value: f64) -> f64 {
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        self.from + share * (self.to - self.from)
    }

    /// Round values within the axis.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let first = (self.low / self.step - 1e-9).ceil() as i64;
        let last = (self.high / self.step + 1e-9).floor() as i64;
        (first..=last).map(|tick| tick as f64 * self.step).collect()
    }
}

/// The least of 1, 2 and 5 times a power of ten that is not below `step`.
fn nice_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let nice = [1.0, 2.0, 5.0, 10.0].into_iter().find(|nice| nice * power >= step * (1.0 - 1e-9));
    nice.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_cover_the_values() {
        let axis = Axis::round([0.07, 0.52].into_iter(), 126.0, 0.0);
        let ticks = axis.ticks();
        let expected = [0.0, 0.2, 0.4, 0.6];
        assert_eq!(ticks.len(), expected.len(), "{ticks:?}");
        assert!(
            ticks.iter().zip(expected).all(|(tick, expected)| (tick - expected).abs() < 1e-12),
            "{ticks:?}"
        );
        assert_eq!(axis.position(0.0), 126.0);
        assert!(axis.position(0.6).abs() < 1e-9);
    }

    #[test]
    fn an_axis_exists_for_no_value_and_for_one() {
        assert_eq!(Axis::tight(std::iter::empty(), 0.0, 1.0).position(0.5), 0.5);
        assert_eq!(Axis::tight([3.0].into_iter(), 0.0, 1.0).position(3.0), 0.5);
        assert_eq!(Axis::tight([f64::NAN, 3.0].into_iter(), 0.0, 1.0).position(3.0), 0.5);
    }
}
