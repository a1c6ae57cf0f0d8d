//! The report in a browser: the one that `DISCO_CHROMIUM` names; without it these tests are left out.

use std::{fmt::Write, fs, path::Path, process::Command};

use disco_core::Estimate;
use tempfile::TempDir;
use xtask::{
    BaseRecord, CategoryDistance, FileLinks, QrsCount, RunRecord, read_record, read_spec, render_comparison,
    render_report_with,
};

use crate::common::{estimate, names, record, write_results_of};

/// Texts that would act if they became markup, or that turn the direction of what follows.
const HOSTILE: [&str; 6] = [
    "<script>document.body.remove()</script>",
    "</script><script>document.body.remove()</script>",
    "\"><img src=x onerror=\"document.body.remove()\"> & 'quoted'",
    "</td></tr></table><iframe src='https://example.org'></iframe>",
    "\u{202e}turned around\u{200f} <b>bold</b>",
    "&lt;b&gt; <!-- <style>*{display:none}</style> ]]> \0",
];

/// A run whose model, run file and warnings are as hostile as they can be.
fn hostile() -> RunRecord {
    let mut record = record();
    record.spec.title = HOSTILE.join(" ");
    record.model.facts.insert(HOSTILE[0].into(), HOSTILE[1].into());
    record.qrs.as_mut().unwrap().warnings = HOSTILE.map(str::to_owned).to_vec();
    record.target.as_mut().unwrap().heaviest[0].sample.text = HOSTILE[1].into();
    let stages = [
        &mut record.base.as_mut().unwrap().samples,
        &mut record.policy.as_mut().unwrap().samples,
        &mut record.qrs.as_mut().unwrap().samples,
    ];
    for samples in stages {
        let mut other = samples[0].clone();
        for text in HOSTILE {
            other.text = text.into();
            samples.push(other.clone());
        }
    }
    record
}

/// A run with contexts, some of them long and hostile, and with numbers at the ends of what can be.
fn with_contexts() -> RunRecord {
    let mut record = record();
    let contexts =
        ["A short one", "a_long_word_without_a_place_to_break_a_line_", HOSTILE[2]].map(|text: &str| {
            xtask::TextContext::from(if text.starts_with("a_") { text.repeat(5) } else { text.to_owned() })
        });
    record.spec.contexts.items = contexts.to_vec();
    record.spec.features[0].per_context = true;
    let means = |low: f64| -> Vec<Vec<Option<Estimate>>> {
        (0..3).map(|context| vec![Some(estimate(low + 0.01 * f64::from(context), 0.02)), None]).collect()
    };
    record.base.as_mut().unwrap().by_context = means(0.08);
    record.policy.as_mut().unwrap().by_context = means(0.4);
    let qrs = record.qrs.as_mut().unwrap();
    qrs.by_context = means(0.48);
    qrs.by_context_counts = [(400, 150), (400, 0), (224, 224)]
        .map(|(proposals, accepted)| QrsCount { proposals, accepted })
        .to_vec();
    for (index, sample) in qrs.samples.iter_mut().enumerate() {
        sample.context = contexts[index % 3].text().to_owned();
    }
    record
}

/// A run with a category, whose labels are longer than its bars are wide.
fn with_category() -> RunRecord {
    let text = include_str!("../../specs/category.toml");
    let text = text
        .replace("\"question\"", "\"a question of some length\"")
        .replace("question =", "\"a question of some length\" =");
    let spec = read_spec("category.toml", &text, Path::new("")).unwrap_or_else(|error| panic!("{error}"));
    let mut record = RunRecord::new(&spec, record().model);
    let means = |shift: f64| {
        (0..spec.measures().len()).map(|index| estimate(0.05 * index as f64 + shift, 0.01)).collect()
    };
    let categories: Vec<_> = spec
        .features
        .iter()
        .filter(|feature| feature.kind.labels().is_some() && feature.target.is_some())
        .map(|feature| CategoryDistance {
            name: feature.name.clone(),
            total_variation: estimate(0.1, 0.01),
            wasserstein: None,
        })
        .collect();
    assert!(!categories.is_empty());
    record.base =
        Some(BaseRecord { means: means(0.1), categories: categories.clone(), ..BaseRecord::default() });
    record
}

/// The frames of a page, with the page in an attribute: at each width with its script, and without.
fn frames(name: &str, page: &str) -> String {
    let source = page.replace('&', "&amp;").replace('"', "&quot;");
    let frame = |(width, scripts): (u32, &str)| {
        let sandbox = if scripts == "off" { " sandbox=\"allow-same-origin\"" } else { "" };
        format!(
            "<iframe data-page=\"{name}\" data-width=\"{width}\" data-scripts=\"{scripts}\"{sandbox} \
             style=\"width:{width}px;height:900px;border:0\" srcdoc=\"{source}\"></iframe>"
        )
    };
    [(400, "on"), (1100, "on"), (400, "off")].map(frame).concat()
}

/// The browser's account of these pages: the findings of `browser.js`, and the messages of its console.
fn browse(browser: &Path, place: &Path, pages: &[(&str, String)]) -> (String, Vec<String>) {
    let mut html =
        "<!doctype html><meta charset=\"utf-8\"><pre id=\"found\">nothing was measured</pre>".to_owned();
    for (name, page) in pages {
        html.push_str(&frames(name, page));
        // For whoever wants to look at them.
        if let Some(folder) = std::env::var_os("DISCO_REPORTS") {
            fs::write(Path::new(&folder).join(format!("{name}.html")), page).unwrap();
        }
    }
    let _ = write!(html, "<script>{}</script>", include_str!("browser.js"));
    let file = place.join("frames.html");
    fs::write(&file, html).unwrap();
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"])
        .args(["--virtual-time-budget=20000", "--window-size=1300,1000"])
        .arg(format!("--user-data-dir={}", place.join("profile").display()))
        .arg(format!("file://{}", file.display()))
        .output()
        .unwrap();
    let page = String::from_utf8(output.stdout).unwrap();
    let found = page.split_once("<pre id=\"found\">").and_then(|(_, rest)| rest.split_once("</pre>"));
    let found = found.unwrap_or_else(|| panic!("the browser gave no page: {page}")).0.to_owned();
    let messages = String::from_utf8_lossy(&output.stderr);
    (found, messages.lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect())
}

#[test]
fn browser_shows_every_page_without_overlap_scrolling_markup_of_texts_or_message() {
    let Some(browser) = std::env::var_os("DISCO_CHROMIUM") else {
        eprintln!("left out: DISCO_CHROMIUM names no browser");
        return;
    };
    let place = TempDir::new().unwrap();
    let folders: Vec<_> = [("one", record()), ("two", hostile())]
        .into_iter()
        .map(|(name, record)| write_results_of(&place.path().join(name), &record).unwrap())
        .collect();
    assert!(names(&folders[0]).contains(&"report.html".to_owned()));
    let runs: Vec<_> = folders
        .iter()
        .map(|folder| {
            let links = FileLinks::from_page(&place.path().join("page.html"), folder).unwrap();
            (format!("{} {}", folder.display(), HOSTILE[0]), links, read_record(folder).unwrap())
        })
        .collect();
    let mut one_step = record();
    one_step.tuning.as_mut().unwrap().steps.truncate(1);
    one_step.qrs.as_mut().unwrap().curve.truncate(1);
    let mut without_stages = record();
    (without_stages.policy, without_stages.qrs, without_stages.tuning) = (None, None, None);
    let links = FileLinks::beside(&folders[0]).unwrap();
    let pages = [
        ("plain", render_report_with(&record(), &links)),
        ("hostile", render_report_with(&hostile(), &links)),
        ("contexts", render_report_with(&with_contexts(), &links)),
        ("category", render_report_with(&with_category(), &links)),
        ("one-step", render_report_with(&one_step, &links)),
        ("fit-only", render_report_with(&without_stages, &links)),
        ("comparison", render_comparison(&runs)),
    ];
    let (found, messages) = browse(Path::new(&browser), place.path(), &pages);
    assert_eq!(found, format!("measured {}", 3 * pages.len()), "{found}");
    // The browser says that it ran no script in the frames that forbid it, and nothing else.
    let (of_sandbox, others): (Vec<_>, Vec<_>) =
        messages.iter().partition(|message| message.contains("the document's frame is sandboxed"));
    assert_eq!((of_sandbox.len(), others), (pages.len(), Vec::new()));
}
