//! The hand-written gradient agrees with automatic differentiation, for small random models with every kind of layer. (The golden
//! tests compare automatic differentiation with PyTorch.)

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use serde_json::{Value, json};

use crate::{
    Decoding, Grammar, Lora, TokenModel,
    device::transfer::{download, upload},
    layers::gradients::Gradient,
    testing::{config, letters, on_other_device, random},
    training::{
        autodiff,
        gradient::{SAVED_BYTES, SequenceInContext, split_into_micro_batches},
    },
};

/// Tolerance relative to the largest element of a tensor, in f32: a recomputed layer rounds as it did before.
const ROUNDING: f32 = 1e-6;

/// Relative tolerance where sums are in another order, for a well-conditioned model.
const ORDER: f32 = 2e-5;

/// Relative tolerance for any model: this multiple of the change of its gradient if the weights move by half a unit in their last
/// place. (That change is 5.5e-5 for the Gemma below with an adapter.)
const NUDGES: f32 = 2.0;

/// Contexts of different lengths, sequences of different lengths, one of them a single token.
const SEQUENCES: [SequenceInContext<'static>; 5] = [
    SequenceInContext { context: &[5, 6, 7], tokens: &[9, 10, 2] },
    SequenceInContext { context: &[8], tokens: &[11, 12, 13, 14, 15] },
    SequenceInContext { context: &[8], tokens: &[2] },
    SequenceInContext { context: &[5, 6, 7], tokens: &[5, 7, 9, 11, 13] },
    SequenceInContext { context: &[8], tokens: &[3, 4, 2] },
];

/// Checks the gradient on the CPU, and with the operations that other devices use.
#[track_caller]
fn check(config: &Value, decoding: Decoding) {
    check_here(config, decoding.clone());
    on_other_device(|| check_here(config, decoding));
}

#[track_caller]
fn check_here(config: &Value, decoding: Decoding) {
    check_model(random(config, decoding));
}

/// A grammar that allows all of [`SEQUENCES`], and not all tokens.
#[test]
fn a_grammar_is_part_of_the_gradient() {
    let grammar = Grammar::regex("[a-n]*").expect("a grammar");
    let masked = |decoding| {
        let config = config(json!({"model_type": "llama", "num_key_value_heads": 2, "num_hidden_layers": 1}));
        random(&config, decoding).under_grammar(&grammar, &letters()).expect("it fits")
    };
    let decodings =
        [Decoding::default(), Decoding { repetition_penalty: 1.3, temperature: 0.8, ..Decoding::default() }];
    for decoding in decodings {
        check_model(masked(decoding.clone()));
        on_other_device(|| check_model(masked(decoding)));
    }
}

#[track_caller]
fn check_model(full: TokenModel) {
    let adapted = full.with_lora(&Lora { rank: 2, ..Lora::default() }).expect("an adapter");
    for mut model in [full, adapted] {
        let mut rng = ChaCha8Rng::seed_from_u64(8);
        if let Some(adapter) = &mut model.adapter {
            // The second factor of a new adapter is zero, which would make the gradient of the first factor zero.
            for tensor in &mut adapter.tensors {
                let shape = tensor.dims();
                let values = (0..shape[0] * shape[1]).map(|_| rng.random_range(-0.4f32..0.4)).collect();
                *tensor = upload(values, shape, &tensor.device());
            }
        }
        let gradient_of = |model: &TokenModel, method: Method| {
            let mut gradient: Gradient = vec![None; model.trained_parameters().len()];
            let mut weights = [0.7, -1.3, 2.0, 0.0, 0.4].into_iter();
            let mut weigh = |log_probs: &[f64]| Ok(weights.by_ref().take(log_probs.len()).collect());
            match method {
                Method::Autodiff => autodiff::accumulate(model, &SEQUENCES, &mut weigh, &mut gradient),
                Method::SavedBytes(bytes) => {
                    model.accumulate_by_hand(bytes, &SEQUENCES, &mut weigh, &mut gradient)
                }
                Method::MicroBatches(tokens) => {
                    let micro_batches = split_into_micro_batches(&SEQUENCES, tokens);
                    model.accumulate_micro_batches(2, SAVED_BYTES, &micro_batches, &mut weigh, &mut gradient)
                }
            }
            .expect("a gradient");
            assert_eq!(weights.next(), None);
            let tensors = gradient.into_iter().map(|tensor| download(tensor.expect("of every parameter")));
            tensors.collect::<crate::Result<Vec<_>>>().expect("readable")
        };
        let methods = [
            Method::Autodiff,
            Method::SavedBytes(SAVED_BYTES),
            Method::SavedBytes(0),
            Method::MicroBatches(1),
            Method::MicroBatches(1000),
        ];
        let [by_autodiff, saved, recomputed, small, large] =
            methods.map(|method| gradient_of(&model, method));
        assert!(by_autodiff.iter().all(|tensor| tensor.iter().any(|value| *value != 0.0)));
        let names: Vec<&str> =
            model.trained_parameters().iter().map(|parameter| parameter.name.as_str()).collect();
        assert_close(&names, &saved, &recomputed, ROUNDING);
        let mut nudged = model.clone();
        for tensor in nudged.trained_mut().1 {
            let mut nudge = |value: f32| value * (1.0 + rng.random_range(-0.5..0.5) * f32::EPSILON);
            let values = download(tensor.clone()).expect("readable").into_iter().map(&mut nudge).collect();
            *tensor = upload(values, tensor.dims(), &tensor.device());
        }
        let nudged = gradient_of(&nudged, Method::Autodiff);
        let changes = by_autodiff.iter().zip(&nudged).map(|(one, nudged)| apart(one, nudged));
        let tolerance = ORDER.max(NUDGES * changes.fold(0.0, f32::max));
        for other in [saved, small, large] {
            assert_close(&names, &by_autodiff, &other, tolerance);
        }
    }
}

/// How a gradient is computed.
enum Method {
    /// By automatic differentiation, with one graph.
    Autodiff,
    /// By hand, with this many bytes of saved activations.
    SavedBytes(usize),
    /// By hand, in micro-batches of this many tokens.
    MicroBatches(usize),
}

#[test]
fn batches_are_split_into_even_micro_batches() {
    let lengths = |most: usize, tokens: &[usize], context: usize| {
        let (context, ids) = (vec![1; context], vec![1; 100]);
        let sequences: Vec<SequenceInContext<'_>> = tokens
            .iter()
            .map(|&count| SequenceInContext { context: &context, tokens: &ids[..count] })
            .collect();
        let micro_batches = split_into_micro_batches(&sequences, most);
        micro_batches.iter().map(|micro_batch| micro_batch.len()).collect::<Vec<_>>()
    };
    assert_eq!(lengths(41, &[10; 12], 1), [4, 4, 4]);
    assert_eq!(lengths(41, &[10; 10], 1), [3, 4, 3]);
    assert_eq!(lengths(20, &[40, 1, 1, 40], 1), [1, 1, 1, 1]);
    assert_eq!(lengths(50, &[40, 1, 1, 40], 1), [2, 2]);
    // A context of 10 tokens comes with no fewer than 110 other tokens.
    assert_eq!(lengths(20, &[50; 6], 10), [2, 2, 2]);
    assert_eq!(lengths(1, &[1], 0), [1]);
}

/// The gradient has the same bits for any number of workers: they add to it in the order of the micro-batches.
#[test]
fn the_gradient_does_not_depend_on_the_number_of_workers() {
    let full = random(&config(json!({"model_type": "llama", "num_key_value_heads": 2})), Decoding::default());
    let adapted = full.with_lora(&Lora { rank: 2, ..Lora::default() }).expect("an adapter");
    let micro_batches: Vec<&[SequenceInContext<'_>]> = SEQUENCES.chunks(1).cycle().take(40).collect();
    for model in [full, adapted] {
        let gradient = |workers: usize| -> Vec<Option<Vec<f32>>> {
            let mut gradient: Gradient = vec![None; model.trained_parameters().len()];
            // Some micro-batches have nothing to add.
            let mut weights =
                (0..micro_batches.len()).map(|index| if index % 7 < 2 { 0.0 } else { index as f64 - 11.5 });
            let mut weigh = |log_probs: &[f64]| Ok(weights.by_ref().take(log_probs.len()).collect());
            let done = model.accumulate_micro_batches(
                workers,
                SAVED_BYTES,
                &micro_batches,
                &mut weigh,
                &mut gradient,
            );
            done.expect("a gradient");
            gradient.into_iter().map(|sum| sum.map(|sum| download(sum).expect("elements"))).collect()
        };
        let one = gradient(1);
        for workers in [2, 3, 7] {
            assert_eq!(gradient(workers), one, "{workers} workers");
        }
    }
}

/// The first error is returned, and no worker waits for the micro-batch that has failed: neither if `weigh` fails, nor if a
/// micro-batch gets no weights.
#[test]
fn a_micro_batch_without_its_weights_stops_the_others() {
    let model = random(&config(json!({"model_type": "llama"})), Decoding::default());
    let micro_batches: Vec<&[SequenceInContext<'_>]> = SEQUENCES.chunks(1).cycle().take(20).collect();
    let error_at_6 = |answer: fn() -> crate::Result<Vec<f64>>| {
        let mut asked = 0;
        let mut weigh = |_: &[f64]| {
            asked += 1;
            if asked == 6 { answer() } else { Ok(vec![1.0]) }
        };
        let mut gradient: Gradient = vec![None; model.trained_parameters().len()];
        let done = model.accumulate_micro_batches(3, SAVED_BYTES, &micro_batches, &mut weigh, &mut gradient);
        assert_eq!(gradient.len(), model.trained_parameters().len());
        (done.expect_err("no weights").to_string(), asked)
    };
    let (error, asked) = error_at_6(|| Err(crate::Error::invalid("answer", "none", "some")));
    assert!(error.contains("answer") && asked == 6, "{error}, asked {asked}");
    let (error, asked) = error_at_6(|| Ok(Vec::new()));
    assert!(error.contains("weights of a batch") && asked < 20, "{error}, asked {asked}");
}

#[track_caller]
fn assert_close(names: &[&str], one: &[Vec<f32>], other: &[Vec<f32>], tolerance: f32) {
    assert_eq!(one.len(), other.len());
    for ((name, one), other) in names.iter().zip(one).zip(other) {
        let apart = apart(one, other);
        assert!(apart <= tolerance, "{name}: {apart} apart, {tolerance} allowed");
    }
}

/// The largest difference between the elements of two tensors, relative to the largest element of the first.
fn apart(one: &[f32], other: &[f32]) -> f32 {
    let largest = one.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
    one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max) / largest
}

#[test]
fn the_gradient_of_a_llama_is_that_of_autodiff() {
    let llama = config(json!({"model_type": "llama", "num_key_value_heads": 2, "tie_word_embeddings": true}));
    check(&llama, Decoding::default());
    let untied = config(json!({
        "model_type": "llama", "attention_bias": true, "mlp_bias": true, "tie_word_embeddings": false,
    }));
    check(&untied, Decoding::default());
}

/// The logits are not saved if a decoding choice changes them.
#[test]
fn the_gradient_under_a_repetition_penalty_is_that_of_autodiff() {
    let llama = config(json!({"model_type": "llama", "tie_word_embeddings": true}));
    check(&llama, Decoding { repetition_penalty: 1.3, temperature: 0.8, ..Decoding::default() });
}

#[test]
fn the_gradient_of_gpt2_is_that_of_autodiff() {
    let gpt2 = json!({
        "model_type": "gpt2", "activation_function": "gelu_new", "n_ctx": 32, "n_embd": 16, "n_head": 4,
        "n_layer": 3, "n_positions": 32, "vocab_size": 24,
    });
    check(&gpt2, Decoding::default());
}

#[test]
fn the_gradient_of_normalised_heads_is_that_of_autodiff() {
    check(
        &config(json!({"model_type": "qwen3", "num_key_value_heads": 2, "head_dim": 8})),
        Decoding::default(),
    );
}

#[test]
fn the_gradient_of_sliding_windows_is_that_of_autodiff() {
    check(
        &config(json!({"model_type": "mistral", "num_key_value_heads": 2, "sliding_window": 3})),
        Decoding::default(),
    );
}

/// Norms before and after both blocks, with scales stored as an offset from one, a gate with the tanh approximation of GELU, and
/// two rotary embeddings, for local and for global attention.
#[test]
fn the_gradient_of_gemma_is_that_of_autodiff() {
    let gemma = config(json!({
        "model_type": "gemma3_text", "num_key_value_heads": 2, "head_dim": 8, "sliding_window": 3,
        "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 8, "rope_local_base_freq": 10000.0,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    }));
    check(&gemma, Decoding::default());
}
