//! Line charts as inline SVG.

use std::fmt::Write;

use super::{axis::Axis, html::escape, labels::Label};
use crate::results::numbers::plain;

/// A line of points.
pub(super) struct Series {
    /// The label of the line.
    pub(super) name: String,
    /// The CSS class that colours it.
    pub(super) class: &'static str,
    /// The points that the line connects.
    pub(super) points: Vec<(f64, f64)>,
    /// Half the height of the band around each point; empty for no band.
    pub(super) errors: Vec<f64>,
}

/// A horizontal line across the chart.
pub(super) struct Rule {
    pub(super) y: f64,
    pub(super) name: String,
    pub(super) class: &'static str,
}

/// One point with a name.
pub(super) struct Mark {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) name: String,
    pub(super) class: &'static str,
}

/// A chart with labels at its lines instead of a legend.
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) x_label: &'static str,
    /// Ticks on the x axis are not nearer than this: 1 where only whole numbers have a meaning.
    pub(super) x_step: f64,
    pub(super) y_label: &'static str,
    pub(super) series: Vec<Series>,
    pub(super) rules: Vec<Rule>,
    pub(super) marks: Vec<Mark>,
    /// Width and height in SVG units, of which there are about as many as pixels.
    pub(super) size: (f64, f64),
    /// The limits of possible values; bands end there.
    pub(super) y_bounds: (f64, f64),
    /// Values that the y axis includes, whatever the data.
    pub(super) y_includes: Vec<f64>,
}

/// Space around the plot: for tick labels to the left, for line labels to the right.
pub(super) const LEFT: f64 = 46.0;
const RIGHT: f64 = 80.0;
const RIGHT_WITHOUT_LABELS: f64 = 12.0;
pub(super) const TOP: f64 = 30.0;
pub(super) const BOTTOM: f64 = 38.0;
/// Labels nearer than this overlap.
const LABEL_HEIGHT: f64 = 14.0;

impl Chart {
    /// The right end of the plot.
    pub(super) fn right(&self) -> f64 {
        let named = self.series.iter().any(|series| !series.name.is_empty()) || !self.rules.is_empty();
        self.size.0 - if named { RIGHT } else { RIGHT_WITHOUT_LABELS }
    }

    /// The chart as an SVG element.
    pub(super) fn svg(&self) -> String {
        let (width, height) = self.size;
        let points = || self.series.iter().flat_map(|series| &series.points);
        let marks = || self.marks.iter().map(|mark| (mark.x, mark.y));
        let xs = points().map(|point| point.0).chain(marks().map(|mark| mark.0));
        let bands = self.series.iter().flat_map(|series| {
            series
                .points
                .iter()
                .zip(&series.errors)
                .flat_map(|(point, error)| [point.1 - error, point.1 + error])
        });
        let ys = points().map(|point| point.1).chain(marks().map(|mark| mark.1)).chain(bands);
        let ys = ys.chain(self.rules.iter().map(|rule| rule.y)).chain(self.y_includes.iter().copied());
        let ys = ys.map(|value| value.clamp(self.y_bounds.0, self.y_bounds.1));
        let x = Axis::tight(xs, LEFT, self.right()).with_least_step(self.x_step);
        let y = Axis::round(ys, height - BOTTOM, TOP);

        let mut svg = String::new();
        let title = escape(&self.title);
        let _ = write!(
            svg,
            r#"<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{title}">"#
        );
        self.draw_axes(&mut svg, &x, &y);
        for rule in &self.rules {
            let (x1, x2, at) = (LEFT, self.right(), y.position(rule.y));
            let _ = write!(
                svg,
                r#"<line class="rule {}" x1="{x1}" x2="{x2}" y1="{at:.1}" y2="{at:.1}"/>"#,
                rule.class
            );
        }
        for series in &self.series {
            draw_series(&mut svg, series, &x, &y);
        }
        for Mark { x: at, y: height, name, class } in &self.marks {
            let (cx, cy) = (x.position(*at), y.position(*height));
            let name = escape(name);
            let _ = write!(
                svg,
                r#"<circle class="mark {class}" cx="{cx:.1}" cy="{cy:.1}" r="4"><title>{name}</title></circle>"#
            );
        }
        self.draw_labels(&mut svg, &x, &y);
        svg.push_str("</svg>");
        svg
    }

    fn draw_axes(&self, svg: &mut String, x: &Axis, y: &Axis) {
        let height = self.size.1;
        let (right, base) = (self.right(), height - BOTTOM);
        for tick in y.ticks() {
            let at = y.position(tick);
            let label = plain_tick(tick);
            let _ = write!(svg, r#"<line class="grid" x1="{LEFT}" x2="{right}" y1="{at:.1}" y2="{at:.1}"/>"#);
            let _ = write!(
                svg,
                r#"<text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{label}</text>"#,
                LEFT - 7.0,
                at + 4.0
            );
        }
        for tick in x.ticks() {
            let at = x.position(tick);
            let label = plain_tick(tick);
            let _ = write!(
                svg,
                r#"<text class="tick" x="{at:.1}" y="{:.1}" text-anchor="middle">{label}</text>"#,
                base + 16.0
            );
        }
        let _ = write!(svg, r#"<line class="axis" x1="{LEFT}" x2="{right}" y1="{base}" y2="{base}"/>"#);
        let _ = write!(
            svg,
            r#"<text class="label" x="{right}" y="{:.1}" text-anchor="end">{}</text>"#,
            height - 5.0,
            escape(self.x_label)
        );
        let _ = write!(svg, r#"<text class="label" x="0" y="12">{}</text>"#, escape(self.y_label));
    }

    /// Names at the right end of lines and rules, and beside marks, moved apart where they would overlap.
    fn draw_labels(&self, svg: &mut String, x: &Axis, y: &Axis) {
        let height = self.size.1;
        let ends = self.series.iter().filter_map(|series| {
            let last = series.points.iter().rev().find(|point| point.1.is_finite())?;
            Some((y.position(last.1), series.name.as_str(), series.class))
        });
        let rules = self.rules.iter().map(|rule| (y.position(rule.y), rule.name.as_str(), rule.class));
        let mut labels: Vec<_> = ends.chain(rules).filter(|label| !label.1.is_empty()).collect();
        labels.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut places: Vec<f64> = labels.iter().map(|label| label.0).collect();
        spread(&mut places, TOP, height - BOTTOM);
        for ((_, name, class), at) in labels.iter().zip(places) {
            let left = self.right() + 8.0;
            let _ = write!(
                svg,
                r#"<text class="name {class}" x="{left}" y="{:.1}">{}</text>"#,
                at + 4.0,
                escape(name)
            );
        }
        for mark in &self.marks {
            let Label { x, y, anchor } = self.label_of(mark, x, y);
            let _ = write!(
                svg,
                r#"<text class="name {}" x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{}</text>"#,
                mark.class,
                escape(&mark.name)
            );
        }
    }
}

fn draw_series(svg: &mut String, series: &Series, x: &Axis, y: &Axis) {
    let place = |(at, value): (f64, f64)| format!("{:.1},{:.1}", x.position(at), y.position(value));
    let finite = |point: &&(f64, f64)| point.1.is_finite();
    let with_errors = series
        .points
        .iter()
        .zip(&series.errors)
        .filter(|(point, error)| point.1.is_finite() && error.is_finite());
    let above = with_errors.clone().map(|(point, error)| place((point.0, point.1 + error)));
    let below = with_errors.map(|(point, error)| place((point.0, point.1 - error)));
    let outline: Vec<String> = above.chain(below.rev()).collect();
    if !outline.is_empty() {
        let _ = write!(svg, r#"<polygon class="band {}" points="{}"/>"#, series.class, outline.join(" "));
    }
    let line: Vec<String> = series.points.iter().filter(finite).copied().map(place).collect();
    let _ = write!(svg, r#"<polyline class="line {}" points="{}"/>"#, series.class, line.join(" "));
}

/// Moves sorted places apart until no two are nearer than a label's height, within limits as far as they fit.
fn spread(places: &mut [f64], low: f64, high: f64) {
    let mut least = low;
    for place in places.iter_mut() {
        *place = place.max(least);
        least = *place + LABEL_HEIGHT;
    }
    let mut most = high;
    for place in places.iter_mut().rev() {
        *place = place.min(most);
        most = *place - LABEL_HEIGHT;
    }
}

/// A tick without needless zeros.
pub(super) fn plain_tick(tick: f64) -> String {
    let text = plain(tick);
    if text.contains('.') && !text.contains('e') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_moved_apart_within_their_limits() {
        let mut places = [10.0, 11.0, 12.0];
        spread(&mut places, 0.0, 100.0);
        assert_eq!(places, [10.0, 24.0, 38.0]);
        let mut places = [98.0, 99.0];
        spread(&mut places, 0.0, 100.0);
        assert_eq!(places, [86.0, 100.0]);
    }

    #[test]
    fn values_that_are_not_finite_are_left_out() {
        let series = Series {
            name: "line".into(),
            class: "tuned",
            points: vec![(1.0, f64::INFINITY), (2.0, 0.5), (3.0, f64::NAN)],
            errors: vec![f64::INFINITY, 0.1, 0.1],
        };
        let chart = Chart {
            title: "a < b".into(),
            x_label: "x",
            x_step: 0.0,
            y_label: "y",
            series: vec![series],
            rules: Vec::new(),
            marks: Vec::new(),
            size: (400.0, 200.0),
            y_bounds: (0.0, f64::INFINITY),
            y_includes: vec![0.0],
        };
        let svg = chart.svg();
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert!(svg.contains("a &lt; b"));
    }
}
