//! Folders of models are loaded and saved, and errors name the problems of invalid ones.

use std::path::Path;

use crate::{
    common::{assert_close, device, folder, golden, ids, language_models},
    tiny,
};
use disco_lm::{Backend, Error, Generation, LanguageModel, Precision, TokenModel};
use proptest::prelude::*;
use tempfile::TempDir;

fn load(folder: &Path) -> Result<TokenModel, Error> {
    let generation = Generation { max_new_tokens: 4, ..Generation::default() };
    TokenModel::load(folder, &device(), generation)
}

fn tiny_folder() -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    tiny::write(folder.path(), 0);
    folder
}

/// Changes a field of config.json.
fn configure(folder: &Path, field: &str, value: serde_json::Value) {
    let path = folder.join("config.json");
    let mut config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).expect("readable")).expect("JSON");
    config[field] = value;
    std::fs::write(path, config.to_string()).expect("writable");
}

#[track_caller]
fn check_refused(folder: &Path, message: &str) {
    let error = load(folder).expect_err(message).to_string();
    assert!(error.contains(message), "{error}");
}

#[test]
fn shards_give_the_same_model_as_one_file() {
    let whole = tiny_folder();
    let logits = load(whole.path()).expect("loads").logits(&[1, 2, 3]).expect("logits");
    let bytes = std::fs::read(whole.path().join("model.safetensors")).expect("readable");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("valid");
    let mut map = serde_json::Map::new();
    let mut shards: [Vec<_>; 2] = [Vec::new(), Vec::new()];
    for (index, (name, view)) in tensors.iter().enumerate() {
        let shard = format!("model-{:05}-of-00002.safetensors", index % 2 + 1);
        map.insert(name.into(), shard.into());
        shards[index % 2].push((name, view));
    }
    let split = TempDir::new().expect("a temporary folder");
    std::fs::copy(whole.path().join("config.json"), split.path().join("config.json")).expect("copied");
    for (index, shard) in shards.into_iter().enumerate() {
        let path = split.path().join(format!("model-{:05}-of-00002.safetensors", index + 1));
        safetensors::serialize_to_file(shard, None, &path).expect("written");
    }
    let index = serde_json::json!({"metadata": {}, "weight_map": map});
    std::fs::write(split.path().join("model.safetensors.index.json"), index.to_string()).expect("written");
    assert_eq!(load(split.path()).expect("loads").logits(&[1, 2, 3]).expect("logits"), logits);
    let missing = "model-00002-of-00002.safetensors";
    std::fs::remove_file(split.path().join(missing)).expect("removed");
    check_refused(split.path(), missing);
    // As in transformers, a single file takes precedence over an index.
    std::fs::write(split.path().join("model.safetensors"), bytes).expect("written");
    assert_eq!(load(split.path()).expect("loads").logits(&[1, 2, 3]).expect("logits"), logits);
}

#[test]
fn a_backend_that_is_not_compiled_says_which_feature_to_add() {
    for backend in Backend::ALL.into_iter().filter(|backend| !backend.is_compiled()) {
        let error = backend.device().expect_err("not compiled").to_string();
        assert!(error.contains(&format!("--features {backend}")), "{error}");
    }
    let error = "gpu".parse::<Backend>().expect_err("no backend").to_string();
    assert!(error.contains("flex, tch, wgpu, vulkan, cuda"), "{error}");
}

/// Runs in a process of its own that finds no driver, even if this machine has one.
#[cfg(feature = "wgpu")]
#[test]
fn without_a_driver_a_backend_says_what_it_needs() {
    const CHILD: &str = "DISCO_NO_DRIVER_TEST";
    if std::env::var_os(CHILD).is_some() {
        let error = Backend::Wgpu.device().expect_err("no device");
        assert!(matches!(error, Error::NoDevice { backend: "wgpu", .. }), "{error}");
        assert!(error.to_string().contains("on this machine: it needs a GPU with its driver"), "{error}");
        return;
    }
    let mut child = std::process::Command::new(std::env::current_exe().expect("this program"));
    child.args(["--exact", "files::without_a_driver_a_backend_says_what_it_needs"]).env(CHILD, "yes");
    // The variables by which the loaders of Vulkan, before and since its version 1.3.207, and of EGL find drivers.
    for variable in ["VK_ICD_FILENAMES", "VK_DRIVER_FILES", "__EGL_VENDOR_LIBRARY_FILENAMES"] {
        child.env(variable, "/no/such/driver.json");
    }
    let output = child.output().expect("started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn missing_files_are_named() {
    let empty = TempDir::new().expect("a temporary folder");
    check_refused(empty.path(), "config.json");
    let folder = tiny_folder();
    std::fs::remove_file(folder.path().join("model.safetensors")).expect("removed");
    check_refused(folder.path(), "model.safetensors");
    let error = LanguageModel::load(tiny_folder().path(), &device(), Generation::default());
    assert!(error.expect_err("no tokenizer").to_string().contains("tokenizer.json"));
}

#[test]
fn a_truncated_file_is_an_error_wherever_it_is_cut() {
    let folder = tiny_folder();
    let path = folder.path().join("model.safetensors");
    let bytes = std::fs::read(&path).expect("readable");
    for kept in [0, 7, 8, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..kept]).expect("writable");
        let error = load(folder.path()).expect_err("truncated");
        assert!(matches!(error, Error::Format { .. }), "{kept}: {error}");
    }
}

#[test]
fn all_that_does_not_fit_is_listed() {
    let folder = tiny_folder();
    configure(folder.path(), "num_hidden_layers", 3.into());
    configure(folder.path(), "intermediate_size", 25.into());
    configure(folder.path(), "tie_word_embeddings", false.into());
    let error = load(folder.path()).expect_err("does not fit");
    let said = error.to_string();
    assert!(said.contains("; missing: model.layers.2.") && said.contains(", lm_head.weight; of"), "{said}");
    assert!(said.contains("; of another shape: model.layers.0.mlp."), "{said}");
    assert!(said.contains("proj.weight is [24, 16], not [25, 16], "), "{said}");
    assert!(!said.contains("unexpected") && !said.contains(['"', '{']), "{said}");
    match error {
        Error::Weights { missing, misshapen, unexpected, .. } => {
            assert_eq!(missing.len(), 9 + 1, "a layer and the head: {missing:?}");
            assert_eq!(misshapen.len(), 6, "three feed-forward matrices in two layers: {misshapen:?}");
            assert!(unexpected.is_empty());
        }
        other => panic!("{other}"),
    }
    let folder = tiny_folder();
    configure(folder.path(), "num_hidden_layers", 1.into());
    match load(folder.path()).expect_err("does not fit") {
        Error::Weights { unexpected, .. } => assert_eq!(unexpected.len(), 9),
        other => panic!("{other}"),
    }
}

#[test]
fn unsupported_configurations_are_named() {
    for (field, value, message) in [
        ("model_type", "mamba".into(), "gpt2, llama, mistral, qwen2, qwen3"),
        ("vocab_size", "many".into(), "vocab_size"),
        ("vocab_size", 0.into(), "vocab_size"),
        ("num_key_value_heads", 3.into(), "num_key_value_heads"),
        ("hidden_act", "gelu".into(), "hidden_act"),
        ("vocab_size", (1u64 << 40).into(), "vocab_size"),
        // These sizes are refused before a list or table of their length is allocated.
        ("num_hidden_layers", 4000.into(), "at most the number of tensors"),
        ("num_hidden_layers", (1u64 << 24).into(), "num_hidden_layers"),
        ("head_dim", (1u64 << 24).into(), "head_dim"),
        ("max_position_embeddings", (1u64 << 25).into(), "max_position_embeddings"),
        ("rms_norm_eps", 0.0.into(), "norm epsilon"),
        ("rope_scaling", serde_json::json!({"rope_type": "longrope"}), "rope_type"),
        ("rope_scaling", "yes".into(), "`rope_scaling` is \"yes\"; allowed: an object"),
        ("rope_parameters", serde_json::json!([]), "`rope_parameters` is []; allowed: an object"),
        ("rope_scaling", rope3("factor", 0.0), "`factor` is 0; allowed: positive"),
        ("rope_scaling", rope3("low_freq_factor", 0.0), "`low_freq_factor` is 0; allowed: positive"),
        (
            "rope_scaling",
            rope3("high_freq_factor", 1.0),
            "`high_freq_factor` is 1; allowed: above low_freq_factor, 1",
        ),
        (
            "rope_scaling",
            rope3("original_max_position_embeddings", 0.0),
            "`original_max_position_embeddings` is 0; allowed: positive",
        ),
        ("eos_token_id", 4.into(), "`eos_token_id` is 4; allowed: a token id below the vocabulary's size, 4"),
        ("eos_token_id", (-1).into(), "`eos_token_id` is -1"),
        ("eos_token_id", (1u64 << 33).into(), "`eos_token_id` is 8589934592"),
        ("eos_token_id", serde_json::json!([0, 7]), "`eos_token_id` is [0,7]"),
        ("eos_token_id", "end".into(), "eos_token_id"),
    ] {
        let folder = tiny_folder();
        configure(folder.path(), field, value);
        check_refused(folder.path(), message);
        check_refused(folder.path(), &folder.path().join("config.json").display().to_string());
    }
}

/// Llama 3's rotary scaling with a field changed.
fn rope3(field: &str, value: f64) -> serde_json::Value {
    let mut scaling = serde_json::json!({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8,
    });
    scaling[field] = value.into();
    scaling
}

#[test]
fn a_file_that_is_no_object_and_ids_that_are_none_are_named() {
    let folder = tiny_folder();
    let path = folder.path().join("generation_config.json");
    for (content, message) in [
        ("[]", "it holds a list; allowed: a JSON object"),
        ("null", "it holds null; allowed: a JSON object"),
        (
            r#"{"eos_token_id": -1}"#,
            "`eos_token_id` is -1; allowed: a token id below the vocabulary's size, 4",
        ),
        (r#"{"eos_token_id": [0, 4]}"#, "`eos_token_id` is [0,4]; allowed"),
        (r#"{"eos_token_id": 4294967296}"#, "`eos_token_id` is 4294967296; allowed"),
    ] {
        std::fs::write(&path, content).expect("writable");
        check_refused(folder.path(), message);
        check_refused(folder.path(), &path.display().to_string());
    }
    // generation_config.json takes precedence over config.json.
    std::fs::write(&path, r#"{"eos_token_id": 3}"#).expect("writable");
    configure(folder.path(), "eos_token_id", (-1).into());
    assert!(load(folder.path()).expect("loads").is_end(3));
    std::fs::write(folder.path().join("config.json"), "[]").expect("writable");
    check_refused(folder.path(), "config.json is damaged or not of its format: it holds a list");
}

#[test]
fn positions_that_nobody_uses_change_nothing() {
    let folder = tiny_folder();
    let few = load(folder.path()).expect("loads").logits(&[1, 2, 3]).expect("logits");
    configure(folder.path(), "max_position_embeddings", (1 << 24).into());
    assert_eq!(load(folder.path()).expect("loads").logits(&[1, 2, 3]).expect("logits"), few);
}

#[test]
fn a_weight_that_is_no_number_is_named() {
    let folder = tiny_folder();
    let path = folder.path().join("model.safetensors");
    let mut bytes = std::fs::read(&path).expect("readable");
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&path, bytes).expect("writable");
    match load(folder.path()).expect_err("no number") {
        error @ Error::NotFiniteWeight { .. } => {
            let last = "a weight of `model.norm.weight` is NaN; allowed: finite numbers";
            assert_eq!(error.to_string(), format!("{}: {last}", path.display()));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_tokenizer_with_more_ids_than_the_model_is_refused() {
    let folder = tiny_folder();
    let vocabulary: serde_json::Map<String, serde_json::Value> =
        (0..5).map(|id| (format!("t{id}"), id.into())).collect();
    let tokenizer = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "t0"},
    });
    std::fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).expect("writable");
    let error = LanguageModel::load(folder.path(), &device(), Generation::default()).expect_err("too large");
    assert!(matches!(error, Error::Vocabulary { largest_id: 4, vocabulary: 4 }), "{error}");
}

#[test]
fn golden_folders_survive_saving_in_the_file_layout() {
    for name in language_models() {
        let context = ids(&golden(name)["context_ids"]);
        let model = load(&folder(name)).expect("loads");
        let saved = TempDir::new().expect("a temporary folder");
        model.save_weights(saved.path(), Precision::F32).expect("saved");
        std::fs::copy(folder(name).join("config.json"), saved.path().join("config.json")).expect("copied");
        let again = load(saved.path()).expect("loads again");
        let [old, new] = [model, again].map(|model| model.next_logits(&context, &[2, 3]).expect("logits"));
        for (old, new) in old.iter().zip(new) {
            let [old, new] = [old, &new].map(|row| row.iter().copied().map(f64::from).collect::<Vec<_>>());
            assert_close(name, &new, &old, 0.0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Any bytes in the header or instead of it give an error or a model, without a panic, and without an allocation of a
    /// size that only the header claims.
    #[test]
    fn a_lying_header_is_an_error(position in 0usize..2000, byte: u8, length: u64) {
        let folder = tiny_folder();
        let path = folder.path().join("model.safetensors");
        let mut bytes = std::fs::read(&path).expect("readable");
        let position = position.min(bytes.len() - 1);
        bytes[position] = byte;
        std::fs::write(&path, &bytes).expect("writable");
        let _ = load(folder.path());
        bytes[..8].copy_from_slice(&length.to_le_bytes());
        std::fs::write(&path, &bytes).expect("writable");
        if length as usize > bytes.len() {
            prop_assert!(load(folder.path()).is_err());
        }
    }
}
