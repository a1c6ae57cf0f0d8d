//! The headline, the means, and the course of tuning.

use disco_core::Estimate;

use super::{
    figures,
    forest::{Panel, forest},
    html::{escape, section},
};
use crate::{
    results::{
        numbers::{grouped, percent, plain, plus_minus},
        record::RunRecord,
        rows::FeatureRow,
    },
    spec::Target,
};

/// A share as a percentage, other means as they are.
fn mean_in_words(value: f64, binary: bool) -> String {
    if binary { format!("{}%", plain(round(100.0 * value))) } else { plain(value) }
}

/// Without the digits that a product with 100 adds.
fn round(value: f64) -> f64 {
    (value * 1e9).round() / 1e9
}

/// The means of all features in one paragraph.
pub(super) fn lede(record: &RunRecord) -> String {
    let features = record.features();
    let measures = record.spec.measures();
    let reward = |name: &str| record.spec.rewards.iter().find(|reward| reward.feature == name);
    // Features that are measured only are in the table.
    let is_asked = |feature: &FeatureRow| feature.asked.is_some() || reward(&feature.name).is_some();
    let asked = features.iter().zip(&measures).filter(|(feature, _)| is_asked(feature));
    let sentences = asked.map(|(feature, measure)| {
        let number = |value| mean_in_words(value, feature.is_binary);
        let asked = match (&measure.feature.target, feature.range()) {
            (Some(Target::Always), _) => "always".into(),
            (Some(Target::Never), _) => "never".into(),
            (_, Some(range)) => range.in_words(number),
            (_, None) if reward(&feature.name).is_some_and(|reward| reward.beta < 0.0) => "less".into(),
            (_, None) => "more".into(),
        };
        let words = |mean: Estimate| match feature.is_binary {
            true => escape(&percent(&mean)),
            false => escape(&plus_minus(&mean)),
        };
        let [base, tuned] = [feature.base, feature.tuned].map(|mean| mean.map(words));
        let qrs = feature.qrs.map(|mean| words(feature.of_target(mean)));
        let after = if record.is_tuned() { "after tuning" } else { "in other samples of it" };
        let reached = [
            base.map(|base| format!("<span class=\"base\">{base}</span> under the base")),
            tuned.map(|tuned| format!("<span class=\"tuned\">{tuned}</span> {after}")),
            qrs.map(|qrs| format!("<span class=\"qrs\">{qrs}</span> by QRS")),
        ];
        let reached: Vec<String> = reached.into_iter().flatten().collect();
        let (name, separator) = (escape(&feature.name), if reached.is_empty() { "" } else { "; " });
        format!(
            "<bdi class=\"feature\">{name}</bdi>: asked <span class=\"asked\">{asked}</span>{separator}{}.",
            reached.join(", ")
        )
    });
    format!(r#"<p class="lede">{}</p>"#, sentences.collect::<Vec<_>>().join("<br>"))
}

/// The mean of each feature at each stage, with what was asked: a forest plot.
pub(super) fn moments(record: &RunRecord) -> String {
    let features = record.features();
    let key = "Means over samples of the <span class=\"base\">base</span>, under the fitted <span class=\"target\">target</span>, over samples \
               of the <span class=\"tuned\">tuned policy</span>, and of those that <span class=\"qrs\">quasi-rejection sampling</span> \
               accepts, with what was <span class=\"asked\">asked</span>. Lines are 95% intervals; numbers have one standard error, or are \
               the bound of the 95% interval where no sample has the feature, or all have it.";
    let panels = features.iter().map(|feature| Panel::of_stages(feature, record.is_tuned()).html());
    let notes = warnings(&record.skipped_notes());
    section("Asked and reached", key, &(forest(panels) + &notes))
}

/// The course of tuning.
pub(super) fn tuning(record: &RunRecord) -> Option<String> {
    let tuning = record.tuning.as_ref().filter(|_| record.is_tuned())?;
    let tune = &record.spec.tune;
    let introduction = format!(
        "{} steps of {} samples, minimising <em>{}</em>. Bands are one standard error of a step's own samples.",
        tuning.steps.len(),
        grouped(tune.samples_per_step as u64),
        escape(&tune.divergence.to_string()),
    );
    let moments = figures::moments_by_step(record, tuning).concat();
    let divergences = figures::divergences_by_step(tuning).concat();
    let figures = format!(r#"<div class="multiples">{moments}{divergences}</div>"#);
    Some(section("Tuning, step by step", &introduction, &(figures + &warnings(&tuning.warnings))))
}

/// Reasons to doubt the numbers of a section.
pub(super) fn warnings(warnings: &[String]) -> String {
    warnings.iter().map(|warning| format!(r#"<p class="warning">{}</p>"#, escape(warning))).collect()
}
