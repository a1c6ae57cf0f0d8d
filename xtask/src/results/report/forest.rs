//! A forest plot: a panel for each measure, with a lane for each stage or run that shows its mean and its 95% interval.
//!
//! Positions are shares of the width, and all words are HTML, so that a panel is as readable on a phone as on a large screen.

use std::fmt::Write;

use disco_core::Estimate;

use super::{
    axis::Axis,
    chart::plain_tick,
    html::{asked_in_words, escape, shown},
};
use crate::results::{
    numbers::{Shown, interval},
    rows::{AskedRange, FeatureRow},
};

/// One mean.
pub(super) struct Lane {
    /// The class that colours it.
    pub(super) class: &'static str,
    /// Its label, as HTML.
    pub(super) label: String,
    pub(super) mean: Estimate,
    pub(super) words: Shown,
}

/// The means of one measure.
pub(super) struct Panel<'a> {
    pub(super) name: &'a str,
    pub(super) asked: Option<AskedRange>,
    /// Whether the values of the measure are 0 and 1.
    pub(super) is_binary: bool,
    pub(super) lanes: Vec<Lane>,
}

impl<'a> Panel<'a> {
    /// A measure at each stage that there was.
    pub(super) fn of_stages(row: &'a FeatureRow, is_tuned: bool) -> Self {
        let fitted = row.fitted.map(|fitted| fitted.fitted).filter(|fitted| !fitted.value.is_nan());
        let stages = [
            ("base", "base", row.base.map(|mean| (mean, row.words(&mean)))),
            ("target", "target", fitted.map(|mean| (row.of_target(mean), row.words_of_target(&mean)))),
            (
                "tuned",
                if is_tuned { "tuned" } else { "policy" },
                row.tuned.map(|mean| (mean, row.words(&mean))),
            ),
            ("qrs", "QRS", row.qrs.map(|mean| (row.of_target(mean), row.words_of_target(&mean)))),
        ];
        let lane = |(class, label, stage): (&'static str, &str, Option<(Estimate, Shown)>)| {
            let (mean, words) = stage?;
            Some(Lane { class, label: label.into(), mean, words })
        };
        let lanes = stages.into_iter().filter_map(lane).collect();
        Self { name: &row.name, asked: row.range(), is_binary: row.is_binary, lanes }
    }

    /// The panel as HTML.
    pub(super) fn html(&self) -> String {
        let axis = self.axis();
        let asked = match self.asked {
            Some(_) => format!(r#"<span class="asked">asked {}</span>"#, asked_in_words(self.asked)),
            None => "<span>measured only</span>".into(),
        };
        let mut html = format!(r#"<div class="panel"><h3><bdi>{}</bdi> {asked}</h3>"#, escape(self.name));
        for lane in &self.lanes {
            let _ = write!(
                html,
                r#"<div class="lane"><span class="who {}">{}</span>{}<span class="number">{}</span></div>"#,
                lane.class,
                lane.label,
                self.plot(lane, &axis),
                shown(&lane.words)
            );
        }
        html + &scale(&axis) + "</div>"
    }

    fn plot(&self, lane: &Lane, axis: &Axis) -> String {
        let mut svg = r#"<svg aria-hidden="true">"#.to_owned();
        if let Some([low, high]) = self.asked.map(AskedRange::ends) {
            let [from, to] = [low, high].map(|end| axis.position(end));
            if low < high {
                let width = to - from;
                let _ = write!(
                    svg,
                    r#"<rect class="band asked" x="{from:.2}%" y="0" width="{width:.2}%" height="100%"/>"#
                );
            }
            for at in [from, to] {
                let _ =
                    write!(svg, r#"<line class="rule asked" x1="{at:.2}%" x2="{at:.2}%" y1="0" y2="100%"/>"#);
            }
        }
        let _ = write!(svg, r#"<line class="hair" x1="0" x2="100%" y1="50%" y2="50%"/>"#);
        if let Some([low, high]) = interval(&lane.mean, self.is_binary) {
            let [low, high] = [low, high].map(|end| axis.position(end));
            let _ = write!(
                svg,
                r#"<line class="whisker {}" x1="{low:.2}%" x2="{high:.2}%" y1="50%" y2="50%"/>"#,
                lane.class
            );
        }
        if lane.mean.value.is_finite() {
            let x = axis.position(lane.mean.value);
            let _ = write!(svg, r#"<circle class="mark {}" cx="{x:.2}%" cy="50%" r="3.2"/>"#, lane.class);
        }
        svg + "</svg>"
    }

    /// Shares are between 0 and 1, or nearer to an end if all of them are; other means as far as the intervals reach.
    fn axis(&self) -> Axis {
        let mut values: Vec<f64> = self.asked.into_iter().flat_map(AskedRange::ends).collect();
        for lane in &self.lanes {
            values.push(lane.mean.value);
            values.extend(interval(&lane.mean, self.is_binary).into_iter().flatten());
        }
        values.retain(|value| value.is_finite());
        if self.is_binary {
            let (low, high) = values
                .iter()
                .fold((1.0_f64, 0.0_f64), |(low, high), value| (low.min(*value), high.max(*value)));
            values.push(if low > 0.75 { 1.0 } else { 0.0 });
            values.push(if high < 0.25 { (1.2 * high).max(1e-6) } else { 1.0 });
        }
        Axis::fluid(values.into_iter())
    }
}

/// The ticks below the lanes.
fn scale(axis: &Axis) -> String {
    let mut svg = r#"<svg aria-hidden="true">"#.to_owned();
    for tick in axis.ticks() {
        let (at, label) = (axis.position(tick), plain_tick(tick));
        // A long label at an end would leave the plot.
        let anchor = match label.chars().count() {
            0..4 => "middle",
            _ if at < 12.0 => "start",
            _ if at > 88.0 => "end",
            _ => "middle",
        };
        let _ = write!(svg, r#"<line class="axis" x1="{at:.2}%" x2="{at:.2}%" y1="0" y2="4"/>"#);
        let _ =
            write!(svg, r#"<text class="tick" x="{at:.2}%" y="16" text-anchor="{anchor}">{label}</text>"#,);
    }
    format!(
        r#"<div class="lane scale"><span class="who"></span>{svg}</svg><span class="number"></span></div>"#
    )
}

/// Panels side by side.
pub(super) fn forest(panels: impl IntoIterator<Item = String>) -> String {
    format!(r#"<div class="forest">{}</div>"#, panels.into_iter().collect::<String>())
}
