//! The score of a sequence is the same number, however it is computed.

use std::path::Path;

use crate::{
    common::{assert_close, device, folder, golden, ids, language_models},
    decoding::every_choice,
    tiny,
};
use disco_core::{Distribution, Streams};
use disco_lm::{Decoding, Generation, TokenModel};
use tempfile::TempDir;

/// Allowed difference in the log-probability of a sequence, between two ways to compute the same f32 matmuls.
const SEQUENCE_TOLERANCE: f64 = 1e-4;

pub(crate) fn tiny_model(seed: u64, generation: Generation) -> TokenModel {
    tiny_of(tiny::write, seed, generation)
}

fn tiny_of(write: fn(&Path, u64), seed: u64, generation: Generation) -> TokenModel {
    let folder = TempDir::new().expect("a temporary folder");
    write(folder.path(), seed);
    TokenModel::load(folder.path(), &device(), generation).expect("the model loads")
}

fn short(max_new_tokens: usize) -> Generation {
    Generation { max_new_tokens, ..Generation::default() }
}

/// Every list of up to `longest` ids.
pub(crate) fn all_lists(longest: usize) -> Vec<Vec<u32>> {
    let mut lists = vec![vec![]];
    let mut last = lists.clone();
    for _ in 0..longest {
        last = last
            .into_iter()
            .flat_map(|list| (0..tiny::VOCABULARY as u32).map(move |id| [list.clone(), vec![id]].concat()))
            .collect();
        lists.extend(last.clone());
    }
    lists
}

#[test]
fn the_whole_sequence_space_has_probability_one() {
    let decodings = [vec![Decoding::default()], every_choice()].concat();
    let each = tiny::KINDS.into_iter().flat_map(|kind| (0..).zip(&decodings).map(move |case| (kind, case)));
    for ((kind, write), (seed, decoding)) in each {
        let model = tiny_of(write, seed, Generation { decoding: decoding.clone(), ..short(4) });
        let lists = all_lists(5);
        let refs: Vec<&Vec<u32>> = lists.iter().collect();
        let log_probs = model.log_probs(&vec![1, 2, 3], &refs).expect("scores");
        let total: f64 = log_probs.iter().map(|log_prob| log_prob.exp()).sum();
        assert_close(&format!("{kind} {decoding:?}"), &[total], &[1.0], 1e-5);
        // For n < 3, 3^n sequences of n tokens and the end token; and 3^3 * 4 sequences of length 4.
        let possible = log_probs.iter().filter(|log_prob| **log_prob > f64::NEG_INFINITY).count();
        if !decoding.truncates() {
            assert_eq!(possible, 1 + 3 + 9 + 27 * 4);
        }
    }
}

#[test]
fn a_sample_scores_what_it_was_drawn_with() {
    let every_choice = every_choice();
    let together = every_choice[every_choice.len() - 1].clone();
    for name in language_models() {
        let decodings = match name {
            "llama-gqa-tied" => every_choice.clone(),
            _ => vec![Decoding::default(), together.clone()],
        };
        let context = ids(&golden(name)["context_ids"]);
        for decoding in decodings {
            let generation = Generation { decoding, ..short(12) };
            let model = TokenModel::load(folder(name), &device(), generation).expect("the model loads");
            let drawn = model.sample(&context, &Streams::new(5, 50)).expect("samples");
            let samples: Vec<&Vec<u32>> = drawn.iter().map(|sample| &sample.value).collect();
            let returned: Vec<f64> = drawn.iter().map(|sample| sample.log_prob).collect();
            let batched = model.log_probs(&context, &samples).expect("scores");
            assert_close(name, &batched, &returned, SEQUENCE_TOLERANCE);
            let alone: Vec<f64> = samples
                .iter()
                .map(|sample| model.log_probs(&context, &[sample]).expect("a score")[0])
                .collect();
            assert_close(name, &alone, &returned, SEQUENCE_TOLERANCE);
        }
    }
}

#[test]
fn the_batch_and_the_threads_change_no_token() {
    for (kind, write) in tiny::KINDS {
        for decoding in [vec![Decoding::default()], every_choice()].concat() {
            check_batches_and_threads(kind, write, &decoding);
        }
    }
}

/// Draws enough sequences for two threads to be two workers, even if many sequences end with their first token.
fn check_batches_and_threads(kind: &str, write: fn(&Path, u64), decoding: &Decoding) {
    let draw = |batch, threads| {
        let model = tiny_of(write, 7, Generation { batch, decoding: decoding.clone(), ..short(10) });
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        let drawn = pool.install(|| model.sample(&vec![1, 3], &Streams::new(11, 160)));
        drawn.expect("samples").into_iter().map(|sample| sample.value).collect::<Vec<_>>()
    };
    let whole = draw(160, 2);
    if *decoding == Decoding::default() {
        assert!(whole.iter().any(|sample| sample.len() < 10), "{kind}: some sequences end early");
    }
    for (batch, threads) in [(1, 1), (7, 2), (64, 1), (160, 1), (1000, 2)] {
        assert_eq!(draw(batch, threads), whole, "{kind}: batch {batch}, {threads} threads");
    }
}

#[test]
fn contexts_of_several_lengths_do_not_touch_each_other() {
    for (kind, write) in tiny::KINDS {
        check_contexts(kind, &tiny_of(write, 3, short(8)));
    }
}

fn check_contexts(kind: &str, model: &TokenModel) {
    let contexts = [vec![1], vec![2, 3, 1, 2, 3], vec![3, 3]];
    let streams = [Streams::new(1, 20), Streams::new(2, 30), Streams::new(3, 1)];
    let together = model.sample_each(&contexts.each_ref(), &streams).expect("samples");
    for ((context, streams), together) in contexts.iter().zip(&streams).zip(together) {
        let alone = model.sample(context, streams).expect("samples");
        for (alone, together) in alone.iter().zip(&together) {
            assert_eq!(alone.value, together.value);
            assert_close(kind, &[alone.log_prob], &[together.log_prob], SEQUENCE_TOLERANCE);
        }
    }
}

/// Chi-squared test over the 121 sequences of the tiny model, n = 20,000, alpha = 0.001, seed 42; cells with fewer
/// than 5 expected samples are joined.
#[test]
fn sequences_are_drawn_as_often_as_their_probability_says() {
    let model = tiny_model(1, short(4));
    let context = vec![2];
    let n = 20_000;
    let drawn = model.sample(&context, &Streams::new(42, n)).expect("samples");
    let lists: Vec<Vec<u32>> = all_lists(4).into_iter().filter(|list| !list.is_empty()).collect();
    let refs: Vec<&Vec<u32>> = lists.iter().collect();
    let log_probs = model.log_probs(&context, &refs).expect("scores");
    let mut rest = (0.0, 0.0);
    let mut cells = Vec::new();
    for (list, log_prob) in lists.iter().zip(log_probs) {
        let expected = log_prob.exp() * n as f64;
        let seen = drawn.iter().filter(|sample| sample.value == *list).count() as f64;
        if expected >= 5.0 {
            cells.push((seen, expected));
        } else {
            rest = (rest.0 + seen, rest.1 + expected);
        }
    }
    if rest.1 > 0.0 {
        cells.push(rest);
    } else {
        assert_eq!(rest.0, 0.0, "something impossible was drawn");
    }
    let statistic: f64 = cells.iter().map(|(seen, expected)| (seen - expected).powi(2) / expected).sum();
    let freedom = (cells.len() - 1) as f64;
    // Wilson and Hilferty's normal approximation of chi-squared; 3.09 is the normal quantile of 0.999.
    let spread = 2.0 / (9.0 * freedom);
    let limit = freedom * (1.0 - spread + 3.09 * spread.sqrt()).powi(3);
    assert!(statistic < limit, "chi-squared {statistic} of {freedom} degrees exceeds {limit}");
}

#[test]
fn what_cannot_be_drawn_has_no_probability() {
    let model = tiny_model(0, short(3));
    let impossible: [Vec<u32>; 5] = [vec![], vec![1], vec![1, 2], vec![0, 1, 2], vec![1, 2, 3, 0]];
    let refs: Vec<&Vec<u32>> = impossible.iter().collect();
    let log_probs = model.log_probs(&vec![1], &refs).expect("scores");
    assert_eq!(log_probs, [f64::NEG_INFINITY; 5]);
}

#[test]
fn bad_contexts_ids_and_settings_are_named() {
    let model = tiny_model(0, short(10));
    let cases = [
        (vec![], vec![0], "has no token"),
        (vec![1; 7], vec![0], "exceed the model's 16 positions"),
        (vec![4], vec![0], "token id 4"),
        (vec![1], vec![9], "token id 9"),
    ];
    for (context, sample, message) in cases {
        let error = model.log_probs(&context, &[&sample]).expect_err(message).to_string();
        assert!(error.contains(message), "{error}");
    }
    for (generation, field) in [
        (short(0), "max_new_tokens"),
        (Generation { batch: 0, ..short(1) }, "batch"),
        (
            Generation { decoding: Decoding { temperature: 0.0, ..Decoding::default() }, ..short(1) },
            "temperature",
        ),
        (
            Generation { decoding: Decoding { temperature: f64::NAN, ..Decoding::default() }, ..short(1) },
            "temperature",
        ),
        (
            Generation { decoding: Decoding { temperature: 1e-300, ..Decoding::default() }, ..short(1) },
            "temperature",
        ),
        (Generation { decoding: Decoding { top_p: 0.0, ..Decoding::default() }, ..short(1) }, "top_p"),
    ] {
        let error = model.with_generation(generation).expect_err(field).to_string();
        assert!(error.starts_with(field), "{error}");
    }
}
