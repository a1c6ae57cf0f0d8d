//! Tiny random models, written as Hugging Face folders.

use std::path::Path;

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::json;

/// The number of token ids; 0 ends a sequence.
pub(crate) const VOCABULARY: usize = 4;

/// Writes a Llama whose whole sequence space can be enumerated. It has two key heads, so that queries are grouped.
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
    write_folder(folder, seed, &config, shapes);
}

/// Writes the same Llama as a Mistral that sees three tokens at a time.
pub(crate) fn write_windowed(folder: &Path, seed: u64) {
    write(folder, seed);
    let path = folder.join("config.json");
    let config = std::fs::read_to_string(&path).expect("readable");
    let config =
        config.replace("\"model_type\":\"llama\"", "\"model_type\":\"mistral\",\"sliding_window\":3");
    std::fs::write(path, config).expect("writable");
}

/// Writes the folder of a model with random weights from a seed.
type Writer = fn(&Path, u64);

/// Every kind of model, and the function that writes it.
pub(crate) const KINDS: [(&str, Writer); 3] =
    [("llama", write), ("mistral", write_windowed), ("t5", write_t5)];

/// Writes a T5 of the same vocabulary, with a gated feed-forward block and an untied output matrix.
pub(crate) fn write_t5(folder: &Path, seed: u64) {
    let [width, heads, head, inner] = [16, 2, 8, 24];
    let config = json!({
        "model_type": "t5", "vocab_size": VOCABULARY, "d_model": width, "num_layers": 2,
        "num_decoder_layers": 1, "num_heads": heads, "d_kv": head, "d_ff": inner,
        "relative_attention_num_buckets": 8, "relative_attention_max_distance": 12,
        "feed_forward_proj": "gated-gelu", "tie_word_embeddings": false,
        "decoder_start_token_id": 3, "eos_token_id": 0,
    });
    let mut shapes = vec![
        ("shared.weight".to_string(), vec![VOCABULARY, width]),
        ("lm_head.weight".to_string(), vec![VOCABULARY, width]),
    ];
    for (stack, layers) in [("encoder", 2), ("decoder", 1)] {
        shapes.push((format!("{stack}.final_layer_norm.weight"), vec![width]));
        let bias = "block.0.layer.0.SelfAttention.relative_attention_bias.weight";
        shapes.push((format!("{stack}.{bias}"), vec![8, heads]));
        let mut blocks = vec!["SelfAttention", "EncDecAttention", "DenseReluDense"];
        blocks.retain(|block| stack == "decoder" || *block != "EncDecAttention");
        for layer in 0..layers {
            for (index, block) in blocks.iter().enumerate() {
                let there = format!("{stack}.block.{layer}.layer.{index}");
                shapes.push((format!("{there}.layer_norm.weight"), vec![width]));
                let products = match *block {
                    "DenseReluDense" => {
                        vec![("wi_0", [inner, width]), ("wi_1", [inner, width]), ("wo", [width, inner])]
                    }
                    _ => ["q", "k", "v", "o"].map(|which| (which, [width, width])).to_vec(),
                };
                let products = products.into_iter();
                shapes.extend(
                    products.map(|(name, shape)| (format!("{there}.{block}.{name}.weight"), shape.to_vec())),
                );
            }
        }
    }
    write_folder(folder, seed, &config, shapes);
}

fn write_folder(folder: &Path, seed: u64, config: &serde_json::Value, shapes: Vec<(String, Vec<usize>)>) {
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
