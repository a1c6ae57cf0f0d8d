//! Tiny random models of every architecture agree with Hugging Face transformers.

use crate::common::{ENCODER_DECODERS, assert_close, device, folder, golden, ids, language_models, numbers};
use disco_lm::{Decoding, Generation, TokenModel, TokenPolicy};
use disco_tuner::{BatchItem, PendingGradient, Policy};
use serde_json::Value;

/// Reference and model both compute in f32.
const LOGIT_TOLERANCE: f64 = 2e-4;
const SEQUENCE_TOLERANCE: f64 = 1e-4;
const GRADIENT_NORM_TOLERANCE: f64 = 1e-3;

struct Case {
    name: &'static str,
    golden: Value,
    model: TokenModel,
    context: Vec<u32>,
    samples: Vec<Vec<u32>>,
}

fn cases() -> Vec<Case> {
    language_models()
        .map(|name| {
            let golden = golden(name);
            let samples: Vec<Vec<u32>> =
                golden["samples"].as_array().expect("samples").iter().map(ids).collect();
            let max_new_tokens = samples.iter().map(Vec::len).max().expect("a sample");
            let generation = Generation { max_new_tokens, ..Generation::default() };
            let model = TokenModel::load(folder(name), &device(), generation).expect("a golden model loads");
            Case { name, context: ids(&golden["context_ids"]), samples, model, golden }
        })
        .collect()
}

#[test]
fn golden_logits() {
    for case in cases() {
        let sample = &case.samples[0];
        let rows = case.golden["logits_first_sample"].as_array().expect("rows");
        let check = |rows: &[Value], logits: Vec<Vec<f32>>| {
            assert_eq!(rows.len(), logits.len(), "{}", case.name);
            for (row, logits) in rows.iter().zip(logits) {
                let logits: Vec<f64> = logits.into_iter().map(f64::from).collect();
                assert_close(case.name, &logits, &numbers(row), LOGIT_TOLERANCE);
            }
        };
        let next = case.model.next_logits(&case.context, sample).expect("logits");
        if ENCODER_DECODERS.contains(&case.name) {
            // The reference has no row for the end of the sample.
            check(rows, next);
            assert!(case.model.logits(&case.context).is_err(), "there is no sequence without a context");
        } else {
            check(rows, case.model.logits(&[case.context.clone(), sample.clone()].concat()).expect("logits"));
            check(&rows[case.context.len() - 1..rows.len() - 1], next);
        }
    }
}

#[test]
fn golden_token_log_probs() {
    for case in cases() {
        let samples: Vec<&[u32]> = case.samples.iter().map(Vec::as_slice).collect();
        let scored = case.model.token_log_probs(&case.context, &samples).expect("scores");
        for (index, scored) in scored.into_iter().enumerate() {
            let scored = scored.expect("a golden sample is a sequence of its model");
            let expected = numbers(&case.golden["token_log_probs"][index]);
            assert_close(case.name, &scored, &expected, SEQUENCE_TOLERANCE);
            let sum = case.golden["log_probs"][index].as_f64().expect("a number");
            assert_close(case.name, &[scored.iter().sum()], &[sum], SEQUENCE_TOLERANCE);
        }
    }
}

#[test]
fn golden_decoding() {
    for case in cases() {
        for row in case.golden["decoding"].as_array().expect("decoding rows") {
            let decoding = Decoding {
                temperature: row["temperature"].as_f64().expect("temperature"),
                top_k: row["top_k"].as_u64().expect("top_k") as usize,
                top_p: row["top_p"].as_f64().expect("top_p"),
                ..Decoding::default()
            };
            let generation = Generation { decoding, ..case.model.generation().clone() };
            let model = case.model.with_generation(generation).expect("valid decoding");
            let scored = model.token_log_probs(&case.context, &[&case.samples[0]]).expect("scores");
            let expected = numbers(&row["sample_0_token_log_probs"]);
            assert_close(case.name, scored[0].as_ref().expect("a sequence"), &expected, SEQUENCE_TOLERANCE);
        }
    }
}

#[test]
fn golden_gradient_norms() {
    for case in cases() {
        let coefficients = numbers(&case.golden["coef"]);
        let mut policy = TokenPolicy::new(case.model);
        let batch: Vec<BatchItem<'_, Vec<u32>, Vec<u32>>> =
            case.samples.iter().map(|sample| BatchItem { context: &case.context, sample }).collect();
        let expected = numbers(&case.golden["log_probs"]);
        policy
            .accumulate(&batch, &mut |log_probs| {
                assert_close(case.name, log_probs, &expected, SEQUENCE_TOLERANCE);
                Ok(coefficients.clone())
            })
            .expect("a gradient");
        let pending = policy.pending().expect("the pending gradient");
        let norms = case.golden["gradient_l2"].as_object().expect("norms");
        assert_eq!(pending.len(), norms.len(), "{}: one gradient per tensor", case.name);
        for (name, norm) in norms {
            let gradient = &pending[name];
            let actual = gradient.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
            let expected = norm.as_f64().expect("a norm");
            let what = format!("{} {name}", case.name);
            assert_close(&what, &[actual / expected], &[1.0], GRADIENT_NORM_TOLERANCE);
        }
    }
}
