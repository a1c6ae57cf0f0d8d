//! A tiny random Llama, written as a Hugging Face folder.

use std::path::Path;

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::json;

/// The number of token ids; 0 ends a sequence.
pub(crate) const VOCABULARY: usize = 4;

/// Writes a model whose whole sequence space can be enumerated. Two key heads, so queries are grouped.
pub(crate) fn write(folder: &Path, seed: u64) {
    let [width, heads, kv_heads, inner] = [16, 4, 2, 24];
    let head = width / heads;
    let config = json!({
        "model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": width, "num_hidden_layers": 2,
        "num_attention_heads": heads, "num_key_value_heads": kv_heads, "intermediate_size": inner,
        "max_position_embeddings": 16, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
        "tie_word_embeddings": true, "eos_token_id": 0,
    });
    let mut shapes = vec![
        ("model.embed_tokens.weight".to_string(), vec![VOCABULARY, width]),
        ("model.norm.weight".to_string(), vec![width]),
    ];
    for layer in 0..2 {
        for (name, shape) in [
            ("input_layernorm", vec![width]),
            ("post_attention_layernorm", vec![width]),
            ("self_attn.q_proj", vec![width, width]),
            ("self_attn.k_proj", vec![kv_heads * head, width]),
            ("self_attn.v_proj", vec![kv_heads * head, width]),
            ("self_attn.o_proj", vec![width, width]),
            ("mlp.gate_proj", vec![inner, width]),
            ("mlp.up_proj", vec![inner, width]),
            ("mlp.down_proj", vec![width, inner]),
        ] {
            shapes.push((format!("model.layers.{layer}.{name}.weight"), shape));
        }
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = shapes
        .into_iter()
        .map(|(name, shape)| {
            let count: usize = shape.iter().product();
            let values = (0..count).flat_map(|_| (rng.random::<f32>() * 1.2 - 0.4).to_le_bytes());
            (name, shape, values.collect())
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).expect("bytes fit the shape"))
    });
    std::fs::write(folder.join("config.json"), config.to_string()).expect("a writable folder");
    safetensors::serialize_to_file(views, None, &folder.join("model.safetensors"))
        .expect("a writable folder");
}
