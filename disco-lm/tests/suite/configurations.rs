//! Configurations with a field added, removed or changed: the log-probabilities are those of transformers, or there is a refusal by
//! name. `reference/configurations.py` made the configurations and the values, and says which weights go with them.

use std::{path::Path, process::Command};

use disco_lm::{Error, Generation, TokenClassifier, TokenModel};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::Value;
use tempfile::TempDir;

use crate::common::{device, ids, numbers};

/// Allowed difference in the log-probability of a token, or in a logit.
const TOLERANCE: f64 = 1e-4;

/// The elements of a tensor, from its name: see `values` in `reference/configurations.py`.
fn values(name: &str, shape: &[usize]) -> Vec<f32> {
    let mut state = 0xCBF2_9CE4_8422_2325u64;
    for byte in name.bytes() {
        state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    }
    let lower = name.to_lowercase();
    let is_scale =
        shape.len() == 1 && lower.ends_with("weight") && (lower.contains("norm") || lower.contains(".ln_"));
    let element = |index: u64| {
        let mut word = state.wrapping_add((index + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^= word >> 31;
        let uniform = (word >> 40) as f32 / (1 << 24) as f32 - 0.5;
        if is_scale { uniform + 1.0 } else { uniform }
    };
    (0..shape.iter().product::<usize>() as u64).map(element).collect()
}

fn write_weights(folder: &Path, tensors: &Value) {
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .as_object()
        .expect("tensors")
        .iter()
        .map(|(name, shape)| {
            let shape: Vec<usize> = serde_json::from_value(shape.clone()).expect("a shape");
            let bytes = values(name, &shape).into_iter().flat_map(f32::to_le_bytes).collect();
            (name.clone(), shape, bytes)
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).expect("bytes fit the shape"))
    });
    safetensors::serialize_to_file(views, None, &folder.join("model.safetensors")).expect("writable");
}

/// The log-probabilities of the tokens after the context, or the logits of a classifier.
fn computed(kind: &str, folder: &Path, context: &[u32], tokens: &[u32]) -> Result<Vec<f64>, Error> {
    if ["bert", "roberta", "distilbert"].contains(&kind) {
        return Ok(TokenClassifier::load(folder, &device())?.logits(&[context])?.remove(0));
    }
    let generation = Generation { max_new_tokens: tokens.len(), ..Generation::default() };
    let model = TokenModel::load(folder, &device(), generation)?;
    Ok(model.token_log_probs(context, &[tokens])?.remove(0).expect("a sequence of the model"))
}

/// How many configurations were computed, refused as by transformers, refused there for the type of a value, and refused here alone;
/// and what was wrong.
#[derive(Debug, Default)]
struct Outcome {
    same: usize,
    both_refuse: usize,
    types: usize,
    refused: usize,
    wrong: Vec<String>,
}

fn check(corpus: &Value) -> Outcome {
    let [context, tokens] = ["context", "tokens"].map(|field| ids(&corpus[field]));
    let mut outcome = Outcome::default();
    let folder = TempDir::new().expect("a temporary folder");
    let mut written = "";
    for case in corpus["cases"].as_array().expect("cases") {
        let kind = case[0].as_str().expect("a kind");
        let mut config = corpus["kinds"][kind]["config"].clone();
        if written != kind {
            write_weights(folder.path(), &corpus["kinds"][kind]["tensors"]);
            written = kind;
        }
        let changes = case[1].as_object().expect("changes");
        let fields = config.as_object_mut().expect("an object");
        for (field, value) in changes {
            if value == "__removed__" {
                fields.remove(field);
            } else {
                fields.insert(field.clone(), value.clone());
            }
        }
        std::fs::write(folder.path().join("config.json"), config.to_string()).expect("writable");
        let what = format!("{kind} with {}", case[1]);
        match (computed(kind, folder.path(), &context, &tokens), &case[2]) {
            // transformers refuses the value for its type.
            (Ok(_), Value::String(_)) => outcome.types += 1,
            (Ok(found), Value::Null) => {
                outcome.wrong.push(format!("{what}: transformers refuses, and {found:?} was computed"));
            }
            (Ok(found), expected) => {
                let expected = numbers(expected);
                let far = found.len() != expected.len()
                    || found.iter().zip(&expected).any(|(a, b)| !((a - b).abs() <= TOLERANCE));
                if far {
                    outcome.wrong.push(format!("{what}: {found:?} and not {expected:?}"));
                } else {
                    outcome.same += 1;
                }
            }
            (Err(error), expected) => {
                let named = matches!(error, Error::Config { .. } | Error::Weights { .. });
                if !named {
                    outcome.wrong.push(format!("{what}: {error}"));
                } else if expected.is_string() {
                    outcome.types += 1;
                } else if expected.is_null() {
                    outcome.both_refuse += 1;
                } else {
                    outcome.refused += 1;
                }
            }
        }
    }
    outcome
}

#[test]
fn mutated_configurations_give_the_values_of_transformers_or_a_refusal() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/reference/configurations.json");
    let corpus: Value = serde_json::from_slice(&std::fs::read(path).expect("readable")).expect("JSON");
    let outcome = check(&corpus);
    assert!(outcome.wrong.is_empty(), "{}", outcome.wrong.join("\n"));
    // A reader that refused everything would pass otherwise.
    assert!(outcome.same >= 4 * outcome.refused, "{outcome:?}");
}

/// Where `DISCO_HF_PYTHON` names a Python with torch and transformers.
#[test]
#[ignore = "sweep: 2400 configurations with up to three changes each, by transformers, 10 minutes"]
fn sweep_mutated_configurations() {
    let python =
        std::env::var_os("DISCO_HF_PYTHON").expect("DISCO_HF_PYTHON names a Python with transformers");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/reference/configurations.py");
    let output = Command::new(python).args([script, "1", "2400"]).output().expect("Python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let outcome = check(&serde_json::from_slice(&output.stdout).expect("JSON"));
    eprintln!("{outcome:#?}");
    assert!(outcome.wrong.is_empty(), "{}", outcome.wrong.join("\n"));
}
