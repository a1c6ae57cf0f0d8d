//! The section on single contexts: a small multiple per measure, and a table, the worst first.

use std::fmt::Write;

use disco_core::Estimate;

use super::{
    axis::Axis,
    html::{escape, estimate, section, table},
};
use crate::results::{
    context_rows::ContextRow,
    record::RunRecord,
    rows::{FeatureRow, asked_in_words},
};

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
    let mut rows = vec![["feature", "before", "asked", "tuned"].map(str::to_owned).to_vec()];
    for ((row, base), tuned) in record.features().iter().zip(&found.base).zip(&found.tuned) {
        let asked = asked_in_words(row.asked, row.tolerance);
        rows.push(vec![
            escape(&row.name),
            estimate(base),
            format!(r#"<span class="asked">{asked}</span>"#),
            estimate(tuned),
        ]);
    }
    let distance = found.total_variation.as_ref().map_or_else(String::new, |distance| {
        format!(" The total variation from the policy to the target is {} there.", estimate(distance))
    });
    let introduction = format!("{} contexts that neither the fit nor tuning saw.{distance}", found.contexts);
    Some(section("Held-out contexts", &introduction, &table("distances", &rows)))
}

fn measure(record: &RunRecord, feature: &FeatureRow, rows: &[&ContextRow]) -> String {
    let optional = |value: &Option<Estimate>| value.as_ref().map_or_else(|| "—".into(), estimate);
    let head = ["context", "before", "asked", "coefficient λ", "target", "tuned", "QRS", ""];
    let mut cells = vec![head.map(str::to_owned).to_vec()];
    for row in rows.iter().take(SHOWN) {
        let text = record.spec.contexts.items[row.context].text();
        cells.push(vec![
            escape(&shortened(text)),
            optional(&row.base),
            format!(r#"<span class="asked">{}</span>"#, asked_in_words(row.asked, row.tolerance)),
            optional(&row.coefficient),
            optional(&row.fitted),
            optional(&row.tuned),
            optional(&row.qrs),
            strip(feature, row),
        ]);
    }
    let more = rows.len().saturating_sub(SHOWN);
    let note = if more > 0 {
        format!("<p>{more} more are in <code>summary.json</code>.</p>")
    } else {
        String::new()
    };
    format!("<h3>{}</h3>{}{note}", escape(&feature.name), table("moments", &cells))
}

/// The last words of a context, which tell contexts apart.
fn shortened(text: &str) -> String {
    const MOST: usize = 60;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let count = line.chars().count();
    match count > MOST {
        true => format!("…{}", line.chars().skip(count - MOST).collect::<String>()),
        false => line,
    }
}

/// The stages of one context as points on a line, with what was asked.
fn strip(feature: &FeatureRow, row: &ContextRow) -> String {
    let lanes = [(&row.base, "base", 6.0), (&row.tuned, "tuned", 15.0), (&row.qrs, "qrs", 24.0)];
    let values = lanes
        .iter()
        .filter_map(|lane| Some((*lane.0)?.value))
        .chain(row.asked.iter().flat_map(|asked| [asked - row.tolerance, asked + row.tolerance]));
    let axis = match feature.is_binary {
        true => Axis::tight([0.0, 1.0].into_iter(), 6.0, 194.0),
        false => Axis::tight(values, 6.0, 194.0),
    };
    let mut svg = String::from(r#"<svg class="strip" viewBox="0 0 200 30" aria-hidden="true">"#);
    for asked in row.asked.iter().flat_map(|asked| [asked - row.tolerance, asked + row.tolerance]) {
        let at = axis.position(asked);
        let _ = write!(svg, r#"<line class="rule asked" x1="{at:.1}" x2="{at:.1}" y1="0" y2="30"/>"#);
    }
    for (estimate, class, y) in lanes {
        let Some(estimate) = estimate else { continue };
        let _ = write!(svg, r#"<line class="axis" x1="6" x2="194" y1="{y}" y2="{y}"/>"#);
        let reach = 2.0 * estimate.std_error;
        if reach.is_finite() {
            let (low, high) = (axis.position(estimate.value - reach), axis.position(estimate.value + reach));
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
