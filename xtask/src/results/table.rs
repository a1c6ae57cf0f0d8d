//! The table that a run prints on the terminal at its end.

use disco_core::Estimate;

use super::{
    numbers::{grouped, megabytes, plain, plus_minus, rate},
    record::RunRecord,
};
use crate::terminal::visible_line;

/// The features' means and the divergences to the target at every stage that there was, then acceptance rate and cost.
pub fn terminal_table(record: &RunRecord) -> String {
    let stages = [record.base.is_some(), true, record.policy.is_some(), record.qrs.is_some()];
    let row = |cells: [String; 5]| -> Vec<String> {
        let [name, cells @ ..] = cells;
        let kept = cells.into_iter().zip(stages).filter_map(|(cell, is_there)| is_there.then_some(cell));
        std::iter::once(name).chain(kept).collect()
    };
    let shown = |estimate: &Option<Estimate>| estimate.as_ref().map_or_else(String::new, plus_minus);

    let mut rows = vec![row(["feature", "before", "asked", "tuned", "QRS"].map(str::to_owned))];
    for feature in record.features() {
        let words = |mean: &Option<Estimate>| {
            mean.as_ref().map_or_else(String::new, |mean| feature.words(mean).to_string())
        };
        let qrs = feature.qrs.as_ref().map(|mean| feature.words_of_target(mean).to_string());
        let [base, tuned, qrs] = [words(&feature.base), words(&feature.tuned), qrs.unwrap_or_default()];
        let asked = feature.range().map_or_else(String::new, |range| range.in_words(plain));
        rows.push(row([visible_line(&feature.name), base, asked, tuned, qrs]));
    }
    let mut text = aligned(&rows);

    let distances = record.distances();
    if !distances.is_empty() {
        let mut rows = vec![row(["distance to target", "before", "", "tuned", "QRS"].map(str::to_owned))];
        for distance in distances {
            let [base, tuned, qrs] = [&distance.base, &distance.tuned, &distance.qrs].map(shown);
            rows.push(row([distance.formula.to_owned(), base, String::new(), tuned, qrs]));
        }
        let from_base = record.kl_from_base();
        let [target, tuned, qrs] = [&from_base.target, &from_base.tuned, &from_base.qrs].map(shown);
        rows.push(row(["KL to the base".into(), "0".into(), target, tuned, qrs]));
        text.push('\n');
        text.push_str(&aligned(&rows));
    }
    if let Some(qrs) = &record.qrs {
        text.push_str(&format!(
            "\nQRS accepts {} of the proposals (ln beta = {}): {} of {}.\n",
            rate(&qrs.acceptance_rate),
            plain(qrs.log_beta),
            grouped(qrs.accepted as u64),
            grouped(qrs.proposals as u64),
        ));
    }
    if let Some(masking) = record.base.as_ref().and_then(|base| base.masking) {
        text.push_str(&format!(
            "The model gives the texts of the grammar with probability {}; masking alone is {} nats from its own distribution among them.\n",
            rate(&masking.probability),
            plus_minus(&masking.kl),
        ));
    }
    if let Some(accepted) = record.target.as_ref().and_then(|target| target.exact_rejection) {
        text.push_str(&format!("Exact rejection from the base accepts {}.\n", rate(&accepted)));
    }
    // The numbers of two stages differ, so that each warning says whose it is.
    let fit = record.target.iter().flat_map(|target| &target.fit.warnings).map(|warning| ("fit", warning));
    let tuning = record.tuning.iter().flat_map(|tuning| &tuning.warnings).map(|warning| ("tuning", warning));
    let qrs = record.qrs.iter().flat_map(|qrs| &qrs.warnings).map(|warning| ("QRS", warning));
    let skipped = record.skipped_notes();
    let skipped = skipped.iter().map(|note| ("samples", note));
    for (stage, warning) in skipped.chain(fit).chain(tuning).chain(qrs) {
        text.push_str(&format!("Note ({stage}): {}\n", visible_line(warning)));
    }
    let seconds = record.stages.iter().fold(0.0, |sum, stage| sum + stage.seconds);
    let memory = record
        .peak_memory_bytes
        .map_or_else(String::new, |bytes| format!(", at most {} of memory", megabytes(bytes)));
    text.push_str(&format!("{seconds:.0} seconds{memory}, seed {}.\n", record.spec.seed));
    text
}

/// Rows of equal length, with columns of equal width; the first column to the left, the others to the right.
pub(super) fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = format!("{:<1$}", row[0], widths[0]);
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            line.push_str(&format!("  {cell:>width$}"));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
