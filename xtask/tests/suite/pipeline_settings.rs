//! Settings of tuning and sampling in a whole pipeline.

use std::fs;

use xtask::read_spec;

use crate::pipeline::{SPEC, workflow};

#[test]
fn tuning_ends_early_is_logged_and_as_many_samples_are_accepted_as_were_asked() {
    let place = tempfile::tempdir().unwrap();
    let tune = "metrics_every = 2\nsampling = { kind = \"offline\", every = 2 }\nepochs = 2\nreplay = 1\n\
                early_stopping = { metric = \"tv_target_policy\", patience = 3, min_delta = 0.01 }\nlearning_rate";
    let log = "[log]\njsonl = \"steps.jsonl\"\ncsv = \"steps.csv\"\ntensorboard = \"events\"\n[sample]";
    let text = SPEC.replace("learning_rate", tune).replace("[sample]", log);
    let text = text.replace("count = 2000", "count = 500\naccepted = 700");
    let spec = read_spec("test.toml", &text, place.path()).unwrap();
    let record = workflow(&spec, &place.path().join("out")).unwrap();
    let tuning = record.tuning.as_ref().unwrap();
    let steps = tuning.steps.len();
    assert!((6..150).contains(&steps), "{steps}");
    assert!(
        tuning.warnings.iter().any(|warning| warning.contains("no longer improved")),
        "{:?}",
        tuning.warnings
    );
    let is_measured = |step: &&xtask::StepRecord| step.moments[0].is_some();
    let measured: Vec<usize> = tuning.steps.iter().filter(is_measured).map(|step| step.step).collect();
    assert!(measured.windows(2).all(|pair| pair[1] - pair[0] == 2), "{measured:?}");
    let lines = fs::read_to_string(place.path().join("steps.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), steps + 1, "a line per step, and one for the outcome");
    let rows = fs::read_to_string(place.path().join("steps.csv")).unwrap();
    assert_eq!(rows.matches(",tv_target_policy,").count(), measured.len());
    assert_eq!(fs::read_dir(place.path().join("events")).unwrap().count(), 1);
    let qrs = record.qrs.as_ref().unwrap();
    assert_eq!((qrs.accepted, qrs.samples.len()), (700, 700));
    assert!(qrs.proposals > 900, "{}", qrs.proposals);
    assert!(xtask::render_report(&record).contains("Tuning, step by step"));

    let short = spec_with_proposals(&text, 700);
    let record =
        workflow(&read_spec("test.toml", &short, place.path()).unwrap(), &place.path().join("short"));
    let qrs = record.unwrap().qrs.unwrap();
    assert!(qrs.proposals == 700 && qrs.accepted < 700, "{} {}", qrs.proposals, qrs.accepted);
    let expected = format!("Only {} of 700 samples were accepted", qrs.accepted);
    assert!(qrs.warnings.iter().any(|warning| warning.starts_with(&expected)), "{:?}", qrs.warnings);
}

/// The run file with a limit on proposals, and a goal that leaves open how many of them are accepted.
fn spec_with_proposals(text: &str, proposals: usize) -> String {
    text.replace("acceptance_rate = 0.6", &format!("total_variation = 0.05\nproposals = {proposals}"))
        .replace("[log]", "[log] # none")
        .replace("jsonl = \"steps.jsonl\"\ncsv = \"steps.csv\"\ntensorboard = \"events\"\n", "")
}

#[test]
fn a_log_that_cannot_be_written_is_found_before_anything_is_computed() {
    let place = tempfile::tempdir().unwrap();
    for (log, expected) in [
        ("jsonl = \"no/such/folder.jsonl\"", "folder.jsonl"),
        ("csv = \".\"", "cannot"),
        ("tensorboard = \"out/events\"", "the run writes its log to"),
    ] {
        let text = SPEC.replace("[sample]", &format!("[log]\n{log}\n[sample]"));
        let spec = read_spec("test.toml", &text, place.path()).unwrap();
        let error = workflow(&spec, &place.path().join("out")).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!place.path().join("out").exists());
    }
}
