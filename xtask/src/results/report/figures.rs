//! The figures of the report.

use std::collections::BTreeSet;

use disco_tuner::Metric;

use super::{
    chart::{Chart, Mark, Rule, Series},
    html::escape,
};
use crate::results::{
    numbers::plain,
    qrs_record::QrsRecord,
    record::{RunRecord, StepRecord, TuningRecord},
    rows::FeatureRow,
};

const SMALL: (f64, f64) = (430.0, 220.0);
const LARGE: (f64, f64) = (430.0, 240.0);

/// Divergences that are at most 1 share a chart; the others have another.
const BOUNDED: [&str; 2] = ["TV", "JS"];
/// Classes for lines that are no stage.
const LINES: [&str; 4] = ["line-a", "line-b", "line-c", "line-d"];

/// Each feature's mean at each step, with one standard error.
pub(super) fn moments_by_step(record: &RunRecord, tuning: &TuningRecord) -> Vec<String> {
    let chart = |(index, feature): (usize, &FeatureRow)| {
        let (points, errors) = series(tuning, |step| step.moments[index]);
        let mut asked = feature.range().map_or_else(Vec::new, |range| range.ends().to_vec());
        asked.dedup();
        let rules = asked.into_iter().map(|y| Rule { y, name: "asked".into(), class: "asked" });
        let base = feature.base.map(|base| Rule { y: base.value, name: "base".into(), class: "base" });
        let binary = feature.is_binary;
        Chart {
            title: format!("Mean of {} at each step of tuning", feature.name),
            x_label: "step",
            x_step: 1.0,
            y_label: if binary { "share of samples" } else { "mean" },
            series: vec![Series { name: "policy".into(), class: "tuned", points, errors }],
            rules: rules.chain(base).collect(),
            marks: Vec::new(),
            size: SMALL,
            y_bounds: if binary { (0.0, 1.0) } else { (f64::NEG_INFINITY, f64::INFINITY) },
            y_includes: if binary { vec![0.0, 1.0] } else { Vec::new() },
        }
    };
    let features = record.features();
    features
        .iter()
        .enumerate()
        .map(|(index, feature)| figure(&feature.name, &chart((index, feature))))
        .collect()
}

/// A metric at each step that has it, and its standard errors.
fn series(
    tuning: &TuningRecord,
    metric: impl Fn(&StepRecord) -> Option<Metric>,
) -> (Vec<(f64, f64)>, Vec<f64>) {
    let known = tuning.steps.iter().filter_map(|step| Some((step.step as f64, metric(step)?)));
    known.map(|(step, metric)| ((step, metric.value), metric.std_error.unwrap_or(f64::INFINITY))).unzip()
}

/// The divergences at each step, with one standard error.
pub(super) fn divergences_by_step(tuning: &TuningRecord) -> Vec<String> {
    let names: BTreeSet<&String> = tuning.steps.iter().flat_map(|step| step.divergences.keys()).collect();
    let chart = |bounded: bool| {
        let chosen = names.iter().copied().filter(|name| BOUNDED.contains(&name.as_str()) == bounded);
        let series: Vec<Series> = chosen
            .zip(LINES.iter().cycle())
            .map(|(name, class)| {
                let (points, errors) = series(tuning, |step| step.divergences.get(name).copied());
                Series { name: name.clone(), class, points, errors }
            })
            .filter(|series| series.points.iter().any(|point| point.1.is_finite()))
            .collect();
        let title = if bounded { "Bounded divergences to the target" } else { "KL divergences" };
        (!series.is_empty()).then(|| Chart {
            title: title.into(),
            x_label: "step",
            x_step: 1.0,
            y_label: if bounded { "divergence" } else { "nats" },
            series,
            rules: Vec::new(),
            marks: Vec::new(),
            size: SMALL,
            y_bounds: (0.0, f64::INFINITY),
            y_includes: vec![0.0],
        })
    };
    [true, false].into_iter().filter_map(chart).map(|chart| figure(&chart.title, &chart)).collect()
}

/// Total variation against acceptance rate, with a mark at the chosen beta.
pub(super) fn qrs_curve(qrs: &QrsRecord) -> String {
    let points =
        qrs.curve.iter().map(|point| (point.acceptance_rate.value, point.total_variation.value)).collect();
    let errors = qrs.curve.iter().map(|point| point.total_variation.std_error).collect();
    let chosen = format!("ln β = {}", plain(qrs.log_beta));
    let chart = Chart {
        title: "Total variation to the target against acceptance rate".into(),
        x_label: "acceptance rate",
        x_step: 0.0,
        y_label: "total variation to the target",
        series: vec![Series { name: String::new(), class: "qrs", points, errors }],
        rules: Vec::new(),
        marks: vec![Mark {
            // The curve is of the samples that chose beta, as this rate is.
            x: qrs.predicted_rate.unwrap_or(qrs.acceptance_rate).value,
            y: qrs.total_variation.value,
            name: chosen,
            class: "qrs",
        }],
        size: LARGE,
        y_bounds: (0.0, 1.0),
        y_includes: vec![0.0],
    };
    format!(r#"<div class="single">{}</div>"#, figure(&chart.title, &chart))
}

fn figure(caption: &str, chart: &Chart) -> String {
    format!("<figure><figcaption>{}</figcaption>{}</figure>", escape(caption), chart.svg())
}
