//! The place of a name beside its mark on a [`Chart`]: one that lies on no line.

use super::{
    axis::Axis,
    chart::{BOTTOM, Chart, LEFT, Mark, Series, TOP},
};

/// About the width of a character of a label.
const CHARACTER: f64 = 7.2;

/// The place of a text.
pub(super) struct Label {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) anchor: &'static str,
}

/// Whether a line goes through a box, whose ends are in SVG units.
fn crosses(series: &Series, x: &Axis, y: &Axis, across: [f64; 2], up: [f64; 2]) -> bool {
    let place = |point: &(f64, f64)| (x.position(point.0), y.position(point.1));
    let points: Vec<(f64, f64)> =
        series.points.iter().filter(|point| point.1.is_finite()).map(place).collect();
    // A point at least every unit of the line.
    let is_in = |(x, y): (f64, f64)| (across[0]..=across[1]).contains(&x) && (up[0]..=up[1]).contains(&y);
    let segment = |pair: &[(f64, f64)]| {
        let (from, to) = (pair[0], pair[1]);
        let steps = (to.0 - from.0).hypot(to.1 - from.1).ceil().max(1.0) as usize;
        (0..=steps).any(|step| {
            let share = step as f64 / steps as f64;
            is_in((from.0 + share * (to.0 - from.0), from.1 + share * (to.1 - from.1)))
        })
    };
    points.windows(2).any(segment)
}

impl Chart {
    /// A place beside a mark where its name lies on no line, if there is one.
    pub(super) fn label_of(&self, mark: &Mark, x: &Axis, y: &Axis) -> Label {
        let (cx, cy) = (x.position(mark.x), y.position(mark.y));
        let width = CHARACTER * mark.name.chars().count() as f64;
        let beside = [(-9.0, "end"), (9.0, "start")];
        // Near the mark first, then farther above and below it.
        let heights = (0..8).flat_map(|step| [-7.0 - 12.0 * f64::from(step), 17.0 + 12.0 * f64::from(step)]);
        let places =
            heights.flat_map(|dy| beside.map(|(dx, anchor)| Label { x: cx + dx, y: cy + dy, anchor }));
        let is_free = |label: &Label| {
            let left = if label.anchor == "end" { label.x - width } else { label.x };
            let (top, bottom) = (label.y - 12.0, label.y + 4.0);
            let is_inside =
                left >= LEFT && left + width <= self.right() && top >= TOP && bottom <= self.size.1 - BOTTOM;
            is_inside
                && !self
                    .series
                    .iter()
                    .any(|series| crosses(series, x, y, [left, left + width], [top, bottom]))
        };
        let first = Label { x: cx + 9.0, y: cy - 7.0, anchor: "start" };
        places.into_iter().find(is_free).unwrap_or(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_mark_lies_on_no_line() {
        for at in 0..=20 {
            let points: Vec<(f64, f64)> = (0..=20).map(|x| (f64::from(x), f64::from(x * x))).collect();
            let (x, y) = points[at];
            let chart = Chart {
                title: String::new(),
                x_label: "x",
                x_step: 0.0,
                y_label: "y",
                series: vec![Series { name: String::new(), class: "qrs", points, errors: Vec::new() }],
                rules: Vec::new(),
                marks: vec![Mark { x, y, name: "ln β = −34.91".into(), class: "qrs" }],
                size: (430.0, 240.0),
                y_bounds: (0.0, f64::INFINITY),
                y_includes: Vec::new(),
            };
            let (x, y) = (
                Axis::tight([0.0, 20.0].into_iter(), LEFT, chart.right()),
                Axis::round([0.0, 400.0].into_iter(), 202.0, TOP),
            );
            let label = chart.label_of(&chart.marks[0], &x, &y);
            let left = if label.anchor == "end" { label.x - 80.0 } else { label.x };
            let on_line =
                crosses(&chart.series[0], &x, &y, [left, left + 80.0], [label.y - 10.0, label.y + 2.0]);
            assert!(!on_line && left >= LEFT && left + 80.0 <= chart.right(), "{at}: {left} {}", label.y);
        }
    }
}
