//! The section on the making of a run: the model, all settings, the wall times and the files.

use serde_json::Value;

use super::{
    files::FileLinks,
    html::{NOTHING, cells, escape, section, table},
};
use crate::{
    results::{
        numbers::{grouped, megabytes},
        record::{RunRecord, StageRecord},
    },
    spec::Spec,
    terminal::cut,
};

/// The longest value that is shown, in characters.
const LONGEST: usize = 160;

/// The settings that have a place of their own on the page, or would fill it.
const ELSEWHERE: [&str; 7] =
    ["title", "features", "rewards", "contexts.items", "contexts.held_out", "contexts.weights", "written"];

/// The model, the settings, the wall times and the files.
pub(super) fn settings(record: &RunRecord, links: &FileLinks) -> String {
    let mut facts = vec![cells(["setting", "value"])];
    let mut fact =
        |name: &str, value: &str| facts.push(vec![escape(name), format!("<bdi>{}</bdi>", escape(value))]);
    fact("model", &record.model.name);
    for (name, value) in &record.model.facts {
        fact(name, value);
    }
    let contexts = &record.spec.contexts;
    fact("contexts", &grouped(contexts.items.len() as u64));
    if !contexts.held_out.is_empty() {
        fact("held-out contexts", &grouped(contexts.held_out.len() as u64));
    }
    if let Some(bytes) = record.peak_memory_bytes {
        fact("peak memory", &megabytes(bytes));
    }
    for (name, value) in settings_of(&record.spec) {
        let is_elsewhere = |other: &&str| name == **other || name.starts_with(&format!("{other}."));
        if !ELSEWHERE.iter().any(is_elsewhere) {
            fact(&name, &value);
        }
    }
    let tables = format!(
        r#"<div class="making">{}{}</div>"#,
        table("stages", &stages(&record.stages)),
        table("facts", &facts)
    );
    let introduction = "The same settings and seed on the same machine give the same samples, fit and weights. Every \
                        number of this page is in <code>summary.json</code>, every sample in <code>samples.jsonl</code>.";
    section("How it was made", introduction, &(links.html() + &tables))
}

fn stages(stages: &[StageRecord]) -> Vec<Vec<String>> {
    let mut rows = vec![cells(["stage", "seconds", "samples", "tokens", "tokens per second"])];
    for stage in stages {
        let rate = (stage.tokens > 0).then(|| grouped((stage.tokens as f64 / stage.seconds).round() as u64));
        let count = |count: usize| if count > 0 { grouped(count as u64) } else { NOTHING.into() };
        let earlier = match stage.earlier_seconds > 0.0 {
            true => format!(
                r#" <span class="error">{:.1} of them before a resumption</span>"#,
                stage.earlier_seconds
            ),
            false => String::new(),
        };
        rows.push(vec![
            escape(&stage.name),
            format!("{:.1}{earlier}", stage.seconds),
            count(stage.samples),
            count(stage.tokens),
            rate.unwrap_or_else(|| NOTHING.into()),
        ]);
    }
    let total = stages.iter().fold(0.0, |sum, stage| sum + stage.seconds);
    rows.push(vec!["all".into(), format!("{total:.1}"), String::new(), String::new(), String::new()]);
    rows
}

/// All settings of a spec, by their paths in the run file, sorted.
pub(super) fn settings_of(spec: &Spec) -> Vec<(String, String)> {
    let mut found = Vec::new();
    // A spec is written as JSON when its run ends, so that it can be.
    if let Ok(value) = serde_json::to_value(spec) {
        flatten("", &value, &mut found);
    }
    found.sort();
    found
}

fn flatten(path: &str, value: &Value, found: &mut Vec<(String, String)>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| flatten(&below(name), value, found)),
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            for (index, item) in items.iter().enumerate() {
                // Features are known by their names.
                let name = item
                    .get("name")
                    .and_then(Value::as_str)
                    .map_or_else(|| (index + 1).to_string(), str::to_owned);
                flatten(&below(&name), item, found);
            }
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(scalar).collect();
            let all = if items.is_empty() { "none".into() } else { items.join(", ") };
            found.push((path.into(), cut(&all, LONGEST)));
        }
        other => found.push((path.into(), cut(&scalar(other), LONGEST))),
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::String(text) => text.clone(),
        // 2.0 and 2 are the same number.
        Value::Number(number) => number
            .as_f64()
            .filter(|_| number.is_f64())
            .map_or_else(|| number.to_string(), |number| number.to_string()),
        other => other.to_string(),
    }
}
