//! The table that a run ends with on the terminal.

use crate::{
    numbers::{grouped, megabytes, plain, plus_minus},
    record::RunRecord,
};

/// Moments before, asked, tuned and by QRS, then the distances to the target, the acceptance rate and the cost.
pub fn terminal_table(record: &RunRecord) -> String {
    let mut rows = vec![["feature", "before", "asked", "tuned", "QRS"].map(str::to_owned)];
    for feature in &record.features {
        let [base, tuned, qrs] = [&feature.base, &feature.tuned, &feature.qrs].map(plus_minus);
        rows.push([feature.name.clone(), base, plain(feature.asked), tuned, qrs]);
    }
    let mut text = aligned(&rows);

    let mut rows = vec![["distance to target", "before", "", "tuned", "QRS"].map(str::to_owned)];
    for distance in &record.distances {
        let qrs = distance.qrs.as_ref().map_or_else(String::new, plus_minus);
        rows.push([
            distance.formula.clone(),
            plus_minus(&distance.base),
            String::new(),
            plus_minus(&distance.tuned),
            qrs,
        ]);
    }
    let from_base = &record.kl_from_base;
    let qrs = from_base.qrs.as_ref().map_or_else(String::new, plus_minus);
    let row = ["KL to the base", "0", &plus_minus(&from_base.target), &plus_minus(&from_base.tuned), &qrs];
    rows.push(row.map(str::to_owned));
    text.push('\n');
    text.push_str(&aligned(&rows));

    let qrs = &record.qrs;
    let seconds: f64 = record.stages.iter().map(|stage| stage.seconds).sum();
    text.push_str(&format!(
        "\nQRS accepts {} of the proposals (ln beta = {}): {} of {}.\n",
        plus_minus(&qrs.acceptance_rate),
        plain(qrs.log_beta),
        grouped(qrs.accepted as u64),
        grouped(qrs.proposals as u64),
    ));
    for warning in record.fit.warnings.iter().chain(&qrs.warnings) {
        text.push_str(&format!("Note: {warning}\n"));
    }
    let memory = record
        .peak_memory_bytes
        .map_or_else(String::new, |bytes| format!(", at most {} of memory", megabytes(bytes)));
    text.push_str(&format!("{seconds:.0} seconds{memory}, seed {}.\n", record.spec.seed));
    text
}

/// Rows with columns of equal width; the first column to the left, the others to the right.
fn aligned(rows: &[[String; 5]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 5] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let mut line = format!("{:<1$}", row[0], widths[0]);
        for (cell, width) in row.iter().zip(widths).skip(1) {
            line.push_str(&format!("  {cell:>width$}"));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
