//! Rows that come and go, on the host and on other devices.

use disco_core::{Sampled, Streams};
use serde_json::{Value, json};

use crate::{
    Decoding, Generation, TokenModel, host,
    testing::{config, elsewhere, random},
};

/// In the log-probability of a sequence of at most 12 tokens, in f32.
const TOLERANCE: f64 = 1e-4;

fn llama() -> Value {
    config(json!({"model_type": "llama", "num_key_value_heads": 2}))
}

fn windowed() -> Value {
    config(json!({"model_type": "mistral", "num_key_value_heads": 2, "sliding_window": 3}))
}

fn t5() -> Value {
    json!({
        "model_type": "t5", "vocab_size": 24, "d_model": 16, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 2,
        "d_kv": 8, "d_ff": 24, "relative_attention_num_buckets": 8, "relative_attention_max_distance": 12,
        "feed_forward_proj": "gated-gelu", "tie_word_embeddings": false, "decoder_start_token_id": 3,
    })
}

fn model(config: &Value, batch: usize) -> TokenModel {
    let generation = Generation { max_new_tokens: 12, batch, ..Generation::default() };
    random(config, Decoding::default()).with_generation(generation).expect("settings")
}

/// Some sequences for each of some contexts, which have 1 to 8 tokens.
fn draw(model: &TokenModel, contexts: usize, sequences: usize) -> Vec<Sampled<Vec<u32>>> {
    let contexts = (0..contexts as u32).map(|i| (0..=i * i % 8).map(|place| 3 + (i + place) % 20).collect());
    let contexts: Vec<Vec<u32>> = contexts.collect();
    let slices: Vec<&[u32]> = contexts.iter().map(Vec::as_slice).collect();
    let streams: Vec<Streams> = (0..slices.len() as u64).map(|seed| Streams::new(seed, sequences)).collect();
    model.draw(&slices, &streams).expect("samples").into_iter().flatten().collect()
}

#[track_caller]
fn assert_alike(one: &[Sampled<Vec<u32>>], other: &[Sampled<Vec<u32>>]) {
    assert_eq!(one.len(), other.len());
    for (one, other) in one.iter().zip(other) {
        assert_eq!(one.value, other.value);
        assert!((one.log_prob - other.log_prob).abs() < TOLERANCE, "{} {}", one.log_prob, other.log_prob);
    }
}

/// Contexts of several lengths that are read in several groups, and places for a few sequences only or for all: the host and
/// other devices draw the same.
#[test]
fn sequences_do_not_depend_on_who_had_their_place_before() {
    for config in [llama(), windowed(), t5()] {
        // 1200 tokens of contexts.
        let whole = draw(&model(&config, 1000), 150, 2);
        assert!(whole.iter().any(|sample| sample.value.len() == 12), "some go on to the end");
        assert!(whole.iter().any(|sample| sample.value.len() < 6), "some end early");
        for batch in [1, 5, 64] {
            let model = model(&config, batch);
            assert_alike(&draw(&model, 150, 2), &whole);
            assert_alike(&elsewhere(|| draw(&model, 150, 2)), &whole);
        }
    }
}

/// On the host every row of a decoder is computed by itself: which strand comes first, and whose place a sequence gets, changes
/// no bit.
#[test]
fn rows_of_the_host_are_the_same_to_the_bit() {
    for config in [llama(), windowed()] {
        let whole = model(&config, 1000);
        if !host::is_host(&whole.frame.device) {
            return;
        }
        let whole = draw(&whole, 150, 2);
        for (batch, threads) in [(1, 1), (70, 1), (70, 2), (300, 3)] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            let here = pool.install(|| draw(&model(&config, batch), 150, 2));
            assert_eq!(here, whole, "batch {batch}, {threads} threads");
        }
    }
}

#[test]
fn contexts_without_sequences_are_not_read() {
    let model = model(&llama(), 8);
    let contexts: [&[u32]; 3] = [&[5], &[6, 7], &[8]];
    let counts = [0, 3, 0];
    let streams = counts.map(|count| Streams::new(1, count));
    let drawn = model.draw(&contexts, &streams).expect("samples");
    assert_eq!(drawn.iter().map(Vec::len).collect::<Vec<_>>(), counts);
    assert!(model.draw(&[], &[]).expect("nothing").is_empty());
}

#[test]
fn a_model_that_gives_nan_is_an_error_in_every_strand() {
    let broken = model(&llama(), 64);
    let mut tensors = broken.tensors.clone();
    let last = tensors.len() - 1;
    tensors[last] = tensors[last].clone() * f32::NAN;
    let broken = TokenModel { tensors, ..broken };
    let streams = [Streams::new(1, 200)];
    let error = broken.draw(&[&[5, 6]], &streams).expect_err("no probabilities").to_string();
    assert!(error.contains("NaN") || error.contains("finite"), "{error}");
}
