//! The embedded model agrees with Hugging Face transformers (`reference/embedded.py` made the values).

use crate::common::{assert_close, device, ids, numbers};
use disco_core::{Distribution, Streams};
use disco_lm::{Generation, LanguageModel, LmPolicy, Precision};
use disco_tuner::{BatchItem, Optimizer, Policy, Update};
use serde_json::Value;
use tempfile::TempDir;

const LOGIT_TOLERANCE: f64 = 1e-3;
const SEQUENCE_TOLERANCE: f64 = 1e-4;

fn load(max_new_tokens: usize) -> LanguageModel {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/tiny-shakespeare");
    let generation = Generation { max_new_tokens, ..Generation::default() };
    LanguageModel::load(folder, &device(), generation).expect("the embedded model loads")
}

#[test]
fn text_ids_logits_and_log_probabilities_are_those_of_transformers() {
    let reference: Value =
        serde_json::from_str(include_str!("reference/embedded.json")).expect("the reference is JSON");
    let most = reference["max_new_tokens"].as_u64().expect("a number") as usize;
    let model = load(most);
    for case in reference["cases"].as_array().expect("cases") {
        let context = case["context"].as_str().expect("text");
        let context_ids = model.encode(context).expect("ids");
        assert_eq!(context_ids, ids(&case["context_ids"]), "{context:?}");
        let completion = model.completion(ids(&case["tokens"])).expect("a completion");
        assert_eq!(completion.text, case["text"].as_str().expect("text"));
        assert_eq!(completion.finished, completion.tokens.len() < most);

        let scored = model.tokens().token_log_probs(&context_ids, &[&completion.tokens]).expect("scores");
        let expected = numbers(&case["token_log_probs"]);
        assert_close(context, scored[0].as_ref().expect("a sequence"), &expected, SEQUENCE_TOLERANCE);

        let sequence = [context_ids, completion.tokens].concat();
        let logits = model.tokens().logits(&sequence).expect("logits");
        let last: Vec<f64> = logits[logits.len() - 1].iter().copied().map(f64::from).collect();
        assert_close(context, &last, &numbers(&case["last_logits"]), LOGIT_TOLERANCE);
    }
}

#[test]
fn a_completion_scores_what_it_was_drawn_with() {
    let model = load(40);
    let context = "ROMEO:\n".to_string();
    let drawn = model.sample(&context, &Streams::new(3, 100)).expect("samples");
    assert!(drawn.iter().any(|sample| sample.value.finished), "some end by themselves");
    assert!(drawn.iter().any(|sample| !sample.value.finished), "some are cut");
    let values: Vec<_> = drawn.iter().map(|sample| &sample.value).collect();
    let returned: Vec<f64> = drawn.iter().map(|sample| sample.log_prob).collect();
    let scored = model.log_probs(&context, &values).expect("scores");
    assert_close("in a batch", &scored, &returned, SEQUENCE_TOLERANCE);
    let alone: Vec<f64> =
        values.iter().map(|value| model.log_probs(&context, &[value]).expect("a score")[0]).collect();
    assert_close("alone", &alone, &returned, SEQUENCE_TOLERANCE);
}

#[test]
fn a_tuned_policy_is_saved_and_read_back() {
    let mut policy = LmPolicy::new(load(16));
    let context = "JULIET:\n".to_string();
    let drawn = policy.sample(&context, &Streams::new(1, 4)).expect("samples");
    let batch: Vec<_> =
        drawn.iter().map(|sample| BatchItem { context: &context, sample: &sample.value }).collect();
    // A step along the likelihood of its own samples makes them more likely.
    policy.accumulate(&batch, &mut |log_probs| Ok(vec![-1.0; log_probs.len()])).expect("a gradient");
    let update = Update { optimizer: Optimizer::default(), learning_rate: 1e-3, max_gradient_norm: None };
    Policy::<String, _>::step(&mut policy, &update).expect("a step");
    let values: Vec<_> = drawn.iter().map(|sample| &sample.value).collect();
    let tuned = policy.log_probs(&context, &values).expect("scores");
    for (tuned, sample) in tuned.iter().zip(&drawn) {
        assert!(*tuned > sample.log_prob, "{tuned} is not above {}", sample.log_prob);
    }

    let parent = TempDir::new().expect("a temporary folder");
    let folder = parent.path().join("tuned");
    for _ in 0..2 {
        // Saving a second time replaces the folder.
        policy.model().save(&folder, Precision::F32).expect("saved");
    }
    let names: Vec<_> = std::fs::read_dir(parent.path()).expect("readable").collect();
    assert_eq!(names.len(), 1, "nothing else is left");
    let generation = Generation { max_new_tokens: 16, ..Generation::default() };
    let again = LanguageModel::load(&folder, &device(), generation).expect("loads");
    assert_eq!(again.log_probs(&context, &values).expect("scores"), tuned);
}
