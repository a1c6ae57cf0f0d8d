//! SmolLM2-135M agrees with Hugging Face transformers (`reference/smollm2.py` made the model and the values).
//!
//! The model is too large for the repository: the tests run where `DISCO_SMOLLM2` names its folder.

use disco_core::{Distribution, Streams};
use disco_lm::{Generation, LanguageModel, LmPolicy};
use disco_tuner::{BatchItem, Optimizer, Policy, Update};
use serde_json::Value;

use crate::common::{assert_close, device, ids};

/// Allowed difference between two programs in the log-probability of 40 tokens through 30 layers in f32.
const SEQUENCE_TOLERANCE: f64 = 2e-3;

fn load(max_new_tokens: usize) -> Option<LanguageModel> {
    let Some(folder) = std::env::var_os("DISCO_SMOLLM2") else {
        eprintln!("skipped: DISCO_SMOLLM2 does not name a folder of SmolLM2-135M (see reference/smollm2.py)");
        return None;
    };
    let generation = Generation { max_new_tokens, ..Generation::default() };
    Some(LanguageModel::load(folder, &device(), generation).expect("SmolLM2 loads"))
}

#[test]
fn smollm2_scores_as_transformers_does() {
    let reference: Value =
        serde_json::from_str(include_str!("reference/smollm2.json")).expect("the reference is JSON");
    let Some(model) = load(reference["max_new_tokens"].as_u64().expect("a number") as usize) else { return };
    check_scores(&model, &reference);
}

#[test]
fn smollm2_samples_scores_and_follows_a_gradient() {
    let Some(model) = load(12) else { return };
    let context = "It was a cold and stormy night".to_string();
    let drawn = model.sample(&context, &Streams::new(0, 8)).expect("samples");
    let values: Vec<_> = drawn.iter().map(|sample| &sample.value).collect();
    let returned: Vec<f64> = drawn.iter().map(|sample| sample.log_prob).collect();
    assert_close("again", &model.log_probs(&context, &values).expect("scores"), &returned, 1e-3);

    let mut policy = LmPolicy::new(model);
    let batch: Vec<_> =
        drawn.iter().map(|sample| BatchItem { context: &context, sample: &sample.value }).collect();
    policy.accumulate(&batch, &mut |log_probs| Ok(vec![-1.0; log_probs.len()])).expect("a gradient");
    let update =
        Update { optimizer: Optimizer::default(), learning_rate: 1e-5, max_gradient_norm: Some(1.0) };
    Policy::<String, _>::step(&mut policy, &update).expect("a step");
    let tuned: f64 = policy.log_probs(&context, &values).expect("scores").iter().sum();
    assert!(tuned > returned.iter().sum(), "a step along the likelihood raises it");
}

/// The GGUF file from which the folder was made gives the same model.
#[test]
fn smollm2_from_gguf_scores_as_transformers_does() {
    let Some(file) = std::env::var_os("DISCO_SMOLLM2_GGUF") else {
        eprintln!(
            "skipped: DISCO_SMOLLM2_GGUF does not name the GGUF file of SmolLM2-135M (see reference/smollm2.py)"
        );
        return;
    };
    let reference: Value =
        serde_json::from_str(include_str!("reference/smollm2.json")).expect("the reference is JSON");
    let max_new_tokens = reference["max_new_tokens"].as_u64().expect("a number") as usize;
    let generation = Generation { max_new_tokens, ..Generation::default() };
    let model = LanguageModel::load(file, &device(), generation).expect("SmolLM2 loads");
    check_scores(&model, &reference);
    let Some(folder) = load(max_new_tokens) else { return };
    for text in
        ["It's caf\u{e9} n\u{b0} 12345,  two spaces\n\n\tand tabs", "fn main() { println!(\"{}\", 0xff); }"]
    {
        assert_eq!(model.encode(text).expect("ids"), folder.encode(text).expect("ids"), "{text}");
    }
}

/// Checks ids and log-probabilities.
fn check_scores(model: &LanguageModel, reference: &Value) {
    let context = reference["context"].as_str().expect("text").to_string();
    assert_eq!(model.encode(&context).expect("ids"), ids(&reference["context_ids"]));
    let rows = reference["rows"].as_array().expect("rows");
    let samples: Vec<_> =
        rows.iter().map(|row| model.completion(ids(&row["tokens"])).expect("a completion")).collect();
    let scored = model.log_probs(&context, &samples.iter().collect::<Vec<_>>()).expect("scores");
    let expected: Vec<f64> = rows.iter().map(|row| row["log_prob"].as_f64().expect("a number")).collect();
    assert_close("log-probability", &scored, &expected, SEQUENCE_TOLERANCE);
}
