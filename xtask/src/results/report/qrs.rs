//! The section on quasi-rejection sampling: the curve, predicted against found, and the counts of each context.

use disco_core::Estimate;

use super::{
    figures,
    html::{cells, escape, section, shortened, shown, table},
    sections::warnings,
};
use crate::results::{
    numbers::{Shown, grouped, plain, shown_share},
    qrs_record::{QrsCount, QrsRecord},
    record::RunRecord,
};

/// The number of contexts whose counts are shown.
const SHOWN: usize = 40;

/// Quasi-rejection sampling.
pub(super) fn rejection(record: &RunRecord) -> Option<String> {
    let qrs = record.qrs.as_ref()?;
    let introduction = format!(
        "Of {} proposals {} were accepted: an acceptance rate of {} at ln β = {}. A larger β accepts fewer and comes nearer to the target.",
        grouped(qrs.proposals as u64),
        grouped(qrs.accepted as u64),
        shown(&shown_share(&qrs.acceptance_rate)),
        plain(qrs.log_beta),
    );
    let content =
        figures::qrs_curve(qrs) + &predictions(record, qrs) + &counts(record, qrs) + &warnings(&qrs.warnings);
    Some(section("Quasi-rejection sampling", &introduction, &content))
}

/// The numbers that the samples which chose beta predict, beside those that the accepted proposals have.
fn predictions(record: &RunRecord, qrs: &QrsRecord) -> String {
    let Some(predicted) = qrs.predicted_rate else { return String::new() };
    let mut rows = vec![cells(["number", "predicted", "found", "difference in standard errors"])];
    let mut row =
        |name: String, words: &dyn Fn(&Estimate) -> Shown, predicted: &Estimate, found: &Estimate| {
            let error = predicted.std_error.hypot(found.std_error);
            let difference = (found.value - predicted.value) / error;
            let difference = if difference.is_finite() {
                format!("{difference:+.1}").replace('-', "−")
            } else {
                "—".into()
            };
            rows.push(vec![name, shown(&words(predicted)), shown(&words(found)), difference]);
        };
    row("acceptance rate".into(), &shown_share, &predicted, &qrs.acceptance_rate);
    let features = record.features();
    for feature in &features {
        if let (Some(predicted), Some(found)) = (&feature.predicted, &feature.qrs) {
            let name = format!("<bdi>{}</bdi>", escape(&feature.name));
            row(name, &|mean| feature.words_of_target(mean), predicted, found);
        }
    }
    format!(
        "<h3>Predicted and found</h3><p>The samples that chose β predict these numbers; other samples, the proposals, find them. A \
         difference beyond ±3 says that the predictions cannot be trusted.</p>{}",
        table("predictions", &rows)
    )
}

/// The proposals and accepted ones of each context, the least accepted first; nothing for a run with one context.
fn counts(record: &RunRecord, qrs: &QrsRecord) -> String {
    let contexts = &record.spec.contexts.items;
    let mut counts: Vec<_> = contexts.iter().zip(&qrs.by_context_counts).enumerate().collect();
    if counts.len() < 2 {
        return String::new();
    }
    let share = |of: &(usize, (_, &QrsCount))| {
        let count = of.1.1;
        count.accepted as f64 / count.proposals.max(1) as f64
    };
    counts.sort_by(|one, other| share(one).total_cmp(&share(other)).then(one.0.cmp(&other.0)));
    let mut rows = vec![cells(["context", "proposals", "accepted", "rate", "ln β"])];
    for (index, (context, count)) in counts.iter().take(SHOWN) {
        let (n, rate) = (count.proposals as f64, count.accepted as f64 / count.proposals.max(1) as f64);
        let std_error = (rate * (1.0 - rate) / n).sqrt();
        rows.push(vec![
            format!("<bdi>{}</bdi>", escape(&shortened(context.text()))),
            grouped(count.proposals as u64),
            grouped(count.accepted as u64),
            shown(&shown_share(&Estimate { value: rate, std_error, ess: n })),
            plain(*qrs.log_betas.get(*index).unwrap_or(&qrs.log_beta)),
        ]);
    }
    let more = counts.len().saturating_sub(SHOWN);
    let note = if more > 0 {
        format!("<p>{more} more are in <code>summary.json</code>.</p>")
    } else {
        String::new()
    };
    format!("<h3>Accepted by context, the fewest first</h3>{}{note}", table("counts", &rows))
}
