//! Every problem of a spec file is an error that names file, line, column, field and what is allowed.

use std::{fs, path::Path};

use xtask::{
    AdapterSpec, Backend, ClassifierSpec, FeatureKind, LabelValue, ModelSource, QrsGoal, SpecError, Target,
    Words, read_spec,
};

use crate::common;

/// The least that a spec must say.
const LEAST: &str = r#"
[model]
source = "embedded"
[contexts]
list = ["Once"]
[[features]]
name = "night"
kind = "contains"
text = "night"
mean = 0.5
"#;

fn read(text: &str) -> Result<xtask::Spec, SpecError> {
    read_spec("specs/mine.toml", text, Path::new("specs"))
}

/// Checks that `text` has exactly one problem, and what its first line and its allowed values say.
#[track_caller]
fn check(text: &str, message: &str, allowed: &str) {
    let error = read(text).unwrap_err();
    assert_eq!(error.problems.len(), 1, "{error}");
    let problem = &error.problems[0];
    let (line, column) = problem.position;
    assert_eq!(format!("{line}:{column}: {}", problem.message), message, "{error}");
    assert!(problem.allowed.contains(allowed), "`{}` should contain `{allowed}`", problem.allowed);
}

/// As [`check`], for `LEAST` with one line replaced by another.
#[track_caller]
fn check_line(line: &str, instead: &str, message: &str, allowed: &str) {
    assert!(LEAST.contains(line));
    check(&LEAST.replace(line, instead), message, allowed);
}

#[test]
fn what_is_not_said_has_a_default() {
    let spec = read(LEAST).unwrap();
    assert_eq!((spec.title.as_str(), spec.seed, spec.backend), ("mine", 0, Backend::Flex));
    assert_eq!(spec.model.source, ModelSource::Embedded);
    assert_eq!(spec.tune.divergence.to_string(), "js");
    assert_eq!(spec.sample.qrs, QrsGoal::AcceptanceRate(0.5));
    let words = Words { text: "night".into(), whole_word: false, ignore_case: false };
    assert_eq!(spec.features[0].kind, FeatureKind::Contains(words));
    assert_eq!(spec.features[0].target, Some(Target::mean(0.5)));
    let best = read(&format!("{LEAST}[checkpoints]\nbest = \"ess\"\n")).unwrap().checkpoints.best;
    assert_eq!((spec.checkpoints.best, best), (None, Some("ess")));
}

#[test]
fn an_adapter_is_tuned_if_the_spec_has_one() {
    assert_eq!(read(LEAST).unwrap().tune.adapter, None);
    let with =
        |fields: &str| read(&format!("{LEAST}[tune]\nadapter = {{ {fields} }}\n")).unwrap().tune.adapter;
    let adapter = |rank, alpha, modules: &[&str]| {
        let target_modules = modules.iter().map(|&name| name.into()).collect();
        Some(AdapterSpec { rank, alpha, target_modules })
    };
    assert_eq!(with(""), adapter(8, 16.0, &["all-linear"]));
    let all = "rank = 4, alpha = 2.5, target_modules = [\"q_proj\", \"v_proj\"]";
    assert_eq!(with(all), adapter(4, 2.5, &["q_proj", "v_proj"]));
}

#[test]
fn the_demo_is_a_spec() {
    let spec = common::demo_spec();
    assert_eq!(spec.model.source, ModelSource::Embedded);
    assert!(spec.features.iter().any(|feature| matches!(feature.target, Some(Target::Mean { .. }))));
    assert!(spec.features.iter().any(|feature| !matches!(feature.target, Some(Target::Mean { .. }))));
}

#[test]
fn unknown_fields_are_named_with_what_was_meant() {
    check(
        &format!("{LEAST}[tune]\nstep = 3\n"),
        "12:1: unknown field `tune.step`; did you mean `steps`?",
        "divergence, optimizer, adapter, steps",
    );
    check(
        &format!("sed = 3{LEAST}"),
        "1:1: unknown field `sed`; did you mean `seed`?",
        "title, seed, backend",
    );
    check_line(
        "text = \"night\"",
        "text = \"night\"\npatern = \"n\"",
        "10:1: unknown field `features.1.patern`",
        "whole_word",
    );
}

#[test]
fn wrong_types_and_values_are_found_where_they_are() {
    check(&format!("seed = \"one\"{LEAST}"), "1:8: `seed` is of type string", "a whole number from 0");
    check(&format!("seed = -1{LEAST}"), "1:8: `seed` is -1", "a whole number from 0");
    check(
        &format!("backend = \"cpu\"{LEAST}"),
        "1:11: `backend` is \"cpu\"; did you mean `flex`?",
        "flex, tch, wgpu, vulkan, cuda",
    );
    check(&format!("{LEAST}[tune]\nsteps = -1\n"), "12:9: `tune.steps` is -1", "a whole number from 0");
    check(&format!("{LEAST}[tune]\nlearning_rate = nan\n"), "12:17: `tune.learning_rate` is nan", "above 0");
    check(
        &format!("{LEAST}[tune]\ndivergence = \"jss\"\n"),
        "12:14: `tune.divergence` is \"jss\"; did you mean `js`?",
        "js, chi2-forward",
    );
    check(
        &format!("{LEAST}[tune]\noptimizer = {{ kind = \"lion\" }}\n"),
        "12:22: `tune.optimizer.kind` is \"lion\"",
        "adam, adamw, sgd",
    );
    let adapter = |fields: &str| format!("{LEAST}[tune]\nadapter = {{ {fields} }}\n");
    check(&adapter("rank = 0"), "12:20: `tune.adapter.rank` is 0", "a whole number from 1");
    check(&adapter("alpha = 0"), "12:21: `tune.adapter.alpha` is 0", "above 0");
    check(&adapter("target_modules = []"), "12:30: `tune.adapter.target_modules` is []", "at least one");
    check(&adapter("dropout = 0.1"), "12:13: unknown field `tune.adapter.dropout`", "target_modules");
    check(&format!("{LEAST}[fit]\nheld_out = 1\n"), "12:12: `fit.held_out` is 1", "from 0 to below 1");
    check(
        &format!("{LEAST}[sample]\nacceptance_rate = 0\n"),
        "12:19: `sample.acceptance_rate` is 0",
        "at most 1",
    );
    let model =
        |line: &str| LEAST.replace("source = \"embedded\"", &format!("source = \"embedded\"\n{line}"));
    check(&model("min_p = 1.5"), "4:9: `model.min_p` is 1.5", "from 0 to 1");
    check(&model("typical_p = 0"), "4:13: `model.typical_p` is 0", "above 0");
    check(&model("repetition_penalty = -1"), "4:22: `model.repetition_penalty` is -1", "above 0");
    check(&model("forbidden_tokens = [1, -2]"), "4:24: `model.forbidden_tokens` has -2 as item 2", "whole");
    check(&model("min_new_tokens = 41"), "4:18: `model.min_new_tokens` is 41", "at most max_new_tokens, 40");
    check(&format!("tune = 3{LEAST}"), "1:8: `tune` is of type integer", "a table: [tune]");
    check(
        &format!("{LEAST}[sample]\nlog_beta = 1\nacceptance_rate = 0.5\n"),
        "11:2: [sample] says more than once how to choose beta",
        "at most one of",
    );
    check(
        &format!("{LEAST}[tune]\ncontexts_per_step = 2\n"),
        "12:21: `tune.contexts_per_step` is 2",
        "at most the number of contexts, 1",
    );
}

#[test]
fn targets_must_fit_their_features() {
    check_line("mean = 0.5", "mean = 1.5", "10:8: `features.1.mean` is 1.5", "above 0 and below 1");
    check_line("mean = 0.5", "mean = 1", "10:8: `features.1.mean` is 1", "above 0 and below 1");
    check_line(
        "mean = 0.5",
        "",
        "6:1: `features` ask for nothing: none has a target, and there are no [[rewards]]",
        "a target for a feature (always",
    );
    check_line(
        "mean = 0.5",
        "mean = 0.5\nnever = true",
        "6:1: [features.1] has more than one target",
        "one of",
    );
    check_line("mean = 0.5", "always = false", "10:10: `features.1.always` is false", "never = true");
    let count = LEAST.replace("contains", "count");
    assert!(read(&count.replace("mean = 0.5", "mean = 2.5")).is_ok());
    check(&count.replace("mean = 0.5", "mean = -1"), "10:8: `features.1.mean` is -1", "above 0");
    check(&count.replace("mean = 0.5", "mean = 0"), "10:8: `features.1.mean` is 0", "never = true");
    check(
        &count.replace("mean = 0.5", "always = true"),
        "10:10: `features.1.always` is asked of a feature that is not 0 or 1",
        "mean = NUMBER",
    );
}

#[test]
fn features_need_name_kind_and_what_belongs_to_it() {
    check_line("name = \"night\"", "", "6:1: [features.1] has no `name`", "a name");
    check_line("kind = \"contains\"", "", "6:1: [features.1] has no `kind`", "contains, count, regex");
    check_line(
        "kind = \"contains\"",
        "kind = \"contain\"",
        "8:8: `features.1.kind` is \"contain\"; did you mean `contains`?",
        "contains, count",
    );
    check_line("text = \"night\"", "", "6:1: [features.1] has no `text`", "not empty");
    check_line("text = \"night\"", "text = \"\"", "9:8: `features.1.text` is \"\"", "not empty");
    let regex = LEAST.replace("contains", "regex");
    check(
        &regex.replace("text = \"night\"", "pattern = \"(\""),
        "9:11: `features.1.pattern` is no regular expression: unclosed group",
        "https://docs.rs/regex",
    );
    check_line("[[features]]", "[features]", "6:1: `features` is of type table", "[[features]]");
    let twice = format!("{LEAST}[[features]]\nname = \"night\"\nkind = \"ends\"\nalways = true\n");
    let error = read(&twice).unwrap_err();
    assert!(error.to_string().contains("two features have the name \"night\""), "{error}");
    assert_eq!(error.problems.len(), 1, "{error}");
}

#[test]
fn paths_are_seen_from_the_folder_of_the_spec() {
    let place = tempfile::tempdir().unwrap();
    let small = place.path().join("models").join("small");
    let read = |source: &str| {
        read_spec("mine.toml", &LEAST.replace("embedded", source), place.path()).map(|spec| spec.model.source)
    };
    // A hub is asked only for what is not there.
    assert_eq!(read("models/small").unwrap(), ModelSource::Hub("models/small".into()));
    fs::create_dir_all(&small).unwrap();
    let error = read("models/small").unwrap_err();
    assert!(
        error.problems[0].message.starts_with("`model.source` names a folder without config.json"),
        "{error}"
    );
    fs::write(small.join("config.json"), "{}").unwrap();
    assert_eq!(read("models/small").unwrap(), ModelSource::Folder(small));
    let error = read("small").unwrap_err();
    assert!(error.problems[0].message.starts_with("`model.source` names nothing that is there"), "{error}");
    assert!(error.problems[0].allowed.contains("id of the hub"), "{error}");
}

#[test]
fn what_is_not_toml_is_found_where_it_ends_to_be() {
    check("title = \n", "1:9: is not TOML: string values must be quoted, expected literal string", "TOML");
}

#[test]
fn all_problems_are_shown_at_once_with_their_lines() {
    let error = read("seed = \"one\"\n[model]\n").unwrap_err();
    let shown = error.to_string();
    assert_eq!(error.problems.len(), 4, "{shown}");
    let expected = "specs/mine.toml has 4 problems";
    assert!(shown.starts_with(expected), "{shown}");
    let expected = "specs/mine.toml:1:8: `seed` is of type string\n 1 | seed = \"one\"\n   |        ^^^^^\n   = allowed: a whole number from 0";
    assert!(shown.contains(expected), "{shown}");
}

#[test]
fn settings_that_do_not_go_together_are_found_before_anything_is_computed() {
    let two = LEAST.replace("[\"Once\"]", "[\"Once\", \"Twice\"]");
    let with = |tune: &str| read(&format!("{two}\n[tune]\n{tune}\n")).unwrap_err().to_string();
    for (tune, message) in [
        ("steps = 5\nwarmup_steps = 6", "`tune.warmup_steps` is 6"),
        ("samples_per_step = 2\ncontexts_per_step = 2", "`tune.samples_per_step` is 2"),
        ("steps = 1000000000000000000", "allowed: a whole number from 0 (nothing is tuned) to 1000000000"),
        ("samples_per_step = 100000000", "allowed: a whole number from 2 to 10000000"),
    ] {
        let shown = with(tune);
        assert!(shown.contains(message), "{shown}");
    }
}

#[test]
fn a_list_without_features_asks_for_nothing() {
    let start = LEAST.find("[[features]]").expect("features");
    let shown = read(&format!("features = []\n{}", &LEAST[..start])).unwrap_err().to_string();
    assert!(shown.contains("`features` is []"), "{shown}");
}

#[test]
fn a_classifier_is_found_with_its_labels_before_anything_is_computed() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("sentiment");
    fs::create_dir(&model).unwrap();
    let with = |fields: &str, mean: &str| {
        let text = LEAST.replace("contains", "classifier");
        let text = text.replace("text = \"night\"", fields).replace("mean = 0.5", mean);
        read_spec("mine.toml", &text, folder.path())
    };
    let complete = "model = \"sentiment\"\nlabel = \"good\"";
    let problem = |fields: &str, mean: &str| {
        let problem = with(fields, mean).unwrap_err().problems[0].clone();
        (problem.message, problem.allowed)
    };
    let (message, allowed) = problem(complete, "mean = 0.5");
    assert!(message.starts_with("`features.1.model` names a folder without config.json"), "{message}");
    assert!(allowed.contains("BERT, DistilBERT or RoBERTa"), "{allowed}");

    fs::write(model.join("config.json"), "[").unwrap();
    let (message, _) = problem(complete, "mean = 0.5");
    assert!(message.starts_with("`features.1.model` names a folder without tokenizer.json"), "{message}");
    fs::write(model.join("tokenizer.json"), "{}").unwrap();
    let (message, _) = problem(complete, "mean = 0.5");
    assert!(message.starts_with("`features.1.model` gives no classifier"), "{message}");
    fs::write(model.join("config.json"), r#"{"id2label": {"0": "bad", "1": "good"}}"#).unwrap();
    let spec = with(complete, "mean = 0.7").unwrap();
    let expected = ClassifierSpec {
        model: ModelSource::Folder(model.clone()),
        label: "good".into(),
        value: LabelValue::Probability,
        temperature: 1.0,
        truncate: false,
    };
    assert_eq!(spec.features[0].kind, FeatureKind::Classifier(expected));

    let other = "model = \"sentiment\"\nlabel = \"best\"";
    let expected =
        ("`features.1.label` is not one of the classifier's labels".to_string(), "bad, good".to_string());
    assert_eq!(problem(other, "mean = 0.5"), expected);
    let (message, _) = problem("model = \"sentiment\"", "mean = 0.5");
    assert_eq!(message, "[features.1] has no `label`");
    let (message, _) = problem(&format!("{complete}\ntemperature = 0"), "mean = 0.5");
    assert_eq!(message, "`features.1.temperature` is 0");
    let (message, _) = problem(complete, "always = true");
    assert_eq!(message, "`features.1.always` is asked of a feature that is not 0 or 1");
    // The means that can be asked for depend on the value that is averaged.
    for (value, good, bad) in
        [("probability", "0.5", "1.5"), ("log_probability", "-0.5", "0.5"), ("logit", "-3", "inf")]
    {
        let fields = format!("{complete}\nvalue = \"{value}\"");
        assert!(with(&fields, &format!("mean = {good}")).is_ok(), "{value}");
        let (message, _) = problem(&fields, &format!("mean = {bad}"));
        assert_eq!(message, format!("`features.1.mean` is {bad}"));
    }
}

#[test]
fn a_long_line_is_shown_around_the_problem() {
    let list = "\"Once\", ".repeat(100_000);
    let error = read(&LEAST.replace("list = [", &format!("list = [{list}3, "))).unwrap_err();
    let shown = error.to_string();
    assert!(shown.len() < 1000, "{}", shown.len());
    assert!(shown.contains("`contexts.list` has 3 as item 100001"), "{shown}");
    let lines: Vec<&str> = shown.lines().collect();
    let caret = lines.iter().position(|line| line.trim_end().ends_with('^')).unwrap();
    let at = lines[caret].chars().count() - 1;
    assert_eq!(lines[caret - 1].chars().nth(at), Some('3'), "{shown}");
}
