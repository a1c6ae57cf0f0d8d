//! The sections of the report, in the order in which they are read.

use std::collections::BTreeMap;

use super::{
    figures,
    html::{NOTHING, asked, asked_in_words, cells, escape, estimate, marked, optional, section, table},
    strip::Strip,
};
use crate::{
    contexts::TextContext,
    features::Marks,
    results::{
        numbers::{grouped, megabytes, one_decimal, plain, rate},
        record::{RunRecord, SampleRecord},
        rows::{FeatureRow, StageSamples},
    },
    spec::{ModelSource, Target},
};

/// A share as a percentage, other means as they are.
fn mean_in_words(value: f64, binary: bool) -> String {
    if binary { format!("{:.0}%", 100.0 * value) } else { plain(value) }
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
        let words = |value| mean_in_words(value, feature.is_binary);
        let asked = match (&measure.feature.target, feature.range()) {
            (Some(Target::Always), _) => "always".into(),
            (Some(Target::Never), _) => "never".into(),
            (_, Some(range)) => range.in_words(words),
            (_, None) if reward(&feature.name).is_some_and(|reward| reward.beta < 0.0) => "less".into(),
            (_, None) => "more".into(),
        };
        let [base, tuned, qrs] =
            [feature.base, feature.tuned, feature.qrs].map(|mean| mean.map(|mean| words(mean.value)));
        let reached = [
            base.map(|base| format!("{base} before")),
            tuned.map(|tuned| format!("<span class=\"tuned\">{tuned}</span> after tuning")),
            qrs.map(|qrs| format!("<span class=\"qrs\">{qrs}</span> by QRS")),
        ];
        let reached: Vec<String> = reached.into_iter().flatten().collect();
        let (name, separator) = (escape(&feature.name), if reached.is_empty() { "" } else { "; " });
        format!(
            "<span class=\"feature\">{name}</span>: asked <span class=\"asked\">{asked}</span>{separator}{}.",
            reached.join(", ")
        )
    });
    format!(r#"<p class="lede">{}</p>"#, sentences.collect::<Vec<_>>().join("<br>"))
}

/// Each feature's mean before, asked, tuned and by QRS.
pub(super) fn moments(record: &RunRecord) -> String {
    let stages = [true, record.base.is_some(), true, record.policy.is_some(), record.qrs.is_some(), true];
    let row = |cells: [String; 6]| -> Vec<String> {
        cells.into_iter().zip(stages).filter_map(|(cell, is_there)| is_there.then_some(cell)).collect()
    };
    let head = ["feature", "before", "asked", "tuned", "QRS", "two standard errors either way"];
    let mut rows = vec![row(head.map(str::to_owned))];
    for feature in &record.features() {
        rows.push(row([
            escape(&feature.name),
            optional(feature.base),
            asked(feature.range()),
            optional(feature.tuned),
            optional(feature.qrs),
            strip(feature).svg(),
        ]));
    }
    let key = "Means over samples of the <span class=\"base\">base</span>, of the <span class=\"tuned\">tuned policy</span>, and of what \
               <span class=\"qrs\">quasi-rejection sampling</span> accepts of it, with what was <span class=\"asked\">asked</span>.";
    let notes = warnings(&record.skipped_notes());
    section("What was asked, and what came of it", key, &(table("moments", &rows) + &notes))
}

fn strip(feature: &FeatureRow) -> Strip<'_> {
    Strip {
        name: &feature.name,
        stages: [feature.base, feature.tuned, feature.qrs],
        asked: feature.range(),
        is_binary: feature.is_binary,
    }
}

/// The divergences to the target and to the base.
pub(super) fn distances(record: &RunRecord) -> Option<String> {
    let from_base = record.kl_from_base();
    let target = from_base.target?;
    let mut rows = vec![cells(["divergence to the target", "before", "tuned", "QRS"])];
    for distance in record.distances() {
        rows.push(vec![
            format!("{} <span class=\"formula\">{}</span>", escape(distance.name), escape(distance.formula)),
            optional(distance.base),
            optional(distance.tuned),
            optional(distance.qrs),
        ]);
    }
    rows.push(vec!["KL to the base".into(), "0".into(), optional(from_base.tuned), optional(from_base.qrs)]);
    let masking = record.base.as_ref().and_then(|base| base.masking).map_or_else(String::new, |masking| {
        format!(
            " The model gives the texts of the grammar with probability {}; masking alone, without weights, is {} nats away from the \
             model's own distribution among them.",
            escape(&rate(&masking.probability)),
            estimate(&masking.kl)
        )
    });
    let introduction = format!(
        "The target is the distribution nearest to the base that has what was asked; it is {} nats away from it (KL). \
         KL in nats, total variation and Jensen-Shannon as they are.{masking}",
        estimate(&target)
    );
    Some(section("How far from the target", &introduction, &table("distances", &rows)))
}

/// The course of tuning.
pub(super) fn tuning(record: &RunRecord) -> Option<String> {
    let tuning = record.tuning.as_ref()?;
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

/// Quasi-rejection sampling.
pub(super) fn rejection(record: &RunRecord) -> Option<String> {
    let qrs = record.qrs.as_ref()?;
    let introduction = format!(
        "Of {} proposals of the tuned policy {} were accepted: an acceptance rate of {} at ln β = {}, where the \
         estimated total variation to the target is {}. A larger β accepts fewer and comes nearer.",
        grouped(qrs.proposals as u64),
        grouped(qrs.accepted as u64),
        estimate(&qrs.acceptance_rate),
        plain(qrs.log_beta),
        estimate(&qrs.total_variation),
    );
    let content = figures::qrs_curve(qrs) + &exact_rejection(record) + &warnings(&qrs.warnings);
    Some(section("Quasi-rejection sampling", &introduction, &content))
}

/// The row that tuning has to beat: samples of the target itself, from the base alone.
fn exact_rejection(record: &RunRecord) -> String {
    let Some(target) = &record.target else { return String::new() };
    let said = match &target.exact_rejection {
        Some(accepted) => format!(
            "Exact rejection from the base, with the known bound of the target's factor, accepts {}.",
            escape(&rate(accepted))
        ),
        None => {
            "Exact rejection from the base has no known bound here: a feature of the target is not bounded."
                .into()
        }
    };
    format!("<p>{said}</p>")
}

/// The samples of each stage, side by side.
pub(super) fn samples(record: &RunRecord) -> Option<String> {
    let stages = record.samples();
    if stages.is_empty() {
        return None;
    }
    let marks = Marks::new(&record.spec.features);
    // The columns of a context are known where no other context has its text.
    let mut contexts: BTreeMap<&str, Option<&TextContext>> = BTreeMap::new();
    for context in &record.spec.contexts.items {
        contexts.entry(context.text()).and_modify(|known| *known = None).or_insert(Some(context));
    }
    let column = |stage: &StageSamples<'_>| {
        let samples = stage.samples.iter().take(record.spec.sample.shown);
        let shown: String = samples
            .map(|sample| shown(sample, &marks, contexts.get(&*sample.context).copied().flatten()))
            .collect();
        format!(r#"<div><h3 class="{}">{}</h3>{shown}</div>"#, stage.stage, stage.heading)
    };
    let columns: String = stages.iter().map(column).collect();
    let introduction = "The first of each, not chosen. Grey is the context; what a feature looks for is marked; \
                        ∎ stands where the model ended the text itself.";
    Some(section("Samples", introduction, &format!(r#"<div class="samples">{columns}</div>"#)))
}

fn shown(sample: &SampleRecord, marks: &Marks, context: Option<&TextContext>) -> String {
    // White space at the end would only push the sign of the end down.
    let text = sample.text.trim_end();
    let ranges = marks.of(context, text);
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

/// The fitted target, and the reasons to doubt it.
pub(super) fn fit(record: &RunRecord) -> Option<String> {
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
        rows.push(vec![
            escape(&row.name),
            asked_in_words(row.range()),
            coefficient,
            estimate(&feature.fitted),
            optional(feature.held_out),
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
    Some(section("The target", &introduction, &(table("fit", &rows) + &warnings(&fit.warnings))))
}

fn warnings(warnings: &[String]) -> String {
    warnings.iter().map(|warning| format!(r#"<p class="warning">{}</p>"#, escape(warning))).collect()
}

/// The model, the settings and the wall times.
pub(super) fn settings(record: &RunRecord) -> String {
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
    let contexts = &spec.contexts.items;
    fact("contexts", format!("{}, the first: {:?}", contexts.len(), contexts[0].text()));
    fact("learning rate", spec.tune.learning_rate.to_string());
    fact("seed", spec.seed.to_string());
    if let Some(bytes) = record.peak_memory_bytes {
        fact("peak memory", megabytes(bytes));
    }

    let mut stages = vec![cells(["stage", "seconds", "samples", "tokens", "tokens per second"])];
    let total = record.stages.iter().fold(0.0, |sum, stage| sum + stage.seconds);
    for stage in &record.stages {
        let rate = (stage.tokens > 0).then(|| grouped((stage.tokens as f64 / stage.seconds).round() as u64));
        let count = |count: usize| if count > 0 { grouped(count as u64) } else { NOTHING.into() };
        stages.push(vec![
            escape(stage.name),
            format!("{:.1}", stage.seconds),
            count(stage.samples),
            count(stage.tokens),
            rate.unwrap_or_else(|| NOTHING.into()),
        ]);
    }
    stages.push(vec!["all".into(), format!("{total:.1}"), String::new(), String::new(), String::new()]);
    let tables =
        format!(r#"<div class="making">{}{}</div>"#, table("stages", &stages), table("facts", &facts));
    let introduction = "The same settings and seed on the same machine give the same samples, fit and weights. Every \
                        number of this page is in <code>summary.json</code>, every sample in <code>samples.jsonl</code>.";
    section("How it was made", introduction, &tables)
}
