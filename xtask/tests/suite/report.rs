//! The report shows what the record says, needs nothing from elsewhere, and is well formed.

use xtask::{render_report, terminal_table};

use crate::common::{estimate, record};

/// Elements without an end tag.
const VOID: [&str; 5] = ["meta", "br", "hr", "img", "input"];

/// Checks that the elements are nested, and gives how many there are.
fn check_nesting(html: &str) -> usize {
    let mut open: Vec<&str> = Vec::new();
    let mut elements = 0;
    for part in html.split('<').skip(1) {
        let (tag, _) = part.split_once('>').unwrap_or_else(|| panic!("no end of tag in `{part}`"));
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "before </{name}>");
        } else if !tag.starts_with('!') {
            let name = tag.split([' ', '/']).next().unwrap();
            elements += 1;
            if !tag.ends_with('/') && !VOID.contains(&name) {
                open.push(name);
            }
        }
    }
    assert_eq!(open, Vec::<&str>::new(), "left open");
    elements
}

#[test]
fn the_report_is_well_formed_and_self_contained() {
    let html = render_report(&record());
    assert!(check_nesting(&html) > 200);
    for outside in ["http:", "https:", "src=", "href=", "url(", "@import", "fetch", "<link"] {
        assert!(!html.contains(outside), "the report refers to something outside: {outside}");
    }
    assert_eq!(html.matches("<script").count(), 1);
    assert!(html.contains("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-"));
    assert!(!html.contains("NaN"));
    if let Some(path) = std::env::var_os("DISCO_REPORT") {
        std::fs::write(path, &html).unwrap();
    }
}

#[test]
fn the_report_shows_the_numbers_with_their_errors() {
    let html = render_report(&record());
    for shown in [
        "0.467<span class=\"error\"> ± 0.016",
        "0.0830<span class=\"error\"> ± 0.0061",
        "asked <span class=\"asked\">50%</span>; <span class=\"base\">8.3 ± 0.6%</span> under the base",
        "predicted",
        "61.2 of them before a resumption",
        "tune.optimizer.momentum",
        "exact rejection from the base",
        "−34.91",
        "642 MB",
        "2.41",
    ] {
        assert!(html.contains(shown), "`{shown}` is missing");
    }
}

#[test]
fn texts_of_samples_are_escaped_and_marked() {
    let html = render_report(&record());
    assert!(html.contains("&lt;come&gt;") && html.contains("a horse &amp; a bottle"));
    assert!(html.contains("Go to the <mark>king</mark>, and"));
    assert!(html.contains("<mark>CATESBY</mark>"));
}

#[test]
fn a_run_of_one_step_without_errors_is_rendered_too() {
    let mut record = record();
    record.tuning.as_mut().unwrap().steps.truncate(1);
    record.base.as_mut().unwrap().samples.clear();
    let policy = record.policy.as_mut().unwrap();
    policy.samples.clear();
    policy.means[0] = estimate(0.5, f64::INFINITY);
    let qrs = record.qrs.as_mut().unwrap();
    qrs.curve.truncate(1);
    qrs.samples.clear();
    qrs.distances.clear();
    record.target.as_mut().unwrap().features[0].held_out = None;
    let html = render_report(&record);
    check_nesting(&html);
    assert!(!html.contains("NaN") && !html.contains("inf\""));
}

#[test]
fn a_run_without_tuning_speaks_of_no_tuned_policy() {
    let mut record = record();
    record.tuning.as_mut().unwrap().steps.clear();
    let html = render_report(&record);
    check_nesting(&html);
    assert!(!html.contains("step by step") && !html.contains("after tuning") && !html.contains(">tuned<"));
    assert!(html.contains("QRS from the base") && html.contains("the base again, as it is"));
}

#[test]
fn no_share_without_an_error_is_shown_as_exact_unless_it_is() {
    let mut record = record();
    let none = disco_core::Estimate { value: 0.0, std_error: 0.0, ess: 1500.0 };
    record.base.as_mut().unwrap().means[0] = none;
    record.policy.as_mut().unwrap().means[1] = disco_core::Estimate { value: 1.0, ..none };
    let html = render_report(&record);
    assert!(html.contains("&lt; 0.0020<span class=\"error\"> (95%)</span>"));
    assert!(html.contains("&gt; 0.9980<span class=\"error\"> (95%)</span>"));
    // The target and QRS keep exactly to `never`.
    assert!(html.contains("0<span class=\"error\"> exact</span>"));
    assert!(!html.contains("± 0<") && !html.contains("0.0000"));
    assert!(html.contains("<span class=\"base\">&lt; 0.2%</span> under the base"));
}

#[test]
fn the_table_on_the_terminal_is_aligned() {
    let table = terminal_table(&record());
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0], "feature                       before  asked            tuned            QRS");
    assert_eq!(lines[1], "king                 0.0830 ± 0.0061  0.500    0.467 ± 0.016  0.498 ± 0.022");
    assert!(lines[2].ends_with("0.0176 ± 0.0041        0 exact"), "{table}");
    assert!(
        table.contains("QRS accepts 0.505 ± 0.016 of the proposals (ln beta = −34.91): 517 of 1\u{202f}024.")
    );
    assert!(table.contains("Note (QRS): The largest 5 weights"));
    assert!(table.ends_with("132 seconds, at most 642 MB of memory, seed 1.\n"), "{table}");
}
