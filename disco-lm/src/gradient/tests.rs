//! As the goldens hold the gradients of one graph to PyTorch's, this holds those written by hand to that of one graph: of
//! small random models of every kind of layer.

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use serde_json::{Value, json};

use super::{KEPT_BYTES, Sequence, whole};
use crate::{
    Decoding, Lora,
    optimizer::Gradient,
    testing::{config, elsewhere, random},
    token_model::{download, upload},
};

/// Of the largest entry of a tensor, in f32: a layer that is run again rounds as it did before.
const ROUNDING: f32 = 1e-6;

/// The same, where the sums are in another order.
const ORDER: f32 = 2e-5;

/// Contexts of different lengths, sequences of different lengths, one of them a single token.
const SEQUENCES: [Sequence<'static>; 5] = [
    Sequence { context: &[5, 6, 7], tokens: &[9, 10, 2] },
    Sequence { context: &[8], tokens: &[11, 12, 13, 14, 15] },
    Sequence { context: &[8], tokens: &[2] },
    Sequence { context: &[5, 6, 7], tokens: &[5, 7, 9, 11, 13] },
    Sequence { context: &[8], tokens: &[3, 4, 2] },
];

/// Where tensors lie in the host's memory, and with the operations that other devices take.
#[track_caller]
fn check(config: &Value, decoding: Decoding) {
    check_here(config, decoding.clone());
    elsewhere(|| check_here(config, decoding));
}

#[track_caller]
fn check_here(config: &Value, decoding: Decoding) {
    let full = random(config, decoding);
    let adapted = full.with_lora(&Lora { rank: 2, ..Lora::default() }).expect("an adapter");
    for mut model in [full, adapted] {
        if let Some(adapter) = &mut model.adapter {
            // A new adapter's second factor is zero, and so would be the gradient of its first.
            let mut rng = ChaCha8Rng::seed_from_u64(8);
            for tensor in &mut adapter.tensors {
                let shape = tensor.dims();
                let values = (0..shape[0] * shape[1]).map(|_| rng.random_range(-0.4f32..0.4)).collect();
                *tensor = upload(values, shape, &tensor.device());
            }
        }
        let gradient_of = |kept_bytes: Option<usize>| {
            let mut gradient: Gradient = vec![None; model.trained().0.len()];
            let mut weigh = |_: &[f64]| Ok(vec![0.7, -1.3, 2.0, 0.0, 0.4]);
            match kept_bytes {
                Some(bytes) => model.accumulate_within(bytes, &SEQUENCES, &mut weigh, &mut gradient),
                None => whole::accumulate(&model, &SEQUENCES, &mut weigh, &mut gradient),
            }
            .expect("a gradient");
            let tensors = gradient.into_iter().map(|tensor| download(tensor.expect("of every slot")));
            tensors.collect::<crate::Result<Vec<_>>>().expect("readable")
        };
        let [one, kept, again] = [None, Some(KEPT_BYTES), Some(0)].map(gradient_of);
        assert!(one.iter().all(|tensor| tensor.iter().any(|value| *value != 0.0)));
        let names: Vec<&str> = model.trained().0.iter().map(|slot| slot.name.as_str()).collect();
        assert_close(&names, &kept, &again, ROUNDING);
        assert_close(&names, &one, &kept, ORDER);
    }
}

#[track_caller]
fn assert_close(names: &[&str], one: &[Vec<f32>], other: &[Vec<f32>], tolerance: f32) {
    assert_eq!(one.len(), other.len());
    for ((name, one), other) in names.iter().zip(one).zip(other) {
        let largest = one.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
        let apart = one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
        assert!(apart <= tolerance * largest, "{name}: {apart} apart, of at most {largest}");
    }
}

#[test]
fn the_gradient_of_a_llama_is_that_of_one_graph() {
    let llama = config(json!({"model_type": "llama", "num_key_value_heads": 2, "tie_word_embeddings": true}));
    check(&llama, Decoding::default());
    let untied = config(json!({
        "model_type": "llama", "attention_bias": true, "mlp_bias": true, "tie_word_embeddings": false,
    }));
    check(&untied, Decoding::default());
}

/// The logits are not kept where a decoding choice changes them.
#[test]
fn the_gradient_under_a_repetition_penalty_is_that_of_one_graph() {
    let llama = config(json!({"model_type": "llama", "tie_word_embeddings": true}));
    check(&llama, Decoding { repetition_penalty: 1.3, temperature: 0.8, ..Decoding::default() });
}

#[test]
fn the_gradient_of_gpt2_is_that_of_one_graph() {
    let gpt2 = json!({
        "model_type": "gpt2", "activation_function": "gelu_new", "n_ctx": 32, "n_embd": 16, "n_head": 4,
        "n_layer": 3, "n_positions": 32, "vocab_size": 24,
    });
    check(&gpt2, Decoding::default());
}

#[test]
fn the_gradient_of_normalised_heads_is_that_of_one_graph() {
    check(
        &config(json!({"model_type": "qwen3", "num_key_value_heads": 2, "head_dim": 8})),
        Decoding::default(),
    );
}

#[test]
fn the_gradient_of_sliding_windows_is_that_of_one_graph() {
    check(
        &config(json!({"model_type": "mistral", "num_key_value_heads": 2, "sliding_window": 3})),
        Decoding::default(),
    );
}

/// Norms around both blocks, with scales from one, a tanh gate, and two kinds of rotation.
#[test]
fn the_gradient_of_gemma_is_that_of_one_graph() {
    let gemma = config(json!({
        "model_type": "gemma3_text", "num_key_value_heads": 2, "head_dim": 8, "sliding_window": 3,
        "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 8, "rope_local_base_freq": 10000.0,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    }));
    check(&gemma, Decoding::default());
}
