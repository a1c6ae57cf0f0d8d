//! Continuous batching and beam search on the CPU and on other devices: batch slots and workers change no sequence.

use burn::tensor::Tensor;
use disco_core::{Sampled, Streams};
use serde_json::{Value, json};

use crate::{
    BeamSearch, Decoding, Generation, Grammar, TokenModel,
    device::host::is_cpu,
    layers::weight::Weight,
    testing::{config, letters, on_other_device, random},
};

/// Allowed difference in the log-probability of a sequence of at most 12 tokens, in f32.
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

fn gpt2() -> Value {
    json!({"model_type": "gpt2", "vocab_size": 24, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32})
}

fn gemma() -> Value {
    config(json!({
        "model_type": "gemma3_text", "num_key_value_heads": 2, "head_dim": 4, "sliding_window": 4,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    }))
}

fn model(config: &Value, batch: usize, longest: usize) -> TokenModel {
    let generation = Generation { max_new_tokens: longest, batch, ..Generation::default() };
    random(config, Decoding::default()).with_generation(generation).expect("settings")
}

/// Two sequences for each of some contexts of the given lengths.
fn draw(model: &TokenModel, lengths: &[usize]) -> Vec<Sampled<Vec<u32>>> {
    let context = |(i, length): (usize, &usize)| (0..*length).map(|at| 3 + (i + at) as u32 % 20).collect();
    let contexts: Vec<Vec<u32>> = lengths.iter().enumerate().map(context).collect();
    let slices: Vec<&[u32]> = contexts.iter().map(Vec::as_slice).collect();
    let streams: Vec<Streams> = (0..slices.len() as u64).map(|seed| Streams::new(seed, 2)).collect();
    model.draw(&slices, &streams).expect("samples").into_iter().flatten().collect()
}

/// Context lengths of 1 to 8 tokens, so that the contexts are prefilled in three groups, padded.
fn short() -> Vec<usize> {
    (0..150).map(|i| 1 + 5 * i % 8).collect()
}

#[track_caller]
fn assert_alike(one: &[Sampled<Vec<u32>>], other: &[Sampled<Vec<u32>>]) {
    assert_eq!(one.len(), other.len());
    for (one, other) in one.iter().zip(other) {
        assert_eq!(one.value, other.value);
        assert!((one.log_prob - other.log_prob).abs() < TOLERANCE, "{} {}", one.log_prob, other.log_prob);
    }
}

/// Contexts of several lengths are prefilled in several groups, with batch slots for a few sequences only or for all: the CPU
/// and other devices draw the same sequences.
#[test]
fn sequences_do_not_depend_on_the_earlier_sequences_of_their_slot() {
    // Groups of a single context beside others of many.
    let long = || [vec![300, 1, 280], vec![5; 90], vec![270]].concat();
    let cases = [(llama(), short()), (windowed(), short()), (t5(), short()), (t5(), long())];
    for (config, lengths) in cases {
        let whole = draw(&model(&config, 1000, 12), &lengths);
        assert!(whole.iter().any(|sample| sample.value.len() == 12), "some reach the maximal length");
        assert!(whole.iter().any(|sample| sample.value.len() < 6), "some end early");
        for batch in [1, 5, 64] {
            let model = model(&config, batch, 12);
            assert_alike(&draw(&model, &lengths), &whole);
            assert_alike(&on_other_device(|| draw(&model, &lengths)), &whole);
        }
    }
}

/// On the CPU every row of a decoder is computed by itself: neither the order of the workers nor the batch slot of a sequence
/// changes a bit.
#[test]
fn rows_on_the_cpu_are_the_same_to_the_bit() {
    for config in [llama(), windowed(), gpt2(), gemma()] {
        let whole = model(&config, 1000, 12);
        if !is_cpu(&whole.shared.device) {
            return;
        }
        let whole = draw(&whole, &short());
        for (batch, threads) in [(1, 1), (70, 1), (70, 2), (300, 3)] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            let here = pool.install(|| draw(&model(&config, batch, 12), &short()));
            assert_eq!(here, whole, "{}: batch {batch}, {threads} threads", config["model_type"]);
        }
    }
}

/// Under a grammar too. No token has the letter `x`, so that a sequence that begins with `d` comes to a dead end.
#[test]
fn a_grammar_allows_the_same_sequences_on_every_device() {
    let grammar = Grammar::regex("([a-c]g?){1,4}|dx").expect("a grammar");
    for config in [llama(), gpt2()] {
        let draw = |batch| {
            let model = model(&config, batch, 12).under_grammar(&grammar, &letters()).expect("it fits");
            draw(&model, &short())
        };
        let whole = draw(1000);
        assert!(whole.iter().any(|sample| sample.value == [6]), "dead ends");
        assert!(whole.iter().all(|sample| sample.value == [6] || sample.value.last() == Some(&2)));
        for batch in [1, 5, 64] {
            assert_alike(&draw(batch), &whole);
            assert_alike(&on_other_device(|| draw(batch)), &whole);
        }
    }
}

#[test]
fn sequences_of_one_token_take_no_step() {
    for config in [llama(), t5()] {
        let model = model(&config, 8, 1);
        let (here, there) = (draw(&model, &short()), on_other_device(|| draw(&model, &short())));
        assert!(here.iter().all(|sample| sample.value.len() == 1));
        assert_alike(&here, &there);
        let search = BeamSearch { width: 3, returned: 3, ..BeamSearch::default() };
        assert_eq!(model.beam_search(&[&[5, 6]], &search).expect("sequences")[0].len(), 3);
    }
}

#[test]
fn contexts_without_sequences_are_not_prefilled() {
    let model = model(&llama(), 8, 12);
    let contexts: [&[u32]; 3] = [&[5], &[6, 7], &[8]];
    let counts = [0, 3, 0];
    let streams = counts.map(|count| Streams::new(1, count));
    let drawn = model.draw(&contexts, &streams).expect("samples");
    assert_eq!(drawn.iter().map(Vec::len).collect::<Vec<_>>(), counts);
    assert!(model.draw(&[], &[]).expect("nothing").is_empty());
}

/// The error occurs in the workers, at the second token: the embedding of one possible first token is NaN.
#[test]
fn a_model_that_gives_nan_is_an_error_that_stops_all_workers() {
    let sound = model(&llama(), 64, 12);
    let mut weights = sound.weights.clone();
    let row = Tensor::from_data([[f32::NAN; 16]], &sound.shared.device);
    weights[0] = Weight::F32(weights[0].to_f32().slice_assign([9..10, 0..16], row));
    let broken = TokenModel { weights, ..sound };
    let streams = [Streams::new(1, 200)];
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("threads");
    let drawn = pool.install(|| broken.draw(&[&[5, 6]], &streams));
    let error = drawn.expect_err("no probabilities").to_string();
    assert!(error.contains("a logit of the model"), "{error}");
}
