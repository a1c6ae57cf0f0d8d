//! Classifiers as features agree with Hugging Face transformers (`reference/tiny.py` made the models that the golden
//! folder does not have).

use std::path::{Path, PathBuf};

use crate::common::{assert_close, device, folder, golden, ids, numbers};
use disco_core::{Feature, feature};
use disco_lm::{Classifier, Completion, Error, LabelValue, Overlong, TokenClassifier};
use serde_json::Value;
use tempfile::TempDir;

const LOG_PROB_TOLERANCE: f64 = 1e-4;
/// Allowed difference between batches: a score does not depend on the other texts of its batch.
const BATCH_TOLERANCE: f64 = 1e-5;

fn reference(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/reference")).join(name)
}

fn cases(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(reference(name).join("golden.json")).expect("a reference");
    let golden: Value = serde_json::from_str(&text).expect("JSON");
    golden["cases"].as_array().expect("cases").clone()
}

fn load(name: &str, overlong: Overlong) -> Classifier {
    Classifier::load(reference(name), &device(), overlong).expect("the classifier loads")
}

#[test]
fn golden_classifier_log_probs() {
    let name = "distilbert-classifier";
    let golden = golden(name);
    let model = TokenClassifier::load(folder(name), &device()).expect("the classifier loads");
    let rows = golden["input_ids"].as_array().expect("rows");
    let texts: Vec<Vec<u32>> = rows
        .iter()
        .zip(golden["attention_mask"].as_array().expect("masks"))
        .map(|(row, mask)| {
            let length = ids(mask).into_iter().sum::<u32>() as usize;
            ids(row)[..length].to_vec()
        })
        .collect();
    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let logits = model.logits(&texts).expect("logits");
    let log_probs = model.log_probs(&texts, 1.0).expect("log-probabilities");
    assert_eq!(logits.len(), 2);
    for row in 0..2 {
        assert_close(name, &logits[row], &numbers(&golden["logits"][row]), LOG_PROB_TOLERANCE);
        assert_close(name, &log_probs[row], &numbers(&golden["log_probs"][row]), LOG_PROB_TOLERANCE);
    }
}

#[test]
fn ids_logits_and_log_probabilities_are_those_of_transformers() {
    for name in ["bert", "roberta"] {
        let model = load(name, Overlong::Truncate);
        assert_eq!(model.labels(), ["bad", "middling", "good"]);
        let cases = cases(name);
        let texts: Vec<&str> = cases.iter().map(|case| case["text"].as_str().expect("text")).collect();
        let together = model.log_probs(&texts, 1.0).expect("log-probabilities");
        let of_ids: Vec<Vec<u32>> = cases.iter().map(|case| ids(&case["ids"])).collect();
        let of_ids: Vec<&[u32]> = of_ids.iter().map(Vec::as_slice).collect();
        let of_ids = model.tokens().log_probs(&of_ids, 1.0).expect("log-probabilities");
        for (index, case) in cases.iter().enumerate() {
            let what = format!("{name} {}", texts[index]);
            assert_close(&what, &together[index], &numbers(&case["log_probs"]), LOG_PROB_TOLERANCE);
            assert_close(&what, &together[index], &of_ids[index], 0.0);
            let alone = model.logits(&[texts[index]]).expect("logits");
            assert_close(&what, &alone[0], &numbers(&case["logits"]), LOG_PROB_TOLERANCE);
            let alone = model.log_probs(&[texts[index]], 1.0).expect("log-probabilities");
            assert_close(&what, &alone[0], &together[index], BATCH_TOLERANCE);
        }
    }
}

#[test]
fn a_long_text_is_an_error_unless_truncation_is_chosen() {
    for (name, positions) in [("bert", 16), ("roberta", 24)] {
        let model = load(name, Overlong::Refuse);
        assert_eq!(model.tokens().positions(), positions);
        let long = "the wind and the rain ".repeat(20);
        match model.logits(&["rain", &long]).expect_err("too long") {
            Error::TextTooLong { tokens, positions: most } => assert!(tokens > most && most == positions),
            other => panic!("{other}"),
        }
        // Tokens that are cut off do not matter, the others do.
        let model = load(name, Overlong::Truncate);
        let other_end = format!("{long} ship");
        let logits = model.logits(&[&long, &other_end, "rain"]).expect("logits");
        assert_close(name, &logits[0], &logits[1], BATCH_TOLERANCE);
        assert!((logits[0][0] - logits[2][0]).abs() > 1e-3);
    }
}

#[test]
fn a_feature_gives_the_value_that_was_asked_for() {
    let model = load("bert", Overlong::Refuse);
    let texts = ["rain", "a fine ship; a foul wind!"];
    let logits = model.logits(&texts).expect("logits");
    let completion = |text: &str| Completion { tokens: vec![1, 2], text: text.into(), finished: true };
    let samples = texts.map(completion);
    let values = |value, temperature| -> Vec<f64> {
        let feature = model.feature("sentiment", "good", value, temperature).expect("a feature");
        assert_eq!(Feature::<String, Completion>::name(&feature), "sentiment");
        let values = feature.values(&"context".to_string(), &samples.each_ref()).expect("values");
        let of_text = feature.values(&(), &texts.map(String::from).each_ref()).expect("values");
        assert_eq!(values, of_text);
        values.into_iter().map(|value| value.expect("no sample is skipped")).collect()
    };
    for temperature in [1.0, 0.5, 3.0] {
        let probabilities: Vec<f64> = logits
            .iter()
            .map(|row| {
                let weights: Vec<f64> = row.iter().map(|logit| (logit / temperature).exp()).collect();
                weights[2] / weights.iter().sum::<f64>()
            })
            .collect();
        let logs: Vec<f64> = probabilities.iter().map(|probability| probability.ln()).collect();
        let scaled: Vec<f64> = logits.iter().map(|row| row[2] / temperature).collect();
        // The expected values come from other batches.
        let check = |value, expected: &[f64]| {
            assert_close("value", &values(value, temperature), expected, BATCH_TOLERANCE);
        };
        check(LabelValue::Probability, &probabilities);
        check(LabelValue::LogProbability, &logs);
        check(LabelValue::Logit, &scaled);
    }
    // It can be used where other features are.
    let features: [Box<dyn Feature<String, Completion>>; 2] = [
        Box::new(model.feature("good", "good", LabelValue::Probability, 1.0).expect("a feature")),
        Box::new(feature("length", |_: &String, sample: &Completion| sample.text.len() as f64)),
    ];
    assert_eq!(features.map(|feature| feature.name().to_string()), ["good", "length"]);
}

#[test]
fn several_labels_can_hold_if_the_configuration_says_so() {
    let folder = TempDir::new().expect("a temporary folder");
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        std::fs::copy(reference("bert").join(file), folder.path().join(file)).expect("copied");
    }
    let path = folder.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).expect("readable")).expect("JSON");
    config["problem_type"] = "multi_label_classification".into();
    std::fs::write(&path, config.to_string()).expect("writable");
    let model = Classifier::load(folder.path(), &device(), Overlong::Refuse).expect("loads");
    let logits = model.logits(&["rain"]).expect("logits");
    let expected: Vec<f64> = logits[0].iter().map(|logit| (1.0 / (1.0 + (-logit).exp())).ln()).collect();
    let log_probs = model.log_probs(&["rain"], 1.0).expect("log-probabilities");
    assert_close("sigmoid", &log_probs[0], &expected, 1e-12);
}

#[test]
fn bad_labels_temperatures_ids_and_folders_are_named() {
    let model = load("bert", Overlong::Refuse);
    let refused = [
        (model.feature("f", "best", LabelValue::Probability, 1.0), "bad, middling, good"),
        (model.feature("f", "good", LabelValue::Probability, 0.0), "temperature"),
        (model.feature("f", "good", LabelValue::Probability, f64::NAN), "temperature"),
    ];
    for (refused, message) in refused {
        let error = refused.expect_err(message).to_string();
        assert!(error.contains(message), "{error}");
    }
    let error = model.tokens().logits(&[&[1, 80]]).expect_err("no such id");
    assert!(matches!(error, Error::TokenId { id: 80, vocabulary: 80 }), "{error}");
    let error = model.tokens().logits(&[&[]]).expect_err("no token");
    assert!(matches!(error, Error::EmptyContext { .. }), "{error}");
    let error = TokenClassifier::load(folder("gpt2"), &device()).expect_err("no classifier").to_string();
    assert!(error.contains("bert, distilbert, roberta"), "{error}");
}

/// A copy of the reference BERT with other fields in its config.json.
fn bert_with(changes: Value) -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        std::fs::copy(reference("bert").join(file), folder.path().join(file)).expect("copied");
    }
    let path = folder.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).expect("readable")).expect("JSON");
    config.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
    std::fs::write(&path, config.to_string()).expect("writable");
    folder
}

#[test]
fn a_regression_gives_its_number_and_no_probability() {
    let folder = bert_with(serde_json::json!({"problem_type": "regression"}));
    let model = Classifier::load(folder.path(), &device(), Overlong::Refuse).expect("loads");
    assert!(model.tokens().is_regression());
    let plain = load("bert", Overlong::Refuse).logits(&["rain"]).expect("logits");
    let score = model.feature("f", "good", LabelValue::Logit, 1.0).expect("a feature");
    assert_close("number", &score.of(&["rain"]).expect("values"), &plain[0][2..], 0.0);
    for value in [LabelValue::Probability, LabelValue::LogProbability] {
        let error = model.feature("f", "good", value, 1.0).expect_err("no probability").to_string();
        assert!(error.contains("regression") && error.contains("logit"), "{error}");
    }
    let error = model.log_probs(&["rain"], 1.0).expect_err("no probability").to_string();
    assert!(error.contains("regression"), "{error}");
}

#[test]
fn labels_of_older_configurations_are_read_and_doubtful_ones_are_named() {
    let labels = |changes: Value| {
        let model = TokenClassifier::load(bert_with(changes).path(), &device());
        model.map(|model| model.labels().to_vec()).map_err(|error| error.to_string())
    };
    let numbers = serde_json::json!({"id2label": {"0": 0, "1": 1, "2": 2}});
    assert_eq!(labels(numbers).expect("loads"), ["0", "1", "2"]);
    let missing = serde_json::json!({"id2label": null, "num_labels": 3});
    assert_eq!(labels(missing).expect("loads"), ["LABEL_0", "LABEL_1", "LABEL_2"]);
    for (changes, message) in [
        (serde_json::json!({"problem_type": "ranking"}), "problem_type"),
        (serde_json::json!({"num_labels": 2}), "num_labels"),
        (
            serde_json::json!({"id2label": {"0": "a"}, "problem_type": "single_label_classification"}),
            "problem_type",
        ),
        (serde_json::json!({"id2label": {"0": [], "1": "b", "2": "c"}}), "id2label"),
    ] {
        let error = labels(changes).expect_err(message);
        assert!(error.contains(message), "{error}");
    }
    let twice = bert_with(serde_json::json!({"id2label": {"0": "x", "1": "x", "2": "y"}}));
    let model = Classifier::load(twice.path(), &device(), Overlong::Refuse).expect("loads");
    model.feature("f", "y", LabelValue::Probability, 1.0).expect("one label of this name");
    let error = model.feature("f", "x", LabelValue::Probability, 1.0).expect_err("two").to_string();
    assert!(error.contains("x, which 2 of the labels are called"), "{error}");
}
