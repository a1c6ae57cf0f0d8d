//! Configurations of models that people use, and the values that are read from them.

use std::path::Path;

use serde_json::{Value, json};

use crate::architecture::{
    ARCHITECTURES, bert,
    classifier_config::{ClassifierConfig, Link},
    fields::{COMMON, Fields},
    model_config::{Activation, ModelConfig},
    read_config,
};

fn read(config: &Value) -> ModelConfig {
    read_config(config, Path::new("config.json")).expect("a known configuration")
}

#[test]
fn distilgpt2_is_gpt2() {
    let config = read(&json!({
        "model_type": "gpt2", "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "n_ctx": 1024,
        "n_embd": 768, "n_head": 12, "n_layer": 6, "n_positions": 1024, "vocab_size": 50257,
    }));
    assert_eq!((config.layers, config.heads, config.head_dim, config.intermediate_size), (6, 12, 64, 3072));
    assert!(config.tied);
}

#[test]
fn windows_are_those_of_the_configuration() {
    let base = json!({
        "vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4,
        "num_key_value_heads": 4, "intermediate_size": 64, "max_position_embeddings": 64,
    });
    let with = |more: Value| {
        let mut config = base.clone();
        let (config_map, more) = (config.as_object_mut().expect("object"), more.as_object().cloned());
        config_map.extend(more.expect("object"));
        read(&config).window.map(|window| (window.size, window.layers))
    };
    assert_eq!(with(json!({"model_type": "mistral", "sliding_window": 8})), Some((8, vec![true; 4])));
    assert_eq!(with(json!({"model_type": "mistral", "sliding_window": null})), None);
    let qwen = json!({"model_type": "qwen2", "use_sliding_window": false, "sliding_window": 8});
    assert_eq!(with(qwen), None);
    let qwen = json!({
        "model_type": "qwen2", "use_sliding_window": true, "sliding_window": 8, "max_window_layers": 3,
    });
    assert_eq!(with(qwen), Some((8, vec![false, false, false, true])));
    let types = ["full_attention", "sliding_attention", "full_attention", "full_attention"];
    let qwen = json!({
        "model_type": "qwen3", "use_sliding_window": true, "sliding_window": 8, "layer_types": types,
    });
    assert_eq!(with(qwen), Some((8, vec![false, true, false, false])));
    // A Llama has no window, even if its configuration names one.
    assert_eq!(with(json!({"model_type": "llama", "sliding_window": 8})), None);
}

/// Configurations from before transformers 5, and from since then.
#[test]
fn the_outputs_of_t5_are_scaled_unless_it_is_of_version_1_1() {
    let t5 = |more: Value| {
        let mut config = json!({
            "model_type": "t5", "vocab_size": 32128, "d_model": 512, "d_kv": 64, "d_ff": 1024,
            "num_layers": 8, "num_heads": 6, "decoder_start_token_id": 0,
        });
        config.as_object_mut().expect("object").extend(more.as_object().cloned().expect("object"));
        read(&config)
    };
    let first = t5(json!({"feed_forward_proj": "relu"}));
    assert!((first.output_scale - 512f64.powf(-0.5)).abs() < 1e-12);
    assert_eq!(first.feed_forward.activation, Activation::Relu);
    assert_eq!(first.layers, 8, "as many layers as the encoder");
    let flan = t5(json!({"feed_forward_proj": "gated-gelu", "tie_word_embeddings": false}));
    assert_eq!(flan.output_scale, 1.0);
    assert!(flan.feed_forward.gated);
    let newer = t5(json!({"tie_word_embeddings": true, "scale_decoder_outputs": false}));
    assert_eq!(newer.output_scale, 1.0);
}

#[test]
fn classifiers_have_their_labels_and_positions() {
    let read = |config: &Value| ClassifierConfig::from_config(config, Path::new("config.json"));
    let sst2 = json!({
        "model_type": "distilbert", "activation": "gelu", "dim": 768, "hidden_dim": 3072,
        "id2label": {"0": "NEGATIVE", "1": "POSITIVE"}, "max_position_embeddings": 512, "n_heads": 12,
        "n_layers": 6, "vocab_size": 30522,
    });
    let config = read(&sst2).expect("a known configuration");
    assert_eq!(config.labels, ["NEGATIVE", "POSITIVE"]);
    assert_eq!((config.positions(), config.link), (512, Link::Softmax));
    let roberta = json!({
        "model_type": "roberta", "vocab_size": 50265, "hidden_size": 768, "num_hidden_layers": 12,
        "num_attention_heads": 12, "intermediate_size": 3072, "max_position_embeddings": 514,
        "type_vocab_size": 1, "pad_token_id": 1, "layer_norm_eps": 1e-5, "id2label": {"0": "score"},
    });
    let config = read(&roberta).expect("a known configuration");
    assert_eq!((config.positions(), config.link), (512, Link::Sigmoid));
    for (field, value, message) in [
        ("id2label", json!({"1": "score"}), "id2label"),
        ("id2label", json!({}), "id2label"),
        ("max_position_embeddings", json!(2), "max_position_embeddings"),
        ("type_vocab_size", json!(0), "type_vocab_size"),
        ("position_embedding_type", json!("relative_key"), "absolute"),
        ("hidden_act", json!("mish"), "gelu, gelu_new"),
        ("num_attention_heads", json!(7), "a divisor of hidden_size"),
        ("model_type", json!("electra"), "bert, distilbert, roberta, xlm-roberta"),
    ] {
        let mut config = roberta.clone();
        config[field] = value;
        let error = read(&config).expect_err(message).to_string();
        assert!(error.contains(message), "{error}");
    }
}

/// `tests/suite/reference/fields.py` lists what transformers reads.
#[test]
fn every_field_that_transformers_reads_is_on_a_list() {
    let read: Value =
        serde_json::from_str(include_str!("../../tests/suite/reference/fields.json")).expect("JSON");
    let read = read["fields"].as_object().expect("models");
    let fields = |kind: &str| match kind {
        "bert" | "roberta" | "xlm-roberta" => bert::BERT_FIELDS,
        "distilbert" => bert::DISTILBERT_FIELDS,
        kind => ARCHITECTURES.iter().find(|it| it.model_type == kind).expect("known").fields,
    };
    assert!(ARCHITECTURES.iter().all(|architecture| read.contains_key(architecture.model_type)));
    for (kind, names) in read {
        let [own, common] = [fields(kind), COMMON];
        for name in names.as_array().expect("names").iter().map(|name| name.as_str().expect("a name")) {
            let is_on = |fields: &Fields| {
                fields.honoured.contains(&name)
                    || fields.idle.contains(&name)
                    || fields.fixed.iter().any(|(field, _)| *field == name)
            };
            assert!(is_on(&own) || is_on(&common), "{kind}: `{name}` is on no list");
        }
    }
}
