//! Settings that would fail late: found before a model is loaded, each at its place, as one problem.

use std::path::Path;

use disco_tuner::Policy;
use xtask::{
    BaseModel, LongestToken, Problem, ProgressTarget, RunPlan, SpecError, TextScorers, fit, measure,
    read_spec, tune,
};

use crate::common::speech::base;

/// A spec with these features, each a line of fields, and these tables.
fn spec(features: &[&str], tables: &str) -> Result<xtask::Spec, SpecError> {
    let features: Vec<String> = features
        .iter()
        .enumerate()
        .map(|(index, fields)| {
            format!("[[features]]\nname = \"f{}\"\n{}\n", index + 1, fields.replace("; ", "\n"))
        })
        .collect();
    let model = if tables.contains("[model]") { "" } else { "[model]\nsource = \"embedded\"\n" };
    let contexts = if tables.contains("[contexts]") { "" } else { "[contexts]\nlist = [\"Once\"]\n" };
    read_spec("mine.toml", &format!("{model}{contexts}{}{tables}", features.concat()), Path::new(""))
}

#[track_caller]
fn one(features: &[&str], tables: &str) -> Problem {
    let error = spec(features, tables).map(|_| ()).unwrap_err();
    assert_eq!(error.problems.len(), 1, "{error}");
    error.problems[0].clone()
}

#[track_caller]
fn refused(features: &[&str], tables: &str, message: &str, allowed: &str) {
    let problem = one(features, tables);
    assert!(problem.message.contains(message), "`{}` should contain `{message}`", problem.message);
    assert!(problem.allowed.contains(allowed), "`{}` should contain `{allowed}`", problem.allowed);
}

#[track_caller]
fn fine(features: &[&str], tables: &str) {
    if let Err(error) = spec(features, tables) {
        panic!("{error}");
    }
}

const MEAN: &str = "kind = \"contains\"; text = \"king\"; mean = 0.5";
const NEVER: &str = "kind = \"contains\"; text = \"king\"; never = true";

#[test]
fn a_length_that_no_sample_has_is_refused() {
    let model = |fields: &str| format!("[model]\nsource = \"embedded\"\n{fields}\n");
    let tokens = |mean: &str| format!("kind = \"length\"; unit = \"tokens\"; mean = {mean}");
    let at = |mean: &str, fields: &str| spec(&[&tokens(mean)], &model(fields));
    // The case of issue 15: 30 tokens of at most 20.
    refused(
        &[&tokens("30")],
        &model("max_new_tokens = 20"),
        "`features.1.mean` is 30",
        "from 1 to below 20 (max_new_tokens = 20, min_new_tokens = 0)",
    );
    refused(&[&tokens("41")], "", "`features.1.mean` is 41", "from 1 to below 40");
    assert!(at("20", "max_new_tokens = 20").is_err() && at("19.5", "max_new_tokens = 20").is_ok());
    assert!(at("0.5", "").is_err() && at("1.5", "").is_ok());
    // The end token comes after `min_new_tokens` others.
    assert!(at("5.5", "min_new_tokens = 5").is_err() && at("6.5", "min_new_tokens = 5").is_ok());
    refused(
        &[&tokens("9")],
        &model("max_new_tokens = 9\nmin_new_tokens = 9"),
        "`features.1.mean` is 9",
        "no mean: every sample has 9 tokens",
    );
    for unit in ["words", "characters"] {
        let zero = format!("kind = \"length\"; unit = \"{unit}\"; mean = 0");
        refused(&[&zero], "", "`features.1.mean` is 0", "above 0");
    }
    // Samples that do not end by themselves have 40 tokens each: 0.9 * 40 + 0.1 * 1 = 36.1.
    let ends = "kind = \"ends\"; mean = 0.1";
    refused(
        &[ends, &tokens("20")],
        "",
        "`features.2.mean` is 20, but by `f1` a share of 0.9",
        "at least 36.1",
    );
    fine(&[ends, &tokens("36.2")], "");
    fine(&["kind = \"ends\"; always = true", &tokens("20")], "");
}

#[test]
fn features_that_contradict_each_other_are_refused() {
    refused(
        &["kind = \"contains\"; text = \"king\"; always = true", NEVER],
        "",
        "`features.2.never` asks for a mean of 0, but `f1` is the same feature, and its mean is to be 1",
        "1, or one of the two features alone",
    );
    refused(
        &[MEAN, "kind = \"contains\"; text = \"king\"; mean = 0.4"],
        "",
        "is the same feature",
        "0.5, or",
    );
    // In another name: whoever says "The king" says "king".
    for always in [
        "kind = \"contains\"; text = \"The king\"; always = true",
        "kind = \"contains\"; text = \"king\"; whole_word = true; always = true",
        "kind = \"starts_with\"; text = \"king \"; always = true",
        "kind = \"ends\"; text = \"a king\"; always = true",
    ] {
        refused(&[always, NEVER], "", "`features.2.never` asks for a mean of 0", "at least 1");
        refused(&[NEVER, always], "", "`features.2.always` asks for a mean of 1", "at most 0");
    }
    let any_case = "kind = \"contains\"; text = \"KING\"; ignore_case = true; mean = 0.2";
    refused(&[any_case, MEAN], "", "`features.2.mean` asks for a mean of 0.5", "at most 0.2");
    let pattern = "kind = \"regex\"; pattern = \"k[aeiou]ng\"; never = true";
    refused(&[pattern, MEAN], "", "in no text is it above `f1`, whose mean is to be 0", "at most 0");
    let count = "kind = \"count\"; text = \"king\"; mean = 0.3";
    refused(&[count, MEAN], "", "in no text is it above `f1`, whose mean is to be 0.3", "at most 0.3");
    let characters = "kind = \"length\"; unit = \"characters\"; mean = 1";
    refused(&[characters, MEAN], "", "in no text is it above 0.25 times `f1`", "at most 0.25");
    let starts = |text: &str, mean: &str| format!("kind = \"starts_with\"; text = \"{text}\"; mean = {mean}");
    refused(
        &[&starts("The", "0.7"), &starts("A", "0.5")],
        "",
        "no text can have both it and `f1`, whose mean is to be 0.7",
        "at most 0.3",
    );
    fine(&[&starts("The", "0.5"), &starts("A", "0.5")], "");
    fine(&["kind = \"contains\"; text = \"kings\"; never = true", MEAN], "");
    fine(&["kind = \"contains\"; text = \"king\"; whole_word = true; never = true", MEAN], "");
    fine(&["kind = \"contains\"; text = \"KING\"; never = true", MEAN], "");
}

#[test]
fn features_that_are_the_same_for_every_text_are_refused() {
    let pattern = |target: &str| format!("kind = \"regex\"; pattern = \"x*\"; {target}");
    refused(&[&pattern("mean = 0.5")], "", "matches every text", "always = true");
    refused(&[&pattern("never = true")], "", "matches every text", "another pattern");
    let white = "kind = \"ends\"; text = \" \"; mean = 0.5";
    refused(
        &[white],
        "",
        "`features.1.text` is nothing but white space",
        "the model ended the sample itself",
    );
    let model = |field: &str| format!("[model]\nsource = \"embedded\"\n{field}\n");
    for field in ["top_k = 1", "min_p = 1"] {
        refused(&[MEAN], &model(field), "leaves one text in each context", "several tokens");
        fine(&[NEVER], &model(field));
    }
}

#[test]
fn a_choice_of_beta_that_accepts_nothing_or_cannot_be_is_refused() {
    refused(
        &[MEAN, "kind = \"contains\"; text = \"x\"; never = true"],
        "[sample]\nacceptance_rate = 1.0\n",
        "`sample.acceptance_rate` is 1, but the policy's samples on which `f2` is not as asked are never accepted",
        "above 0 and below 1",
    );
    fine(&[MEAN], "[sample]\nacceptance_rate = 1.0\n");
    fine(&[NEVER], "[sample]\nacceptance_rate = 0.999\n");
    refused(&[MEAN], "[sample]\nlog_beta = 800\n", "`sample.log_beta` is 800", "from -700 to 700");
    refused(&[MEAN], "[sample]\nlog_beta = -1e308\n", "`sample.log_beta` is -1e308", "from -700 to 700");
    refused(
        &[MEAN],
        "[sample]\nacceptance_rate = 1e-6\ncount = 1000\n",
        "is 0.000001: of 1000 proposals, not even one would be accepted",
        "sample.count",
    );
}

#[test]
fn ranges_of_the_libraries_hold_in_a_run_file() {
    // disco_ebm's limit, which stands in no condition of the run file.
    refused(&[MEAN], "[fit]\nheld_out = 0.95\n", "`fit.held_out` is 0.95", "0 to 0.9");
    refused(&[MEAN], "[fit]\nsamples = 5\n", "`fit.samples` is 5", "at least 10");
    refused(
        &[MEAN],
        "[tune]\nsteps = 5\nwarmup_steps = 6\n",
        "`tune.warmup_steps` is 6",
        "at most the 5 steps of the run",
    );
    refused(&[MEAN], "[model]\nsource = \"embedded\"\ntemperature = 1e-31\n", "is 1e-31", "from 1e-30");
    refused(&[MEAN], "[model]\nsource = \"embedded\"\nrepetition_penalty = 1e-310\n", "is 1e-310", "above 0");
}

#[test]
fn a_divergence_that_is_infinite_from_the_start_is_refused() {
    for name in ["reverse-kl", "chi2-reverse", "jeffreys", "alpha:1.5"] {
        let tables = format!("[tune]\ndivergence = \"{name}\"\n");
        let message = format!("`tune.divergence` is \"{name}\", which is infinite, since `f1`");
        refused(&[NEVER], &tables, &message, "forward-kl, tv, js, chi2-forward, hellinger");
        fine(&[MEAN], &tables);
    }
}

/// A wrong value has a default from then on; nothing is said of how that goes together with other values.
#[test]
fn nothing_is_said_of_the_default_in_the_place_of_a_wrong_value() {
    // 50 steps and 40 tokens would be the defaults.
    refused(
        &[MEAN],
        "[tune]\nsteps = \"many\"\nwarmup_steps = 60\n",
        "`tune.steps` is of type string",
        "whole",
    );
    refused(&[MEAN], "[tune]\nstep = 90\nwarmup_steps = 60\n", "unknown field `tune.step`", "steps");
    let tables = "[model]\nsource = \"embedded\"\nmax_new_tokens = -1\nmin_new_tokens = 60\n";
    refused(
        &["kind = \"length\"; unit = \"tokens\"; mean = 70"],
        tables,
        "`model.max_new_tokens` is -1",
        "whole",
    );
}

/// Once the model is loaded, the longest token is known, and with it the longest text.
#[test]
fn what_no_tokens_of_the_model_can_be_is_refused_before_anything_is_measured() {
    // At most 20 tokens of at most 8 characters and 2 words: 160 characters, 40 words, 40 times "king".
    let longest = LongestToken { characters: 8, words: 2 };
    let model = "[model]\nsource = \"embedded\"\nmax_new_tokens = 20\n";
    for (fields, most) in [
        ("kind = \"length\"; unit = \"characters\"", 160.0),
        ("kind = \"length\"; unit = \"words\"", 40.0),
        ("kind = \"count\"; text = \"king\"", 40.0),
    ] {
        let reach = |mean: f64| {
            let spec = spec(&[&format!("{fields}; mean = {mean}")], model).unwrap();
            assert!(spec.needs_longest_token());
            spec.check_reach(longest).map_err(|error| error.to_string())
        };
        assert_eq!(reach(most), Ok(()));
        let expected = format!(
            "`f1` is to have the mean {}, but its largest value in 20 tokens (max_new_tokens) is {most}",
            most + 1.0
        );
        assert_eq!(reach(most + 1.0), Err(expected));
    }
    assert!(!spec(&[MEAN], model).unwrap().needs_longest_token());
}

/// Without a word of probability 0.05 among three, `Z` is 0.95^3, whatever the policy: of 1000 proposals one is accepted at
/// `ln beta = ln 857.4 = 6.754`.
#[test]
fn a_log_beta_that_no_policy_can_meet_is_refused_before_anything_is_tuned() {
    let fitted = |log_beta: &str| {
        let tables = format!("[fit]\nsamples = 20000\n[sample]\ncount = 1000\nlog_beta = {log_beta}\n");
        let spec = spec(&[NEVER], &tables).unwrap();
        let plan = RunPlan::new(&spec, &TextScorers::new(), ProgressTarget::Hidden).unwrap();
        let base = base(&spec.contexts.items).freeze().unwrap();
        let measured = measure(&plan, &BaseModel::new(base.clone())).unwrap();
        fit(&plan, &measured).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(fitted("6.7"), Ok(()));
    let said = fitted("6.8").unwrap_err();
    assert!(
        said.starts_with("`sample.log_beta` is 6.8: at this ln beta not even one of 1000 proposals"),
        "{said}"
    );
    assert!(said.contains("allowed: at most 6.75"), "{said}");
}

/// The names that a run file may have for the best checkpoint are those of metrics that a run computes: the tuner refuses others.
#[test]
fn every_metric_of_the_best_checkpoint_is_one_that_a_run_has() {
    let divergences = ["kl_target_policy", "kl_policy_target", "tv_target_policy", "js_target_policy"];
    for name in divergences.into_iter().chain(["ess", "ess_share"]) {
        let tables = format!("[fit]\nsamples = 2000\n[tune]\nsteps = 1\n[checkpoints]\nbest = \"{name}\"\n");
        let spec = spec(&[MEAN], &tables).unwrap();
        let plan = RunPlan::new(&spec, &TextScorers::new(), ProgressTarget::Hidden).unwrap();
        let mut policy = base(&spec.contexts.items);
        let base = policy.freeze().unwrap();
        let fitted = fit(&plan, &measure(&plan, &BaseModel::new(base.clone())).unwrap()).unwrap();
        let tuned = tune(&plan, &BaseModel::new(base.clone()), &fitted.fit, &mut policy, None).unwrap();
        assert_eq!(tuned.record.steps.len(), 1, "{name}");
    }
}
