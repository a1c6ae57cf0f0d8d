//! The table of samples, which can be filtered by stage, context and feature.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use super::html::{escape, marked, section, shortened};
use crate::{
    contexts::TextContext,
    features::Marks,
    results::{
        numbers::{one_decimal, plain},
        record::{RunRecord, SampleRecord},
        rows::{FeatureRow, StageSamples},
    },
};

/// The samples of each stage, in turn: the first of each, the second of each, and so on; `None` where there are none.
pub(super) fn samples(record: &RunRecord) -> Option<String> {
    let stages = record.samples();
    let most = stages.iter().map(|stage| stage.samples.len()).max()?.min(record.spec.sample.shown);
    if most == 0 {
        return None;
    }
    let table = SampleTable::new(record);
    let mut rows = String::new();
    let mut contexts = BTreeSet::new();
    for index in 0..most {
        for stage in &stages {
            if let Some(sample) = stage.samples.get(index) {
                rows.push_str(&table.row(stage, sample));
                contexts.insert(sample.context.as_str());
            }
        }
    }
    let content = format!(
        r#"{}<table class="samples"><thead><tr><th scope="col">stage</th><th scope="col">sample</th><th scope="col">features</th></tr></thead><tbody>{rows}</tbody></table>"#,
        table.filter(&stages, &contexts)
    );
    let introduction = "The first of each stage, not chosen. Grey is the context; the words that a feature looks for are marked; \
                        ∎ stands where the model ended the text itself.";
    Some(section("Samples", introduction, &content))
}

/// The data that all rows share.
struct SampleTable {
    marks: Marks,
    features: Vec<FeatureRow>,
    /// The positions of contexts by their texts, and their columns, where no other context has the same text.
    contexts: BTreeMap<String, (usize, Option<TextContext>)>,
}

impl SampleTable {
    fn new(record: &RunRecord) -> Self {
        let mut contexts: BTreeMap<String, (usize, Option<TextContext>)> = BTreeMap::new();
        for (index, context) in record.spec.contexts.items.iter().enumerate() {
            let known = contexts.entry(context.text().to_owned());
            known.and_modify(|known| known.1 = None).or_insert((index, Some(context.clone())));
        }
        Self { marks: Marks::new(&record.spec.features), features: record.features(), contexts }
    }

    fn row(&self, stage: &StageSamples<'_>, sample: &SampleRecord) -> String {
        let known = self.contexts.get(&sample.context);
        // White space at the end would only push the sign of the end down.
        let text = sample.text.trim_end();
        let ranges = self.marks.of(known.and_then(|known| known.1.as_ref()), text);
        let end = if sample.finished { "∎" } else { "…" };
        let value = |value: &Option<f64>| match value {
            Some(value) if value.is_finite() => value.to_string(),
            _ => "null".to_owned(),
        };
        let values: Vec<String> = sample.features.iter().map(value).collect();
        let mut html = format!(
            r#"<tr data-stage="{}" data-context="{}" data-values="[{}]"><td class="{}">{}</td>"#,
            stage.stage,
            known.map_or_else(String::new, |known| known.0.to_string()),
            values.join(","),
            stage.stage,
            stage.heading,
        );
        let _ = write!(
            html,
            r#"<td class="text"><bdi class="context">{}</bdi><bdi>{}</bdi><span class="end">&nbsp;{end}</span></td>"#,
            escape(&sample.context),
            marked(text, ranges),
        );
        let _ = write!(
            html,
            r#"<td class="values">{}<span class="cost">{} nats, {} tokens</span></td></tr>"#,
            self.values(sample),
            one_decimal(sample.log_prob),
            sample.tokens,
        );
        html
    }

    /// The features that hold, and the numbers of the others.
    fn values(&self, sample: &SampleRecord) -> String {
        let mut html = String::new();
        for (feature, value) in self.features.iter().zip(&sample.features) {
            let name = escape(&feature.name);
            let said = match value {
                None => format!("{name}: skipped"),
                Some(value) if feature.is_binary && *value == 0.0 => continue,
                Some(_) if feature.is_binary => name,
                Some(value) => format!("{name} {}", plain(*value)),
            };
            let _ = write!(html, r#"<span class="tag"><bdi>{said}</bdi></span> "#);
        }
        html
    }

    /// The filter, which its script shows: of the stages, of the contexts that are there, and of all features.
    fn filter(&self, stages: &[StageSamples<'_>], contexts: &BTreeSet<&str>) -> String {
        let option = |value: &str, text: &str| format!(r#"<option value="{value}">{text}</option>"#);
        let select = |label: &str, name: &str, options: String| {
            format!(r#"<label>{label} <select name="{name}">{}{options}</select></label>"#, option("", "all"))
        };
        let of_stage = |stage: &StageSamples<'_>| option(stage.stage, stage.heading);
        let mut html = r#"<form class="filter" hidden>"#.to_owned();
        html.push_str(&select("Stage", "stage", stages.iter().map(of_stage).collect()));
        if contexts.len() > 1 {
            let known = contexts.iter().filter_map(|text| Some((self.contexts.get(*text)?.0, *text)));
            let mut contexts: Vec<(usize, &str)> = known.collect();
            contexts.sort_unstable();
            let of_context =
                |(index, text): (usize, &str)| option(&index.to_string(), &escape(&shortened(text)));
            html.push_str(&select("Context", "context", contexts.into_iter().map(of_context).collect()));
        }
        let of_feature =
            |(index, feature): (usize, &FeatureRow)| option(&index.to_string(), &escape(&feature.name));
        html.push_str(&select(
            "Feature",
            "feature",
            self.features.iter().enumerate().map(of_feature).collect(),
        ));
        html + r#"<label>at least <input name="least" type="number" step="any" value="1"></label>"#
            + r#"<label>at most <input name="most" type="number" step="any"></label>"#
            + r#"<button type="reset">All</button><output></output></form>"#
    }
}
