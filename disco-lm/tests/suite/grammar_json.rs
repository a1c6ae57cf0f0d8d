//! Ten JSON schemas: what a model finishes under each is valid by checks written out here, and by Python's jsonschema.

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use disco_core::{Distribution, Streams};
use disco_lm::{Generation, Grammar, LanguageModel};
use serde_json::{Value, json};

use crate::common::device;

/// A schema, and whether a value is valid under it.
type Case = (Value, fn(&Value) -> bool);

fn is_integer_in(value: &Value, least: i64, most: i64) -> bool {
    value.as_i64().is_some_and(|number| (least..=most).contains(&number))
}

fn has_only(value: &Value, fields: &[&str]) -> bool {
    value.as_object().is_some_and(|object| object.keys().all(|key| fields.contains(&key.as_str())))
}

/// JSON's length of a text: its characters.
fn is_text(value: &Value, least: usize, most: usize) -> bool {
    value.as_str().is_some_and(|text| (least..=most).contains(&text.chars().count()))
}

fn cases() -> Vec<Case> {
    let compact = json!({"whitespace_flexible": false});
    vec![
        (json!({"type": "boolean"}), |value| value.is_boolean()),
        (json!({"type": "integer", "minimum": -3, "maximum": 120}), |value| is_integer_in(value, -3, 120)),
        (json!({"enum": ["red", "green", 7, null]}), |value| {
            [json!("red"), json!("green"), json!(7), Value::Null].contains(value)
        }),
        (json!({"type": "string", "minLength": 2, "maxLength": 8}), |value| is_text(value, 2, 8)),
        (json!({"type": "string", "pattern": "^[A-Z][a-z]{1,5}$"}), |value| {
            let text = value.as_str().unwrap_or_default();
            is_text(value, 2, 6)
                && text.chars().enumerate().all(|(at, letter)| {
                    if at == 0 { letter.is_ascii_uppercase() } else { letter.is_ascii_lowercase() }
                })
        }),
        (
            json!({"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 99}, "minItems": 1, "maxItems": 4}),
            |value| {
                value.as_array().is_some_and(|all| {
                    (1..=4).contains(&all.len()) && all.iter().all(|number| is_integer_in(number, 0, 99))
                })
            },
        ),
        (
            json!({"type": "object", "x-guidance": compact, "additionalProperties": false, "required": ["name", "age"],
                "properties": {"name": {"type": "string", "maxLength": 10}, "age": {"type": "integer", "minimum": 0, "maximum": 130}}}),
            |value| {
                has_only(value, &["name", "age"])
                    && is_text(&value["name"], 0, 10)
                    && is_integer_in(&value["age"], 0, 130)
            },
        ),
        (
            json!({"type": "object", "x-guidance": compact, "additionalProperties": false, "required": ["gender"],
                "properties": {"gender": {"enum": ["f", "m"]}, "tall": {"type": "boolean"}}}),
            |value| {
                has_only(value, &["gender", "tall"])
                    && [json!("f"), json!("m")].contains(&value["gender"])
                    && (value["tall"].is_boolean() || value.get("tall").is_none())
            },
        ),
        (
            json!({"x-guidance": compact, "anyOf": [
                {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"], "additionalProperties": false},
                {"type": "null"}]}),
            |value| value.is_null() || (has_only(value, &["x"]) && value["x"].is_number()),
        ),
        (
            json!({"x-guidance": compact, "$ref": "#/$defs/tree", "$defs": {"tree": {"type": "object", "additionalProperties": false,
                "required": ["v"], "properties": {"v": {"enum": [1, 2]}, "l": {"$ref": "#/$defs/tree"}}}}}),
            is_tree,
        ),
    ]
}

fn is_tree(value: &Value) -> bool {
    has_only(value, &["v", "l"]) && is_integer_in(&value["v"], 1, 2) && value.get("l").is_none_or(is_tree)
}

/// Draws `count` samples under each schema, checks those that are finished, and returns the schemas with their texts.
fn check(model: &LanguageModel, context: &str, count: usize) -> Vec<(Value, Vec<String>)> {
    let mut all = Vec::new();
    for (seed, (schema, is_valid)) in (0..).zip(cases()) {
        let grammar =
            Grammar::json_schema(&schema.to_string()).unwrap_or_else(|error| panic!("{schema}: {error}"));
        let masked = model.under_grammar(&grammar).unwrap_or_else(|error| panic!("{schema}: {error}"));
        let drawn = masked.sample(context, &Streams::new(seed, count)).expect("samples");
        let finished: Vec<String> = drawn
            .into_iter()
            .filter(|sample| sample.value.finished)
            .map(|sample| sample.value.text)
            .collect();
        for text in &finished {
            let value: Value =
                serde_json::from_str(text).unwrap_or_else(|error| panic!("{schema}: {text:?}: {error}"));
            assert!(is_valid(&value), "{schema}: {text}");
        }
        all.push((schema, finished));
    }
    all
}

fn load(folder: PathBuf, max_new_tokens: usize) -> LanguageModel {
    let generation = Generation { max_new_tokens, ..Generation::default() };
    LanguageModel::load(folder, &device(), generation).expect("the model loads")
}

#[test]
fn what_the_embedded_model_finishes_is_valid() {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/tiny-shakespeare"));
    let all = check(&load(folder, 60), "ROMEO:\n", 20);
    let finished = all.iter().filter(|(_, texts)| !texts.is_empty()).count();
    assert!(finished >= 8, "some samples are finished under {finished} of 10 schemas");
}

/// Runs where `DISCO_SMOLLM2` names the folder of SmolLM2-135M-Instruct; with `DISCO_HF_PYTHON`, a Python with jsonschema, that checks all
/// texts once more.
#[test]
fn what_smollm2_finishes_is_valid() {
    let Some(folder) = std::env::var_os("DISCO_SMOLLM2") else {
        eprintln!("skipped: DISCO_SMOLLM2 does not name a folder of SmolLM2-135M (see reference/smollm2.py)");
        return;
    };
    let all = check(&load(folder.into(), 40), "A person as JSON: ", 16);
    for (schema, texts) in &all {
        println!("{} of 16 finished under {schema}, such as {:?}", texts.len(), texts.first());
    }
    let finished: usize = all.iter().map(|(_, texts)| texts.len()).sum();
    assert!(finished >= 80, "half of the samples are finished: {finished}");
    let Some(python) = std::env::var_os("DISCO_HF_PYTHON") else { return };
    let script = "import json, sys\nimport jsonschema\n\
        for schema, texts in json.load(sys.stdin):\n    for text in texts:\n        jsonschema.validate(json.loads(text), schema)\n\
        print('valid')";
    let mut child = Command::new(python)
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("DISCO_HF_PYTHON starts");
    let mut input = child.stdin.take().expect("its standard input");
    input.write_all(serde_json::to_string(&all).expect("JSON").as_bytes()).expect("written");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success());
    eprintln!("by Python's jsonschema: {}", String::from_utf8_lossy(&output.stdout).trim());
}
