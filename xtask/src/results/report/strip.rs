//! A strip: the means of one measure at each stage as points on a line.

use std::fmt::Write;

use disco_core::Estimate;

use super::{axis::Axis, html::escape};
use crate::results::rows::AskedRange;

/// The class and the height of each stage. Each has a lane of its own, so that no point hides another.
const LANES: [(&str, f64); 3] = [("base", 6.0), ("tuned", 15.0), ("qrs", 24.0)];
/// The ends of a line.
const ENDS: (f64, f64) = (6.0, 194.0);

/// One measure under the base, tuned and by QRS, with what was asked.
pub(super) struct Strip<'a> {
    pub(super) name: &'a str,
    pub(super) stages: [Option<Estimate>; 3],
    pub(super) asked: Option<AskedRange>,
    /// Whether the values of the measure are 0 and 1.
    pub(super) is_binary: bool,
}

impl Strip<'_> {
    /// The strip as SVG, with whiskers of two standard errors either way.
    pub(super) fn svg(&self) -> String {
        let axis = self.axis();
        let mut svg = format!(
            r#"<svg class="strip" viewBox="0 0 200 30" role="img" aria-label="{}: base, asked, tuned, QRS">"#,
            escape(self.name)
        );
        for asked in self.asked.into_iter().flat_map(AskedRange::ends) {
            let at = axis.position(asked);
            let _ = write!(svg, r#"<line class="rule asked" x1="{at:.1}" x2="{at:.1}" y1="0" y2="30"/>"#);
        }
        for (estimate, (class, y)) in self.stages.iter().zip(LANES) {
            let Some(estimate) = estimate else { continue };
            let (left, right) = ENDS;
            let _ = write!(svg, r#"<line class="axis" x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>"#);
            if estimate.std_error.is_finite() {
                let [low, high] = whisker(estimate).map(|end| axis.position(end));
                let _ = write!(
                    svg,
                    r#"<line class="whisker {class}" x1="{low:.1}" x2="{high:.1}" y1="{y}" y2="{y}"/>"#
                );
            }
            let x = axis.position(estimate.value);
            let _ = write!(svg, r#"<circle class="mark {class}" cx="{x:.1}" cy="{y}" r="3.4"/>"#);
        }
        svg + "</svg>"
    }

    /// Shares are between 0 and 1, whatever their errors; other means are shown as far as the whiskers reach.
    fn axis(&self) -> Axis {
        let (left, right) = ENDS;
        if self.is_binary {
            return Axis::tight([0.0, 1.0].into_iter(), left, right);
        }
        let reached = self.stages.iter().flatten().flat_map(whisker);
        Axis::tight(reached.chain(self.asked.into_iter().flat_map(AskedRange::ends)), left, right)
    }
}

fn whisker(estimate: &Estimate) -> [f64; 2] {
    [-2.0, 2.0].map(|errors| estimate.value + errors * estimate.std_error)
}
