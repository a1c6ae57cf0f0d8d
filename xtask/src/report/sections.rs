//! The sections of the report, in the order in which they are read.

use super::{
    figures,
    html::{escape, estimate, marked, section, table},
};
use crate::{
    numbers::{grouped, megabytes, one_decimal, plain},
    record::{RunRecord, SampleRecord},
    spec::{ModelSource, Target},
    text::{Judges, TextFeature},
};

fn cells<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// A share as a percentage, other means as they are.
fn mean_in_words(value: f64, binary: bool) -> String {
    if binary { format!("{:.0}%", 100.0 * value) } else { plain(value) }
}

/// What happened, in a paragraph.
pub(super) fn lede(record: &RunRecord) -> String {
    let sentence = |index: usize| {
        let (feature, spec) = (&record.features[index], &record.spec.features[index]);
        let words = |value| mean_in_words(value, spec.kind.is_binary());
        let asked = match spec.target {
            Target::Always => "always".into(),
            Target::Never => "never".into(),
            Target::Mean(mean) => words(mean),
        };
        let [base, tuned, qrs] =
            [&feature.base, &feature.tuned, &feature.qrs].map(|estimate| words(estimate.value));
        format!(
            "<span class=\"feature\">{}</span>: asked <span class=\"asked\">{asked}</span>; {base} before, \
             <span class=\"tuned\">{tuned}</span> after tuning, <span class=\"qrs\">{qrs}</span> by QRS.",
            escape(&feature.name)
        )
    };
    let sentences: Vec<String> = (0..record.features.len()).map(sentence).collect();
    format!(r#"<p class="lede">{}</p>"#, sentences.join("<br>"))
}

/// Before, asked, tuned, QRS.
pub(super) fn moments(record: &RunRecord) -> String {
    let mut rows =
        vec![cells(["feature", "before", "asked", "tuned", "QRS", "two standard errors either way"])];
    for (feature, spec) in record.features.iter().zip(&record.spec.features) {
        rows.push(vec![
            escape(&feature.name),
            estimate(&feature.base),
            format!(r#"<span class="asked">{}</span>"#, plain(feature.asked)),
            estimate(&feature.tuned),
            estimate(&feature.qrs),
            figures::strip(feature, spec.kind.is_binary()),
        ]);
    }
    let key = "Means over samples of the <span class=\"base\">base</span>, of the <span class=\"tuned\">tuned policy</span>, and of what \
               <span class=\"qrs\">quasi-rejection sampling</span> accepts of it, with what was <span class=\"asked\">asked</span>.";
    section("What was asked, and what came of it", key, &table("moments", &rows))
}

/// How far from the target, and how far from the base.
pub(super) fn distances(record: &RunRecord) -> String {
    let mut rows = vec![cells(["divergence to the target", "before", "tuned", "QRS"])];
    let optional = |value: &Option<disco_core::Estimate>| value.as_ref().map_or_else(|| "—".into(), estimate);
    for distance in &record.distances {
        rows.push(vec![
            format!(
                "{} <span class=\"formula\">{}</span>",
                escape(&distance.name),
                escape(&distance.formula)
            ),
            estimate(&distance.base),
            estimate(&distance.tuned),
            optional(&distance.qrs),
        ]);
    }
    let from_base = &record.kl_from_base;
    rows.push(vec![
        "KL to the base".into(),
        "0".into(),
        estimate(&from_base.tuned),
        optional(&from_base.qrs),
    ]);
    let introduction = format!(
        "The target is the distribution nearest to the base that has what was asked; it is {} nats away from it (KL). \
         KL in nats, total variation and Jensen-Shannon as they are.",
        estimate(&from_base.target)
    );
    section("How far from the target", &introduction, &table("distances", &rows))
}

/// The course of tuning.
pub(super) fn tuning(record: &RunRecord) -> String {
    let tune = &record.spec.tune;
    let introduction = format!(
        "{} steps of {} samples, minimising <em>{}</em>. Bands are one standard error of a step's own samples.",
        record.steps.len(),
        grouped(tune.samples_per_step as u64),
        escape(&tune.divergence.to_string()),
    );
    let figures: Vec<String> =
        figures::moments_by_step(record).into_iter().chain(figures::divergences_by_step(record)).collect();
    section(
        "Tuning, step by step",
        &introduction,
        &format!(r#"<div class="multiples">{}</div>"#, figures.concat()),
    )
}

/// Quasi-rejection sampling.
pub(super) fn rejection(record: &RunRecord) -> String {
    let qrs = &record.qrs;
    let introduction = format!(
        "Of {} proposals of the tuned policy {} were accepted: an acceptance rate of {} at ln β = {}, where the \
         estimated total variation to the target is {}. A larger β accepts fewer and comes nearer.",
        grouped(qrs.proposals as u64),
        grouped(qrs.accepted as u64),
        estimate(&qrs.acceptance_rate),
        plain(qrs.log_beta),
        estimate(&qrs.total_variation),
    );
    section(
        "Quasi-rejection sampling",
        &introduction,
        &(figures::qrs_curve(record) + &warnings(&qrs.warnings)),
    )
}

/// Samples side by side.
pub(super) fn samples(record: &RunRecord) -> String {
    // A classifier has no place in the text that it looks for.
    let nowhere = Judges::new();
    let features: Vec<TextFeature> =
        record.spec.features.iter().filter_map(|feature| TextFeature::new(feature, &nowhere).ok()).collect();
    let column = |name: &str, class: &str, samples: &[SampleRecord]| {
        let shown: String =
            samples.iter().take(record.spec.sample.shown).map(|sample| shown(sample, &features)).collect();
        format!(r#"<div><h3 class="{class}">{name}</h3>{shown}</div>"#)
    };
    let columns = [
        column("Before", "base", &record.samples.base),
        column("Tuned", "tuned", &record.samples.tuned),
        column("QRS", "qrs", &record.samples.qrs),
    ];
    let introduction = "The first of each, not chosen. Grey is the context; what a feature looks for is marked; \
                        ∎ stands where the model ended the text itself.";
    section("Samples", introduction, &format!(r#"<div class="samples">{}</div>"#, columns.concat()))
}

fn shown(sample: &SampleRecord, features: &[TextFeature]) -> String {
    // White space at the end would only push the sign of the end down.
    let text = sample.text.trim_end();
    let ranges = features.iter().flat_map(|feature| feature.occurrences(text)).collect();
    let end = if sample.finished {
        r#"<span class="end">&nbsp;∎</span>"#
    } else {
        r#"<span class="end">&nbsp;…</span>"#
    };
    format!(
        r#"<blockquote><span class="context">{}</span>{}{end}<footer>{} nats, {} tokens</footer></blockquote>"#,
        escape(&sample.context),
        marked(text, ranges),
        one_decimal(sample.log_prob),
        sample.tokens,
    )
}

/// The fitted target and how far it can be trusted.
pub(super) fn fit(record: &RunRecord) -> String {
    let fit = &record.fit;
    let mut rows = vec![cells(["feature", "asked", "coefficient λ", "under the target", "held out"])];
    for feature in &record.features {
        rows.push(vec![
            escape(&feature.name),
            plain(feature.asked),
            feature.coefficient.as_ref().map_or_else(|| "hard".into(), estimate),
            estimate(&feature.fitted),
            feature.held_out.as_ref().map_or_else(|| "—".into(), estimate),
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
    section("The target", &introduction, &(table("fit", &rows) + &warnings(&fit.warnings)))
}

fn warnings(warnings: &[String]) -> String {
    warnings.iter().map(|warning| format!(r#"<p class="warning">{}</p>"#, escape(warning))).collect()
}

/// Model, settings, seeds, seconds.
pub(super) fn making(record: &RunRecord) -> String {
    let spec = &record.spec;
    let mut facts = vec![cells(["setting", "value"])];
    let mut fact = |name: &str, value: String| facts.push(vec![escape(name), escape(&value)]);
    fact("model", record.model.name.clone());
    if let ModelSource::Folder(folder) = &spec.model.source {
        fact("read from", folder.display().to_string());
    }
    for (name, value) in &record.model.facts {
        fact(name, value.clone());
    }
    fact("backend", spec.backend.feature().into());
    fact("decoding", spec.model.decoding().join(", "));
    fact("longest sample", format!("{} tokens", spec.model.max_new_tokens));
    fact("contexts", format!("{}, the first: {:?}", spec.contexts.len(), spec.contexts[0]));
    fact("learning rate", spec.tune.learning_rate.to_string());
    fact("seed", spec.seed.to_string());
    if let Some(bytes) = record.peak_memory_bytes {
        fact("peak memory", megabytes(bytes));
    }

    let mut stages = vec![cells(["stage", "seconds", "samples", "tokens", "tokens per second"])];
    let total: f64 = record.stages.iter().map(|stage| stage.seconds).sum();
    for stage in &record.stages {
        let rate = (stage.tokens > 0).then(|| grouped((stage.tokens as f64 / stage.seconds).round() as u64));
        let count = |count: usize| if count > 0 { grouped(count as u64) } else { "—".into() };
        stages.push(vec![
            escape(stage.name),
            format!("{:.1}", stage.seconds),
            count(stage.samples),
            count(stage.tokens),
            rate.unwrap_or_else(|| "—".into()),
        ]);
    }
    stages.push(vec!["all".into(), format!("{total:.1}"), String::new(), String::new(), String::new()]);
    let tables =
        format!(r#"<div class="making">{}{}</div>"#, table("stages", &stages), table("facts", &facts));
    let introduction = "The same settings and seed on the same machine give the same samples, fit and weights. Every \
                        number of this page is in <code>summary.json</code>, every sample in <code>samples.jsonl</code>.";
    section("How it was made", introduction, &tables)
}
