//! Decoding as part of the distribution agrees with the logits processors and searches of transformers
//! (`reference/decoding.py` made the values), and is exact on a space that can be enumerated.

use disco_core::{Distribution, Streams};
use disco_lm::{
    BeamSearch, Decoding, EarlyStopping, Generation, Hypothesis, RepetitionScope, TokenModel, TokenPolicy,
};
use disco_tuner::{BatchItem, Optimizer, PendingGradient, Policy, Update};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    common::{ENCODER_DECODERS, assert_close, device, folder, ids, numbers},
    exactness::{all_lists, tiny_model},
};

/// Reference and model both compute in f32.
const LOG_PROB_TOLERANCE: f64 = 1e-4;
/// Relative tolerance of a central difference in f32.
const SLOPE_TOLERANCE: f64 = 5e-3;

fn reference() -> Value {
    serde_json::from_str(include_str!("reference/decoding.json")).expect("the reference is JSON")
}

/// The model of the reference, with other end tokens if any are given.
fn load(ends: Option<&Value>, generation: Generation) -> TokenModel {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../golden/llama-gqa-tied");
    let folder = TempDir::new().expect("a temporary folder");
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(format!("{source}/{name}"), folder.path().join(name)).expect("copied");
    }
    if let Some(ends) = ends {
        let config = json!({ "eos_token_id": ends }).to_string();
        std::fs::write(folder.path().join("generation_config.json"), config).expect("written");
    }
    TokenModel::load(folder.path(), &device(), generation).expect("the model loads")
}

/// Every choice by itself, and all of them together; for a vocabulary of at least 4.
pub(crate) fn every_choice() -> Vec<Decoding> {
    let off = Decoding::default();
    vec![
        Decoding { temperature: 0.7, ..off.clone() },
        Decoding { top_k: 2, ..off.clone() },
        Decoding { temperature: 1.4, top_p: 0.8, ..off.clone() },
        Decoding { min_p: 0.4, ..off.clone() },
        Decoding { typical_p: 0.5, ..off.clone() },
        Decoding { repetition_penalty: 1.6, ..off.clone() },
        Decoding { repetition_penalty: 0.5, repetition_scope: RepetitionScope::New, ..off.clone() },
        Decoding { forbidden_tokens: vec![2], ..off.clone() },
        Decoding { min_new_tokens: 3, ..off },
        Decoding {
            repetition_penalty: 1.3,
            repetition_scope: RepetitionScope::All,
            min_new_tokens: 2,
            forbidden_tokens: vec![1],
            temperature: 1.2,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            typical_p: 0.9,
        },
    ]
}

#[test]
fn rows_are_those_that_transformers_draws_from() {
    let reference = reference();
    let context = ids(&reference["context"]);
    for case in reference["decodings"].as_array().expect("cases") {
        let decoding: Decoding = serde_json::from_value(case["decoding"].clone()).expect("a decoding");
        let what = format!("{decoding:?}");
        let tokens = ids(&case["tokens"]);
        let model = |max_new_tokens| {
            let decoding = decoding.clone();
            load(None, Generation { max_new_tokens, decoding, ..Generation::default() })
        };
        let scored = model(tokens.len()).token_log_probs(&context, &[&tokens]).expect("scores");
        let expected = numbers(&case["token_log_probs"]);
        assert_close(&what, scored[0].as_ref().expect("a sequence"), &expected, LOG_PROB_TOLERANCE);

        // A row holds the log-probability of every possible last token of the same sequence.
        for (place, row) in case["rows"].as_object().expect("rows") {
            let place: usize = place.parse().expect("a number");
            let model = model(place + 1);
            let sequences: Vec<Vec<u32>> =
                (0..model.vocabulary() as u32).map(|last| [&tokens[..place], &[last]].concat()).collect();
            let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
            let scored = model.token_log_probs(&context, &sequences).expect("scores");
            let last: Vec<f64> = scored.iter().map(|row| row.as_ref().expect("a sequence")[place]).collect();
            assert_close(&format!("{what}, row {place}"), &last, &numbers(row), LOG_PROB_TOLERANCE);
        }
    }
}

#[test]
fn greedy_and_beam_search_find_what_transformers_finds() {
    let reference = reference();
    let max_new_tokens = reference["beam_new_tokens"].as_u64().expect("a number") as usize;
    let plain = load(Some(&reference["beam_ends"]), Generation { max_new_tokens, ..Generation::default() });
    let mut ended_early = 0;
    for case in reference["beams"].as_array().expect("cases") {
        let settings = &case["settings"];
        let what = case.to_string();
        let number = |name: &str, off: f64| settings[name].as_f64().unwrap_or(off);
        let decoding =
            Decoding { repetition_penalty: number("repetition_penalty", 1.0), ..Decoding::default() };
        let generation = Generation { decoding, ..plain.generation().clone() };
        let model = plain.with_generation(generation).expect("valid");
        let context = ids(&case["context"]);
        let expected: Vec<Vec<u32>> =
            case["sequences"].as_array().expect("sequences").iter().map(ids).collect();
        let width = number("num_beams", 1.0) as usize;
        let (found, log_probs): (Vec<_>, Vec<f64>) = if width == 1 {
            let greedy = model.greedy(&[&context]).expect("a sequence");
            greedy.into_iter().map(|sample| (sample.value, sample.log_prob)).unzip()
        } else {
            let search = BeamSearch {
                width,
                returned: number("num_return_sequences", 1.0) as usize,
                length_penalty: number("length_penalty", 1.0),
                early_stopping: match &settings["early_stopping"] {
                    Value::Bool(true) => EarlyStopping::WhenFull,
                    Value::String(_) => EarlyStopping::Never,
                    _ => EarlyStopping::Heuristic,
                },
            };
            let found = model.beam_search(&[&context], &search).expect("sequences").remove(0);
            let scores: Vec<f64> = found.iter().map(|found| found.score).collect();
            // A score can be a multiple of the log-probability that depends on the length.
            let tolerance =
                LOG_PROB_TOLERANCE * (max_new_tokens as f64).powf(-search.length_penalty).max(1.0);
            assert_close(&what, &scores, &numbers(&case["scores"]), tolerance);
            found.into_iter().map(|found| (found.value, found.log_prob)).unzip()
        };
        assert_eq!(found, expected, "{what}");
        ended_early += found.iter().filter(|sequence| sequence.len() < max_new_tokens).count();
        let scored = model.log_probs(&context, &found.iter().collect::<Vec<_>>()).expect("scores");
        assert_close(&what, &log_probs, &scored, LOG_PROB_TOLERANCE);
    }
    assert!(ended_early >= 10, "{ended_early}");
}

/// A beam that holds the whole space ranks it exactly, under any decoding.
#[test]
fn a_wide_beam_is_enumeration() {
    for (seed, decoding) in (0..).zip(every_choice()) {
        let generation = Generation { max_new_tokens: 4, decoding, ..Generation::default() };
        let model = tiny_model(seed, generation);
        let contexts: [&[u32]; 2] = [&[1, 2, 3], &[3]];
        let search = BeamSearch {
            width: 128,
            returned: 128,
            length_penalty: 0.0,
            early_stopping: EarlyStopping::Never,
        };
        let found = model.beam_search(&contexts, &search).expect("sequences");
        for (context, found) in contexts.iter().zip(found) {
            let lists = all_lists(4);
            let log_probs =
                model.log_probs(&context.to_vec(), &lists.iter().collect::<Vec<_>>()).expect("scores");
            let mut exact: Vec<(f64, &Vec<u32>)> = log_probs.into_iter().zip(&lists).collect();
            exact.retain(|(log_prob, _)| log_prob.is_finite());
            exact.sort_by(|a, b| b.0.total_cmp(&a.0));
            assert_eq!(found.len(), exact.len(), "every sequence that can be drawn");
            let log_probs: Vec<f64> = found.iter().map(|found| found.log_prob).collect();
            let expected: Vec<f64> = exact.iter().map(|(log_prob, _)| *log_prob).collect();
            assert_close("log-probabilities", &log_probs, &expected, LOG_PROB_TOLERANCE);
            assert_eq!(&found[0].value, exact[0].1, "the most probable sequence");
        }
    }
}

#[test]
fn contexts_are_searched_as_if_alone() {
    let generation = Generation { max_new_tokens: 6, ..Generation::default() };
    let with_encoder = TokenModel::load(folder(ENCODER_DECODERS[0]), &device(), generation.clone());
    for model in [tiny_model(3, generation), with_encoder.expect("the model loads")] {
        check_contexts(&model);
    }
}

fn check_contexts(model: &TokenModel) {
    let contexts: [&[u32]; 4] = [&[1], &[2, 3, 1, 2, 3], &[3, 3], &[2]];
    let search = BeamSearch { width: 3, returned: 3, ..BeamSearch::default() };
    let sequences = |found: Vec<Vec<Hypothesis<Vec<u32>>>>| -> Vec<Vec<Vec<u32>>> {
        found.into_iter().map(|found| found.into_iter().map(|one| one.value).collect()).collect()
    };
    let together = model.beam_search(&contexts, &search).expect("sequences");
    for (context, found) in contexts.iter().zip(&together) {
        let (values, log_probs): (Vec<_>, Vec<f64>) =
            found.iter().map(|one| (&one.value, one.log_prob)).unzip();
        let scored = model.log_probs(&context.to_vec(), &values).expect("scores");
        assert_close("log-probability", &log_probs, &scored, LOG_PROB_TOLERANCE);
    }
    let together = sequences(together);
    let greedy = model.greedy(&contexts).expect("sequences");
    for (index, context) in contexts.iter().enumerate() {
        let alone = sequences(model.beam_search(&[context], &search).expect("sequences"));
        assert_eq!(alone[0], together[index]);
        // A beam of one is the greedy sequence.
        let one = BeamSearch { width: 1, early_stopping: EarlyStopping::WhenFull, ..BeamSearch::default() };
        let one = sequences(model.beam_search(&[context], &one).expect("sequences"));
        assert_eq!(one[0][0], greedy[index].value);
    }
}

/// Along the gradient, `f(x + h g) - f(x - h g)` is `2 h |g|^2` up to third order, and f32 leaves three digits of the
/// difference. If a step changes which tokens remain after truncation, `f` jumps, and the difference says nothing about the
/// gradient: with typical sampling this happened for three samples of eight. A wrong gradient would fail for all samples.
#[test]
fn the_gradient_goes_through_every_choice() {
    for decoding in every_choice() {
        let jumps =
            decoding.top_k > 0 || decoding.top_p < 1.0 || decoding.min_p > 0.0 || decoding.typical_p < 1.0;
        let generation = Generation { max_new_tokens: 3, decoding, ..Generation::default() };
        let policy = TokenPolicy::new(load(None, generation));
        let slopes: Vec<f64> = (0..8).map(|seed| slope_along_the_gradient(&policy, seed)).collect();
        let right = slopes.iter().filter(|slope| (*slope - 1.0).abs() < SLOPE_TOLERANCE).count();
        assert!(right >= if jumps { 4 } else { 8 }, "{:?}: {slopes:?}", policy.model().generation());
    }
}

/// The central difference along the gradient, relative to its expected value: 1 for a correct gradient.
fn slope_along_the_gradient(policy: &TokenPolicy, seed: u64) -> f64 {
    let context = vec![58, 78, 34, 85, 36, 78];
    let weights = [0.7, -1.3];
    let drawn = policy.sample(&context, &Streams::new(seed, 2)).expect("samples");
    let samples: Vec<Vec<u32>> = drawn.into_iter().map(|sample| sample.value).collect();
    let value = |policy: &TokenPolicy| -> f64 {
        let log_probs = policy.log_probs(&context, &samples.iter().collect::<Vec<_>>()).expect("scores");
        log_probs.iter().zip(weights).map(|(log_prob, weight)| weight * log_prob).sum()
    };
    let batch: Vec<_> = samples.iter().map(|sample| BatchItem { context: &context, sample }).collect();
    let mut ahead = policy.clone();
    ahead.accumulate(&batch, &mut |_| Ok(weights.to_vec())).expect("a gradient");
    let pending = ahead.pending().expect("pending");
    let square: f64 = pending.values().flatten().map(|value| f64::from(*value).powi(2)).sum();
    let mut behind = ahead.clone();
    let h = 5e-5 / square.sqrt();
    let step = |learning_rate| Update {
        optimizer: Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 },
        learning_rate,
        max_gradient_norm: None,
    };
    behind.step(&step(h)).expect("a step");
    ahead.step(&step(-h)).expect("a step");
    (value(&ahead) - value(&behind)) / (2.0 * h) / square
}

#[test]
fn choices_that_cannot_be_are_named() {
    let model = tiny_model(0, Generation { max_new_tokens: 5, ..Generation::default() });
    let off = Decoding::default();
    for (decoding, message) in [
        (Decoding { min_p: 1.5, ..off.clone() }, "min_p is 1.5; allowed: from 0 to 1"),
        (Decoding { min_p: f64::NAN, ..off.clone() }, "min_p is NaN"),
        (Decoding { typical_p: 0.0, ..off.clone() }, "typical_p is 0; allowed: above 0"),
        (Decoding { repetition_penalty: -1.0, ..off.clone() }, "repetition_penalty is -1; allowed: positive"),
        (Decoding { temperature: 1e-320, ..off.clone() }, "temperature is"),
        (
            Decoding { min_new_tokens: 6, ..off.clone() },
            "min_new_tokens is 6; allowed: at most `max_new_tokens`, 5",
        ),
        (Decoding { forbidden_tokens: vec![4], ..off.clone() }, "forbidden_tokens is 4; allowed: ids below"),
        (
            Decoding { forbidden_tokens: vec![3, 2, 1, 0], ..off.clone() },
            "forbidden_tokens is every id of the",
        ),
        (
            Decoding { forbidden_tokens: vec![1, 2, 3], min_new_tokens: 1, ..off.clone() },
            "forbidden_tokens is every id but end tokens, with `min_new_tokens` = 1",
        ),
    ] {
        let generation = Generation { decoding, ..model.generation().clone() };
        let error = model.with_generation(generation).expect_err(message).to_string();
        assert!(error.starts_with(message), "{error}");
    }
    // Only the end token is left, which still is a distribution.
    let decoding = Decoding { forbidden_tokens: vec![1, 2, 3], ..off };
    let model = model.with_generation(Generation { decoding, ..model.generation().clone() }).expect("valid");
    assert_eq!(model.log_probs(&vec![1], &[&vec![0]]).expect("a score"), [0.0]);

    for (search, field) in [
        (BeamSearch { width: 0, ..BeamSearch::default() }, "width"),
        (
            BeamSearch { width: 1_000_000_000, ..BeamSearch::default() },
            "width is 1000000000; allowed: 1 to 1024",
        ),
        (BeamSearch { returned: 5, ..BeamSearch::default() }, "returned"),
        (BeamSearch { returned: 0, ..BeamSearch::default() }, "returned"),
        (BeamSearch { length_penalty: f64::INFINITY, ..BeamSearch::default() }, "length_penalty"),
    ] {
        let error = model.beam_search(&[&[1]], &search).expect_err(field).to_string();
        assert!(error.starts_with(field), "{error}");
    }
}
