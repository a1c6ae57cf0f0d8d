//! Settings of adapters: those of new ones, and those of PEFT's files, which are honoured, change nothing, or are refused by name.

use disco_lm::Lora;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    common::assert_close,
    lora::{case, reference},
};

#[test]
fn bad_settings_of_an_adapter_are_refused() {
    let base = case("llama-gqa-tied").base;
    let refused = |lora: Lora| base.with_lora(&lora).expect_err("refused").to_string();
    let all = Lora::default();
    let check = |lora: Lora, words: &[&str]| {
        let message = refused(lora);
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    };
    check(Lora { rank: 0, ..all.clone() }, &["lora.rank is 0", "at least 1"]);
    check(Lora { rank: 1_000_000_000, ..all.clone() }, &["lora.rank is 1000000000", "allowed: 1 to"]);
    check(Lora { alpha: 0.0, ..all.clone() }, &["lora.alpha is 0", "positive"]);
    check(Lora { alpha: f64::NAN, ..all.clone() }, &["lora.alpha is NaN"]);
    check(Lora { target_modules: vec![], ..all.clone() }, &["lora.target_modules", "all-linear"]);
    let unknown = Lora { target_modules: vec!["q_proj".into(), "c_attn".into()], ..all.clone() };
    check(unknown, &["c_attn", "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj"]);
    let part = Lora { target_modules: vec!["proj".into()], ..all.clone() };
    check(part, &["lora.target_modules is proj"]);
    let twice = base.with_lora(&all).expect("an adapter").with_lora(&all).expect_err("refused");
    assert!(twice.to_string().contains("merge"), "{twice}");
    base.save_adapter(TempDir::new().expect("a folder").path().join("adapter")).expect_err("no adapter");
}

#[test]
fn adapters_that_do_not_fit_are_refused() {
    let base = case("llama-gqa-tied").base;
    let message = base.with_adapter(reference("gpt2")).expect_err("of GPT-2").to_string();
    assert!(message.contains("transformer.h.0.attn.c_attn"), "{message}");
    let copy = TempDir::new().expect("a temporary folder");
    let source = reference("llama-gqa-tied");
    let weights = "adapter_model.safetensors";
    std::fs::copy(source.join(weights), copy.path().join(weights)).expect("copied");
    let text = std::fs::read_to_string(source.join("adapter_config.json")).expect("readable");
    for (field, value, word) in [
        ("peft_type", "\"IA3\"", "IA3"),
        ("use_dora", "true", "use_dora"),
        ("bias", "\"all\"", "bias"),
        ("modules_to_save", "[\"lm_head\"]", "modules_to_save"),
        ("r", "0", "adapter_config.json: `r` is 0"),
        ("r", "4", "q_proj.lora_A"),
        ("lora_alpha", "-1", "adapter_config.json: `lora_alpha` is -1; allowed: positive"),
        // These beginnings change the weights that the adapter stands beside, as PEFT does on loading.
        ("init_lora_weights", "\"pissa\"", "init_lora_weights"),
        ("init_lora_weights", "\"pissa_niter_16\"", "init_lora_weights"),
        ("init_lora_weights", "\"olora\"", "init_lora_weights"),
        ("init_lora_weights", "\"corda\"", "init_lora_weights"),
        ("init_lora_weights", "\"loftq\"", "init_lora_weights"),
        ("init_lora_weights", "\"lora_ga\"", "init_lora_weights"),
        ("init_lora_weights", "\"mica\"", "init_lora_weights"),
        ("lora_bias", "true", "lora_bias"),
        ("bias", "\"lora_only\"", "bias"),
        ("rank_pattern", "{\"q_proj\": 4}", "rank_pattern"),
        ("alpha_pattern", "{\"q_proj\": 4}", "alpha_pattern"),
        ("trainable_token_indices", "[1, 2]", "trainable_token_indices"),
        ("target_parameters", "[\"x\"]", "target_parameters"),
        ("layer_replication", "[[0, 2]]", "layer_replication"),
        ("megatron_config", "{\"a\": 1}", "megatron_config"),
        ("kasa_config", "{\"beta\": 1}", "kasa_config"),
        ("arrow_config", "{\"top_k\": 1}", "arrow_config"),
        ("use_bdlora", "{\"nblocks\": 2}", "use_bdlora"),
        ("a_field_of_the_future", "3", "a_field_of_the_future"),
        // PEFT leaves out what the file holds beyond these.
        ("target_modules", "[\"k_proj\"]", "target_modules"),
        ("target_modules", "\".*q_proj\"", "target_modules"),
        ("target_modules", "null", "target_modules"),
        ("exclude_modules", "[\"q_proj\"]", "exclude_modules"),
        ("layers_to_transform", "[0]", "layers_to_transform"),
        ("layers_to_transform", "\"first\"", "layers_to_transform"),
    ] {
        let mut config: Value = serde_json::from_str(&text).expect("JSON");
        config[field] = serde_json::from_str(value).expect("JSON");
        std::fs::write(copy.path().join("adapter_config.json"), config.to_string()).expect("writable");
        let message = base.with_adapter(copy.path()).expect_err("refused").to_string();
        assert!(message.contains(word), "{field} = {value}: {message}");
    }
}

#[test]
fn settings_that_change_nothing_are_accepted() {
    let case = case("llama-gqa-tied");
    let source = reference("llama-gqa-tied");
    let expected = case.log_probs(&case.base.with_adapter(&source).expect("loads"));
    let text = std::fs::read_to_string(source.join("adapter_config.json")).expect("readable");
    for (field, value) in [
        ("init_lora_weights", "false"),
        ("init_lora_weights", "\"gaussian\""),
        ("init_lora_weights", "\"eva\""),
        ("lora_dropout", "0.5"),
        ("modules_to_save", "null"),
        ("trainable_token_indices", "null"),
        ("loftq_config", "{\"loftq_bits\": 4}"),
        ("target_modules", "\"all-linear\""),
        ("layers_to_transform", "[0, 1]"),
        ("use_dora", "false"),
        ("a_field_of_the_future", "false"),
    ] {
        let copy = TempDir::new().expect("a temporary folder");
        let weights = "adapter_model.safetensors";
        std::fs::copy(source.join(weights), copy.path().join(weights)).expect("copied");
        let mut config: Value = serde_json::from_str(&text).expect("JSON");
        config[field] = serde_json::from_str(value).expect("JSON");
        std::fs::write(copy.path().join("adapter_config.json"), config.to_string()).expect("writable");
        let model = case.base.with_adapter(copy.path()).unwrap_or_else(|error| panic!("{field}: {error}"));
        assert_close(field, &case.log_probs(&model), &expected, 0.0);
    }
}

#[test]
fn adapters_of_other_formats_and_places_are_named() {
    let base = case("llama-gqa-tied").base;
    let source = reference("llama-gqa-tied");
    let copy = TempDir::new().expect("a temporary folder");
    std::fs::copy(source.join("adapter_config.json"), copy.path().join("adapter_config.json"))
        .expect("copied");
    let refused = || base.with_adapter(copy.path()).expect_err("refused").to_string();
    assert!(refused().contains("adapter_model.safetensors"), "{}", refused());
    std::fs::write(copy.path().join("adapter_model.bin"), b"PK").expect("written");
    let said = refused();
    assert!(said.contains("adapter_model.bin (PyTorch") && !said.contains("damaged"), "{said}");
    for name in ["lm_head.lora_A.weight", "model.embed_tokens.lora_embedding_A"] {
        let name = format!("base_model.model.{name}");
        let bytes = [0; 8];
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1, 2], &bytes)
            .expect("a view");
        let path = copy.path().join("adapter_model.safetensors");
        safetensors::serialize_to_file([(name.clone(), view)], None, &path).expect("written");
        let said = refused();
        assert!(said.contains("embeddings or of the output matrix") && said.contains(&name), "{said}");
    }
}
