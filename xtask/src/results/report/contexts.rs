//! The section on single contexts: a small multiple per measure, and a table, the worst first.

use disco_core::Estimate;

use super::{
    html::{NOTHING, asked, cells, escape, estimate, optional, section, shortened, shown, table},
    strip::Strip,
};
use crate::results::{context_rows::ContextRow, record::RunRecord, rows::FeatureRow};

/// The number of contexts that the table of a measure shows.
const SHOWN: usize = 40;

/// The means of each measure in each context; `None` for a run with one context.
pub(super) fn contexts(record: &RunRecord) -> Option<String> {
    let rows = record.contexts();
    let mut content = String::new();
    let features = record.features();
    for feature in &features {
        let mut own: Vec<&ContextRow> = rows.iter().filter(|row| row.name == feature.name).collect();
        if own.is_empty() {
            return None;
        }
        // The worst first; where nothing was asked, in the order of the contexts.
        own.sort_by(|one, other| other.miss().total_cmp(&one.miss()).then(one.context.cmp(&other.context)));
        content.push_str(&measure(record, feature, &own));
    }
    let averages: Vec<&str> = features
        .iter()
        .filter(|feature| feature.asked.is_some() && !feature.per_context)
        .map(|feature| feature.name.as_str())
        .collect();
    let introduction = match averages.is_empty() {
        true => "What was asked of each context, and what came of it, the worst first.".to_owned(),
        false => format!(
            "Asked <em>on average over contexts</em>: {}. A mean over contexts says nothing of any one of them; \
             <code>per_context = true</code> asks it of each. The worst come first.",
            averages
                .iter()
                .map(|name| format!("<span class=\"feature\">{}</span>", escape(name)))
                .collect::<Vec<_>>()
                .join(", ")
        ),
    };
    Some(section("Context by context", &introduction, &content))
}

/// The means on contexts that neither fit nor tuning saw; `None` without such.
pub(super) fn held_out(record: &RunRecord) -> Option<String> {
    let found = record.held_out.as_ref()?;
    let mut rows = vec![cells(["feature", "base", "asked", "tuned"])];
    for ((row, base), tuned) in record.features().iter().zip(&found.base).zip(&found.tuned) {
        rows.push(vec![
            escape(&row.name),
            shown(&row.words(base)),
            asked(row.range()),
            shown(&row.words(tuned)),
        ]);
    }
    let distance = found.total_variation.as_ref().map_or_else(String::new, |distance| {
        format!(" The total variation from the policy to the target is {} there.", estimate(distance))
    });
    let introduction = format!("{} contexts that neither the fit nor tuning saw.{distance}", found.contexts);
    Some(section("Held-out contexts", &introduction, &table("distances", &rows)))
}

fn measure(record: &RunRecord, feature: &FeatureRow, rows: &[&ContextRow]) -> String {
    let head = ["context", "base", "asked", "coefficient λ", "target", "tuned", "QRS", "two standard errors"];
    let mut lines = vec![cells(head)];
    for row in rows.iter().take(SHOWN) {
        let text = record.spec.contexts.items[row.context].text();
        let strip = Strip {
            name: &feature.name,
            stages: [row.base, row.tuned, row.qrs],
            asked: row.range(),
            is_binary: feature.is_binary,
        };
        let words =
            |mean: Option<Estimate>| mean.map_or_else(|| NOTHING.into(), |mean| shown(&feature.words(&mean)));
        let of_target = |mean: Option<Estimate>| {
            mean.map_or_else(|| NOTHING.into(), |mean| shown(&feature.words_of_target(&mean)))
        };
        lines.push(vec![
            format!("<bdi>{}</bdi>", escape(&shortened(text))),
            words(row.base),
            asked(row.range()),
            optional(row.coefficient),
            of_target(row.fitted),
            words(row.tuned),
            of_target(row.qrs),
            strip.svg(),
        ]);
    }
    let more = rows.len().saturating_sub(SHOWN);
    let note = if more > 0 {
        format!("<p>{more} more are in <code>summary.json</code>.</p>")
    } else {
        String::new()
    };
    format!("<h3>{}</h3>{}{note}", escape(&feature.name), table("moments", &lines))
}
