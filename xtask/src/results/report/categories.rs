//! The section on categories: the share of each label as bars, and the distances from what was asked.

use std::fmt::Write;

use disco_core::Estimate;

use super::{
    axis::Axis,
    html::{cells, escape, optional, section, table},
};
use crate::results::{
    context_rows::CategoryRow,
    record::{CategoryDistance, RunRecord},
    rows::FeatureRow,
};
use crate::terminal::cut;

/// The size of a chart: the bars are as high as it is, less the labels below.
const HEIGHT: f64 = 170.0;
const LABELS: f64 = 22.0;
/// The width of a bar, and of the space between the groups of two labels.
const BAR: f64 = 14.0;
const SPACE: f64 = 22.0;
/// About the width of a character of a label, of which no more than some are shown.
const CHARACTER: f64 = 7.0;
const MOST_CHARACTERS: usize = 18;

/// The categories whose shares were asked for; `None` if there are none.
pub(super) fn categories(record: &RunRecord) -> Option<String> {
    let rows = record.categories();
    let measures = record.spec.measures();
    let features = record.features();
    let mut content = String::new();
    for row in &rows {
        let own: Vec<(&str, &FeatureRow)> = measures
            .iter()
            .zip(&features)
            .filter(|(measure, _)| measure.feature.name == row.name)
            .filter_map(|(measure, feature)| Some((measure.label.as_deref()?, feature)))
            .collect();
        let _ = write!(content, "<h3>{}</h3>{}{}", escape(&row.name), bars(&row.name, &own), distances(row));
    }
    let introduction = "The shares of the labels under the <span class=\"base\">base</span>, as <span class=\"asked\">asked</span>, \
                        <span class=\"tuned\">tuned</span> and by <span class=\"qrs\">QRS</span>, with two standard errors either way. \
                        A distance of two errors or less says no more than that the shares agree.";
    (!rows.is_empty()).then(|| section("Categories", introduction, &content))
}

/// Bars for each label: before, asked, tuned, QRS.
fn bars(name: &str, labels: &[(&str, &FeatureRow)]) -> String {
    // Labels do not reach into each other, also in scripts whose characters are twice as wide.
    let label_width = |(label, _): &(&str, &FeatureRow)| -> f64 {
        cut(label, MOST_CHARACTERS).chars().map(|c| if c > '\u{2e80}' { 2.0 } else { 1.0 }).sum()
    };
    let widest = labels.iter().map(label_width).fold(0.0, f64::max) * CHARACTER;
    let group = (4.0 * BAR + SPACE).max(widest + 8.0);
    let width = group * labels.len() as f64 + SPACE;
    let exact = |value: f64| Estimate { value, std_error: 0.0, ess: f64::INFINITY };
    let stages = |row: &FeatureRow| {
        [(row.base, "base"), (row.asked.map(exact), "asked"), (row.tuned, "tuned"), (row.qrs, "qrs")]
    };
    let reach = |estimate: &Estimate| {
        estimate.value + if estimate.std_error.is_finite() { 2.0 * estimate.std_error } else { 0.0 }
    };
    let highest =
        labels.iter().flat_map(|(_, row)| stages(row)).filter_map(|(estimate, _)| Some(reach(&estimate?)));
    let axis = Axis::round([0.0].into_iter().chain(highest), HEIGHT, 0.0);
    let mut svg = format!(
        r#"<svg class="bars" style="width:{width}px" viewBox="0 -6 {width} {}" role="img" aria-label="Shares of {}">"#,
        HEIGHT + LABELS + 6.0,
        escape(name)
    );
    let _ = write!(svg, r#"<line class="axis" x1="0" x2="{width}" y1="{HEIGHT}" y2="{HEIGHT}"/>"#);
    for (index, (label, row)) in labels.iter().enumerate() {
        let left = SPACE + group * index as f64 + 0.5 * (group - 4.0 * BAR - SPACE);
        for (place, (estimate, class)) in stages(row).into_iter().enumerate() {
            let Some(estimate) = estimate else { continue };
            let (x, top) = (left + BAR * place as f64, axis.position(estimate.value));
            let _ = write!(
                svg,
                r#"<rect class="bar {class}" x="{x:.1}" y="{top:.1}" width="{:.1}" height="{:.1}"/>"#,
                BAR - 2.0,
                HEIGHT - top
            );
            if estimate.std_error > 0.0 && estimate.std_error.is_finite() {
                let ends =
                    [-2.0, 2.0].map(|errors| axis.position(estimate.value + errors * estimate.std_error));
                let middle = x + 0.5 * (BAR - 2.0);
                let _ = write!(
                    svg,
                    r#"<line class="axis" x1="{middle:.1}" x2="{middle:.1}" y1="{:.1}" y2="{:.1}"/>"#,
                    ends[0], ends[1]
                );
            }
        }
        let middle = left + 2.0 * BAR;
        let _ = write!(
            svg,
            r#"<text class="label" text-anchor="middle" x="{middle:.1}" y="{:.1}">{}</text>"#,
            HEIGHT + 15.0,
            escape(&cut(label, MOST_CHARACTERS))
        );
    }
    format!(r#"<div class="scroll">{svg}</svg></div>"#)
}

fn distances(row: &CategoryRow) -> String {
    let stages = [&row.base, &row.fitted, &row.tuned, &row.qrs];
    let line = |name: &str, of: &dyn Fn(&CategoryDistance) -> Option<Estimate>| {
        let cell = |stage: &Option<CategoryDistance>| optional(stage.as_ref().and_then(of));
        std::iter::once(name.to_owned()).chain(stages.map(cell)).collect::<Vec<String>>()
    };
    let mut rows = vec![cells(["distance from what was asked", "base", "target", "tuned", "QRS"])];
    rows.push(line("total variation", &|distance| Some(distance.total_variation)));
    if stages.into_iter().flatten().any(|distance| distance.wasserstein.is_some()) {
        rows.push(line("Wasserstein, in steps of labels", &|distance| distance.wasserstein));
    }
    table("distances", &rows)
}
