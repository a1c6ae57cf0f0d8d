//! Settings of tuning and sampling in a whole pipeline.

use std::fs;

use serde_json::Value;
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

/// A table has parameters of its own for each context, so that tuning in one leaves the policy in another as it was: on held-out
/// contexts nothing can improve. In "calm" a word is "sword" with probability 1/91, and in "stormy" with 1/10.
#[test]
fn validation_is_of_held_out_contexts_and_ends_tuning_where_they_do_not_improve() {
    const EVERY: usize = 3;
    const PATIENCE: usize = 4;
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("held.txt"), "calm\n").unwrap();
    let mut text = SPEC.replace("list = [\"calm\"]", "list = [\"stormy\"]\nheld_out = \"held.txt\"");
    text = text.replace("never = true", "").replace(
        "learning_rate",
        &format!(
            "validation = {{ every = {EVERY}, samples = 400 }}\n\
             early_stopping = {{ metric = \"validation/tv_target_policy\", patience = {PATIENCE} }}\nlearning_rate"
        ),
    );
    text = text.replace("[sample]", "[log]\njsonl = \"steps.jsonl\"\n[sample]");
    let spec = read_spec("test.toml", &text, place.path()).unwrap();
    let record = workflow(&spec, &place.path().join("out")).unwrap();

    let lines = fs::read_to_string(place.path().join("steps.jsonl")).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (outcome, steps) = lines.split_last().unwrap();
    let series = |name: &str| -> Vec<(usize, f64)> {
        let of = |step: &Value| {
            Some((step["step"].as_u64()? as usize, step["metrics"].get(name)?["value"].as_f64()?))
        };
        steps.iter().filter_map(of).collect()
    };
    let validated = series("validation/tv_target_policy");
    let first = validated[0];
    assert!(validated.iter().all(|(_, value)| *value == first.1), "{validated:?}");
    assert_eq!(validated.len(), 1 + PATIENCE, "the first is the best, and no other is better: {validated:?}");
    assert!(validated.windows(2).all(|pair| pair[1].0 - pair[0].0 == EVERY), "{validated:?}");
    let (last, tuning) = (validated[PATIENCE].0, record.tuning.as_ref().unwrap());
    assert_eq!((steps.len(), tuning.steps.len()), (last, last));
    assert_eq!(outcome["reason"], "no_improvement", "{outcome}");
    let expected = format!("its best value was {:.4}, at step {}", first.1, first.0);
    assert!(tuning.warnings.iter().any(|warning| warning.contains(&expected)), "{:?}", tuning.warnings);
    // Meanwhile the policy has improved where it was tuned.
    let trained = series("tv_target_policy");
    assert!(trained[trained.len() - 1].1 < trained[0].1 - 0.05, "{trained:?}");
    // Four standard errors of 400 samples.
    let share = |of_word: f64| 1.0 - (1.0 - of_word).powi(3);
    let swords = series("validation/moment/sword/policy")[0].1;
    let (calm, stormy) = (share(1.0 / 91.0), share(0.1));
    let error = |p: f64| 4.0 * (p * (1.0 - p) / 400.0).sqrt();
    assert!((swords - calm).abs() < error(calm) && (swords - stormy).abs() > error(stormy), "{swords}");
}
