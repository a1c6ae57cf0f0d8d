//! One page that compares several runs.

use std::collections::BTreeMap;

use disco_core::Estimate;

use super::{
    files::FileLinks,
    forest::{Lane, Panel, forest},
    html::{NOTHING, escape, estimate, section, shown, table},
    page::page,
    settings::settings_of,
};
use crate::results::{
    DISTANCES, TOTAL_VARIATION,
    numbers::{grouped, plain, shown_share},
    record::{RunRecord, TargetRecord},
    rows::{DistanceRow, FeatureRow},
};

/// A run on the page.
struct Run<'a> {
    record: &'a RunRecord,
    /// Its name, as HTML.
    label: String,
    /// The same as a link to its report.
    name: String,
    features: Vec<FeatureRow>,
}

/// A page with the headline numbers of several runs side by side, each feature's means, and the settings that differ. `runs` are records
/// with the name of each run and the links to its files.
pub fn render_comparison(runs: &[(String, FileLinks, RunRecord)]) -> String {
    let runs: Vec<Run<'_>> = runs
        .iter()
        .map(|(name, links, record)| Run {
            record,
            label: format!("<bdi>{}</bdi>", escape(name)),
            name: links.to_report(&format!("<bdi>{}</bdi>", escape(name))),
            features: record.features(),
        })
        .collect();
    let sections =
        [Some(headline(&runs)), Some(features(&runs)), Some(differences(&runs)), Some(notes(&runs))];
    let sections: Vec<String> = sections.into_iter().flatten().collect();
    let titles: Vec<String> = runs
        .iter()
        .map(|run| format!("<li>{}: <bdi>{}</bdi></li>", run.name, escape(&run.record.spec.title)))
        .collect();
    let kicker = format!("disco {} · comparison of {} runs", env!("CARGO_PKG_VERSION"), runs.len());
    let content =
        format!(r#"<ul class="lede runs">{}</ul></header>{}"#, titles.concat(), sections.join("\n"));
    page("Runs side by side", &kicker, &content)
}

/// A number of a run, as HTML.
type Number<'a> = &'a dyn Fn(&Run<'_>) -> String;

/// The numbers that tell runs apart at a glance, a column for each run.
fn headline(runs: &[Run<'_>]) -> String {
    let nothing = || NOTHING.to_owned();
    let total_variation = |run: &Run<'_>, of: fn(&DistanceRow) -> Option<Estimate>| {
        let distances = run.record.distances();
        let row = distances.iter().find(|row| row.formula == DISTANCES[TOTAL_VARIATION].formula);
        row.and_then(of).as_ref().map_or_else(nothing, estimate)
    };
    let share = |found: Option<Estimate>| found.map_or_else(nothing, |found| shown(&shown_share(&found)));
    let target = |run: &Run<'_>, of: &dyn Fn(&TargetRecord) -> String| {
        run.record.target.as_ref().map_or_else(nothing, of)
    };
    let numbers: [(&str, Number<'_>); 9] = [
        ("steps of tuning", &|run| {
            let steps = run.record.tuning.as_ref().map(|tuning| grouped(tuning.steps.len() as u64));
            steps.unwrap_or_else(nothing)
        }),
        ("effective sample size of the fit", &|run| target(run, &|target| plain(target.fit.ess.round()))),
        ("KL from base to target", &|run| target(run, &|target| estimate(&target.fit.kl))),
        ("exact rejection accepts", &|run| target(run, &|target| share(target.exact_rejection))),
        ("QRS accepts", &|run| share(run.record.qrs.as_ref().map(|qrs| qrs.acceptance_rate))),
        ("total variation of the base", &|run| total_variation(run, |row| row.base)),
        ("total variation of the tuned policy", &|run| total_variation(run, |row| row.tuned)),
        ("total variation of QRS", &|run| total_variation(run, |row| row.qrs)),
        ("seconds", &|run| {
            format!("{:.1}", run.record.stages.iter().fold(0.0, |sum, stage| sum + stage.seconds))
        }),
    ];
    let mut rows = vec![head("number", runs)];
    for (name, of) in numbers {
        rows.push(std::iter::once(name.to_owned()).chain(runs.iter().map(of)).collect());
    }
    let introduction = "Total variations are distances to each run's own target. Numbers have one standard error; those of two runs \
                        with the same seed are not independent.";
    section("At a glance", introduction, &table("headline", &rows))
}

/// The head of a table with a column for each run.
fn head(first: &str, runs: &[Run<'_>]) -> Vec<String> {
    std::iter::once(first.to_owned()).chain(runs.iter().map(|run| run.name.clone())).collect()
}

/// The means of each feature, run by run.
fn features(runs: &[Run<'_>]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for feature in runs.iter().flat_map(|run| &run.features) {
        if !names.contains(&feature.name.as_str()) {
            names.push(&feature.name);
        }
    }
    let panels = names.into_iter().map(|name| panel(name, runs).html());
    let introduction = "The mean of each feature in each run: under the <span class=\"base\">base</span>, over samples of the \
                        <span class=\"tuned\">tuned policy</span> and of those that <span class=\"qrs\">QRS</span> accepts, with 95% \
                        intervals. What was <span class=\"asked\">asked</span> is marked where all runs ask the same.";
    section("Features", introduction, &format!(r#"<div class="comparison">{}</div>"#, forest(panels)))
}

fn panel<'a>(name: &'a str, runs: &'a [Run<'a>]) -> Panel<'a> {
    let with_it =
        || runs.iter().filter_map(|run| Some((run, run.features.iter().find(|row| row.name == name)?)));
    let mut lanes = Vec::new();
    for (run, row) in with_it() {
        let stages = [
            ("base", "base", row.base, false),
            ("tuned", "tuned", row.tuned, false),
            ("qrs", "QRS", row.qrs, true),
        ];
        for (class, stage, mean, is_of_target) in stages {
            let Some(mean) = mean else { continue };
            let mean = if is_of_target { row.of_target(mean) } else { mean };
            let words = row.words(&mean);
            lanes.push(Lane { class, label: format!("{} {stage}", run.label), mean, words });
        }
    }
    let mut asked = with_it().map(|(_, row)| row.range());
    let first = asked.next().flatten();
    let is_same = asked.all(|other| other == first);
    Panel {
        name,
        asked: first.filter(|_| is_same),
        is_binary: with_it().all(|(_, row)| row.is_binary),
        lanes,
    }
}

/// The settings that are not the same in all runs.
fn differences(runs: &[Run<'_>]) -> String {
    let mut found: BTreeMap<String, Vec<Option<String>>> = BTreeMap::new();
    for (index, run) in runs.iter().enumerate() {
        let model =
            run.record.model.facts.iter().map(|(name, value)| (format!("model: {name}"), value.clone()));
        let version = ("version of disco".to_owned(), run.record.version.to_string());
        // The text of the run file repeats its values.
        let settings = settings_of(&run.record.spec).into_iter().filter(|setting| setting.0 != "written");
        for (name, value) in settings.chain(model).chain([version]) {
            found.entry(name).or_insert_with(|| vec![None; runs.len()])[index] = Some(value);
        }
    }
    found.retain(|_, values| values.iter().any(|value| *value != values[0]));
    let mut rows = vec![head("setting", runs)];
    for (name, values) in &found {
        let cell = |value: &Option<String>| {
            value.as_ref().map_or_else(|| NOTHING.into(), |value| format!("<bdi>{}</bdi>", escape(value)))
        };
        rows.push(std::iter::once(escape(name)).chain(values.iter().map(cell)).collect());
    }
    match found.is_empty() {
        true => section("Settings", "All settings are the same.", ""),
        false => section("Settings that differ", "All others are the same.", &table("differences", &rows)),
    }
}

/// The reasons to doubt the numbers of each run.
fn notes(runs: &[Run<'_>]) -> String {
    let mut html = String::new();
    for Run { record, name, .. } in runs {
        let fit = record.target.iter().flat_map(|target| &target.fit.warnings);
        let tuning = record.tuning.iter().flat_map(|tuning| &tuning.warnings);
        let qrs = record.qrs.iter().flat_map(|qrs| &qrs.warnings);
        for (stage, warning) in fit
            .map(|one| ("fit", one))
            .chain(tuning.map(|one| ("tuning", one)))
            .chain(qrs.map(|one| ("QRS", one)))
        {
            html.push_str(&format!(r#"<p class="warning">{name}, {stage}: {}</p>"#, escape(warning)));
        }
    }
    let introduction =
        if html.is_empty() { "There are none." } else { "Each is a reason to doubt numbers of one run." };
    section("Warnings", introduction, &html)
}
