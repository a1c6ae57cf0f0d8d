//! The section on the fitted target: coefficients, means, and the samples that carry the weight.

use super::{
    html::{NOTHING, asked_in_words, cells, escape, estimate, section, shortened, shown, table},
    sections::warnings,
};
use crate::results::{
    numbers::{grouped, one_decimal, plain},
    record::{RunRecord, TargetRecord},
};

/// The fitted target, and the reasons to doubt it.
pub(super) fn target(record: &RunRecord) -> Option<String> {
    let target = record.target.as_ref()?;
    let fit = &target.fit;
    let mut rows = vec![cells(["feature", "asked", "coefficient λ", "under the target", "held out"])];
    for row in record.features() {
        let Some(feature) = &row.fitted else { continue };
        let coefficient = match (feature.coefficient, row.asked) {
            (Some(coefficient), _) => estimate(&coefficient),
            (None, Some(_)) if !row.per_context => "hard".into(),
            (None, _) => NOTHING.into(),
        };
        let words = |mean| shown(&row.words_of_target(&mean));
        rows.push(vec![
            format!("<bdi>{}</bdi>", escape(&row.name)),
            asked_in_words(row.range()),
            coefficient,
            words(feature.fitted),
            feature.held_out.map_or_else(|| NOTHING.into(), words),
        ]);
    }
    let introduction = format!(
        "Fitted on {} samples of the base; ended after {} Newton steps ({}). Effective sample size {}, largest \
         weight {}% of all, ln Z = {}, KL from the base {} nats.",
        grouped(fit.samples as u64),
        fit.iterations,
        escape(&fit.reason),
        plain(fit.ess.round()),
        one_decimal(100.0 * fit.largest_share),
        estimate(&fit.log_z),
        estimate(&fit.kl),
    );
    let content = table("fit", &rows) + &heaviest(target) + &warnings(&fit.warnings);
    Some(section("The target", &introduction, &content))
}

/// The samples with the largest importance weights: all means under the target rest on them more than on others.
fn heaviest(target: &TargetRecord) -> String {
    if target.heaviest.is_empty() {
        return String::new();
    }
    let mut rows = vec![cells(["sample", "share of all weight"])];
    for one in &target.heaviest {
        let sample = format!(
            r#"<bdi class="context">{}</bdi> <bdi>{}</bdi>"#,
            escape(&shortened(&one.sample.context)),
            escape(one.sample.text.trim_end()),
        );
        rows.push(vec![sample, format!("{}%", plain(100.0 * one.share))]);
    }
    let all = 100.0 * target.heaviest.iter().map(|one| one.share).sum::<f64>();
    format!(
        "<h3>The samples that carry the most weight</h3><p>Together {}% of all weight.</p>{}",
        one_decimal(all),
        table("heaviest", &rows)
    )
}
