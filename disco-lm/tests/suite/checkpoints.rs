//! Files of weights as people have them: other names of tensors, tensors that no model reads, and files of other formats. The values
//! are those of transformers for the golden models, whose files are changed without changing what transformers computes with them.

use std::path::Path;

use disco_lm::{Classifier, Error, Generation, LanguageModel, Overlong, TokenClassifier, TokenModel};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::Value;
use tempfile::TempDir;

use crate::common::{assert_close, device, folder, golden, ids, numbers};

/// Allowed difference in the log-probability of a token.
const TOLERANCE: f64 = 1e-4;

/// The name, shape and bytes of a tensor.
type Stored = (String, Vec<usize>, Vec<u8>);

/// A copy of a model's folder whose tensors, all of f32, were changed.
fn copy_with(source: &Path, change: impl FnOnce(&mut Vec<Stored>)) -> TempDir {
    let copy = TempDir::new().expect("a temporary folder");
    for name in ["config.json", "tokenizer.json", "generation_config.json"] {
        if source.join(name).exists() {
            std::fs::copy(source.join(name), copy.path().join(name)).expect("copied");
        }
    }
    let bytes = std::fs::read(source.join("model.safetensors")).expect("readable");
    let tensors = SafeTensors::deserialize(&bytes).expect("valid");
    let mut tensors: Vec<Stored> = tensors
        .iter()
        .map(|(name, view)| (name.to_owned(), view.shape().to_vec(), view.data().to_vec()))
        .collect();
    change(&mut tensors);
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name, TensorView::new(Dtype::F32, shape.clone(), bytes).expect("bytes fit the shape"))
    });
    safetensors::serialize_to_file(views, None, &copy.path().join("model.safetensors")).expect("written");
    copy
}

/// Changes a field of config.json.
fn configure(folder: &TempDir, field: &str, value: Value) {
    let path = folder.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).expect("readable")).expect("JSON");
    config[field] = value;
    std::fs::write(path, config.to_string()).expect("writable");
}

fn zeros(name: &str, shape: &[usize]) -> Stored {
    (name.into(), shape.to_vec(), vec![0; 4 * shape.iter().product::<usize>()])
}

fn load(folder: &Path) -> Result<TokenModel, Error> {
    TokenModel::load(folder, &device(), Generation { max_new_tokens: 40, ..Generation::default() })
}

/// Checks that a model gives the golden values of `name`; returns the tensors that it ignored.
fn check_golden(name: &str, copy: &TempDir) -> Vec<String> {
    let golden = golden(name);
    let model = load(copy.path()).unwrap_or_else(|error| panic!("{name}: {error}"));
    let context = ids(&golden["context_ids"]);
    for (sample, expected) in golden["samples"]
        .as_array()
        .expect("samples")
        .iter()
        .zip(golden["token_log_probs"].as_array().expect("rows"))
    {
        let generation = Generation { max_new_tokens: ids(sample).len(), ..Generation::default() };
        let model = model.with_generation(generation).expect("valid");
        let found = model.token_log_probs(&context, &[&ids(sample)]).expect("scores").remove(0);
        assert_close(name, &found.expect("a sequence"), &numbers(expected), TOLERANCE);
    }
    model.ignored_tensors().to_vec()
}

#[track_caller]
fn check_refused(folder: &Path, words: &[&str]) {
    let error = load(folder).expect_err("refused").to_string();
    assert!(words.iter().all(|word| error.contains(word)), "{error}");
    assert!(!error.contains("damaged"), "{error}");
}

/// As `from_pretrained` finds a tensor with and without the name of the model's body before it.
#[test]
fn the_prefix_of_a_models_body_may_be_missing_or_be_there() {
    for (name, prefix) in [("llama-gqa-tied", "model."), ("gpt2", "transformer."), ("qwen2", "model.")] {
        let bare = copy_with(&folder(name), |tensors| {
            for (name, ..) in tensors.iter_mut() {
                *name = name.strip_prefix(prefix).unwrap_or(name).into();
            }
        });
        assert!(check_golden(name, &bare).iter().all(|name| name.ends_with(".attn.bias")), "{name}");
    }
    let longer = copy_with(&folder("t5-relu"), |tensors| {
        tensors.iter_mut().for_each(|(name, ..)| *name = format!("transformer.{name}"));
    });
    check_golden("t5-relu", &longer);
    let other = copy_with(&folder("llama-gqa-tied"), |tensors| {
        tensors.iter_mut().for_each(|(name, ..)| *name = format!("module.{name}"));
    });
    check_refused(other.path(), &["missing: model.", "unexpected: module.model."]);
}

/// transformers 5 unties what a file stores unequal, and ties under whichever name a matrix is stored.
#[test]
fn the_file_decides_whether_the_output_matrix_is_tied() {
    let other_head = copy_with(&folder("llama-untied-rope3"), |_| {});
    configure(&other_head, "tie_word_embeddings", true.into());
    check_golden("llama-untied-rope3", &other_head);
    for name in ["llama-gqa-tied", "gpt2"] {
        let embedding = if name == "gpt2" { "transformer.wte.weight" } else { "model.embed_tokens.weight" };
        let twice = copy_with(&folder(name), |tensors| {
            let (_, shape, bytes) =
                tensors.iter().find(|(name, ..)| name == embedding).expect("there").clone();
            tensors.push(("lm_head.weight".into(), shape, bytes));
        });
        check_golden(name, &twice);
        let only_head = copy_with(&folder(name), |tensors| {
            let found = tensors.iter_mut().find(|(name, ..)| name == embedding).expect("there");
            found.0 = "lm_head.weight".into();
        });
        check_golden(name, &only_head);
    }
    let untied_without_embedding = copy_with(&folder("llama-untied-rope3"), |tensors| {
        tensors.retain(|(name, ..)| name != "model.embed_tokens.weight");
    });
    check_refused(untied_without_embedding.path(), &["missing: model.embed_tokens.weight"]);
    // Copies of T5's embedding: equal, in its place, or another.
    let with_copy = |change: fn(&mut Vec<u8>), keep: bool| {
        copy_with(&folder("t5-relu"), |tensors| {
            let (_, shape, mut bytes) =
                tensors.iter().find(|(name, ..)| name == "shared.weight").expect("there").clone();
            change(&mut bytes);
            tensors.retain(|(name, ..)| keep || name != "shared.weight");
            tensors.push(("encoder.embed_tokens.weight".into(), shape, bytes));
        })
    };
    check_golden("t5-relu", &with_copy(|_| {}, true));
    check_golden("t5-relu", &with_copy(|_| {}, false));
    let other = with_copy(|bytes| bytes[..4].copy_from_slice(&9f32.to_le_bytes()), true);
    check_refused(other.path(), &["two embeddings", "shared.weight", "encoder.embed_tokens.weight"]);
}

#[test]
fn tensors_that_no_model_reads_are_ignored_and_told() {
    const T5: &str = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight";
    for (name, idle) in [
        ("t5-relu", &[T5][..]),
        (
            "llama-gqa-tied",
            &["model.layers.0.self_attn.rotary_emb.inv_freq", "score.weight", "v_head.summary.bias"],
        ),
        ("gpt2", &["transformer.h.0.attn.masked_bias", "v_head.summary.weight"]),
    ] {
        let copy =
            copy_with(&folder(name), |tensors| tensors.extend(idle.iter().map(|name| zeros(name, &[2]))));
        let ignored = check_golden(name, &copy);
        assert!(idle.iter().all(|name| ignored.iter().any(|it| it == name)), "{name}: {ignored:?}");
    }
    for (name, unexpected) in [
        ("llama-gqa-tied", "model.layers.0.self_attn.q_proj.bias"),
        ("llama-gqa-tied", "model.layers.0.self_attn.q_norm.weight"),
        ("llama-gqa-tied", "model.layers.7.input_layernorm.weight"),
        ("llama-gqa-tied", "lm_head.bias"),
        ("qwen2", "model.layers.0.self_attn.o_proj.bias"),
        ("t5-relu", "decoder.block.1.layer.1.EncDecAttention.relative_attention_bias.weight"),
    ] {
        let copy = copy_with(&folder(name), |tensors| tensors.push(zeros(unexpected, &[2])));
        check_refused(copy.path(), &["unexpected", unexpected]);
    }
}

fn bert() -> std::path::PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/reference")).join("bert")
}

/// The first published files of BERT call the parameters of LayerNorm gamma and beta, and hold the heads of pretraining.
#[test]
fn classifiers_have_the_first_names_of_layer_norm_and_other_heads() {
    let copy = copy_with(&bert(), |tensors| {
        for (name, ..) in tensors.iter_mut() {
            *name = name
                .replace("LayerNorm.weight", "LayerNorm.gamma")
                .replace("LayerNorm.bias", "LayerNorm.beta");
            *name = name.strip_prefix("bert.").unwrap_or(name).into();
        }
        tensors.push(zeros("cls.predictions.bias", &[80]));
        tensors.push(zeros("bert.embeddings.position_ids", &[1, 16]));
    });
    let [changed, plain] =
        [copy.path().to_owned(), bert()].map(|path| TokenClassifier::load(path, &device()).expect("loads"));
    assert_eq!(changed.ignored_tensors(), ["bert.embeddings.position_ids", "cls.predictions.bias"]);
    assert_eq!(
        changed.logits(&[&[2, 9, 14, 3]]).expect("logits"),
        plain.logits(&[&[2, 9, 14, 3]]).expect("logits")
    );
    let copy =
        copy_with(&bert(), |tensors| tensors.push(zeros("bert.encoder.layer.5.output.dense.bias", &[32])));
    let error = TokenClassifier::load(copy.path(), &device()).expect_err("refused").to_string();
    assert!(error.contains("unexpected: bert.encoder.layer.5"), "{error}");
}

#[test]
fn the_cause_of_a_folder_that_cannot_be_read_is_named() {
    let source = folder("llama-gqa-tied");
    for (file, content, words) in [
        ("pytorch_model.bin", &b"PK\x03\x04"[..], &["pytorch_model.bin", "PyTorch"][..]),
        ("pytorch_model.bin.index.json", b"{}", &["pytorch_model.bin.index.json", "PyTorch"]),
        ("tf_model.h5", b"\x89HDF", &["tf_model.h5", "TensorFlow"]),
        ("flax_model.msgpack", b"\x81", &["flax_model.msgpack", "Flax"]),
        ("model.onnx", b"\x08\x07", &["model.onnx", "ONNX"]),
        ("model.safetensors.incomplete", b"", &["model.safetensors.incomplete", "interrupted"]),
        ("adapter_model.safetensors", b"", &["an adapter"]),
        ("consolidated.safetensors", b"", &["consolidated.safetensors"]),
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", &["Git LFS pointer", "git lfs pull"]),
        ("model.safetensors", b"<!DOCTYPE html><html><body>Sign in</body></html>", &["page of a website"]),
        ("model.safetensors", b"PK\x03\x04 and more of a zip archive", &["a zip archive"]),
        ("model.safetensors", b"\x1f\x8b\x08\0 and more of an archive", &["gzip"]),
        ("model.safetensors", b"GGUF\x03\0\0\0 and more", &["a GGUF file"]),
        ("config.json", b"version https://git-lfs.github.com/spec/v1\n", &["config.json is a Git LFS pointer"]),
        ("config.json", b"<html>404</html>", &["config.json is a page of a website"]),
        (
            "model.safetensors.index.json",
            br#"{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}"#,
            &["of which 2 are not there", "model-00001-of-00002.safetensors", "interrupted"],
        ),
    ] {
        let copy = TempDir::new().expect("a temporary folder");
        std::fs::copy(source.join("config.json"), copy.path().join("config.json")).expect("copied");
        std::fs::write(copy.path().join(file), content).expect("written");
        check_refused(copy.path(), words);
        // With a tokenizer missing too, weights of another format are the cause that is named.
        if !file.starts_with("model.safetensors") && file != "config.json" {
            let error = LanguageModel::load(copy.path(), &device(), Generation::default()).expect_err("refused");
            assert!(words.iter().all(|word| error.to_string().contains(word)), "{error}");
        }
    }
    // The path of a file in the place of its folder.
    for file in ["config.json", "model.safetensors"] {
        check_refused(&source.join(file), &[file, "a single file", "the folder that the file is in"]);
        let error = Classifier::load(bert().join(file), &device(), Overlong::Refuse).expect_err("refused");
        assert!(error.to_string().contains("a single file"), "{error}");
    }
    let adapter =
        load(&source).expect("loads").with_adapter(source.join("config.json")).expect_err("refused");
    assert!(adapter.to_string().contains("a single file"), "{adapter}");
    // Folders of other kinds.
    for (file, word) in [
        ("adapter_config.json", "an adapter"),
        ("model-Q4_K.gguf", "the path of the GGUF file"),
        ("params.json", "Meta's"),
        ("model_index.json", "diffusers"),
    ] {
        let other = TempDir::new().expect("a temporary folder");
        std::fs::write(other.path().join(file), "{}").expect("written");
        check_refused(other.path(), &[word]);
    }
}

#[test]
fn weights_that_another_library_quantised_are_named() {
    let source = folder("llama-gqa-tied");
    let copy = copy_with(&source, |_| {});
    configure(&copy, "quantization_config", serde_json::json!({"quant_method": "gptq", "bits": 4}));
    check_refused(copy.path(), &["quantization_config", "gptq", "GGUF"]);
    // Older files of GPTQ say it by the names of their tensors alone.
    let copy = copy_with(&source, |tensors| {
        for (name, ..) in tensors.iter_mut().filter(|(name, ..)| name.contains("q_proj")) {
            *name = name.replace(".weight", ".qweight");
        }
    });
    check_refused(copy.path(), &["quantised", "q_proj.qweight"]);
    let copy = copy_with(&source, |_| {});
    let bytes = std::fs::read(copy.path().join("model.safetensors")).expect("readable");
    let tensors = SafeTensors::deserialize(&bytes).expect("valid");
    let views = tensors.iter().map(|(name, view)| match name.contains("q_proj") {
        true => {
            let count = view.shape().iter().product();
            (name, TensorView::new(Dtype::I8, view.shape().to_vec(), &view.data()[..count]).expect("bytes"))
        }
        false => (name, view),
    });
    safetensors::serialize_to_file(views, None, &copy.path().join("model.safetensors")).expect("written");
    check_refused(copy.path(), &["q_proj.weight` is I8", "F32, F16, BF16"]);
}

/// A byte order mark, as Windows' editors write it.
#[test]
fn a_configuration_may_begin_with_a_byte_order_mark() {
    let copy = copy_with(&folder("llama-gqa-tied"), |_| {});
    let path = copy.path().join("config.json");
    let content = std::fs::read(&path).expect("readable");
    std::fs::write(&path, [b"\xef\xbb\xbf", content.as_slice()].concat()).expect("written");
    check_golden("llama-gqa-tied", &copy);
}

/// Where the start token of generation is another than that of scoring, transformers samples another distribution than it scores.
#[test]
fn a_t5_whose_generation_starts_otherwise_is_refused() {
    let copy = copy_with(&folder("t5-relu"), |_| {});
    let path = copy.path().join("generation_config.json");
    let start = golden_start();
    std::fs::write(&path, serde_json::json!({"decoder_start_token_id": start}).to_string()).expect("written");
    check_golden("t5-relu", &copy);
    std::fs::write(&path, serde_json::json!({"decoder_start_token_id": start + 1}).to_string())
        .expect("written");
    check_refused(copy.path(), &["generation_config.json", "decoder_start_token_id"]);
}

fn golden_start() -> u64 {
    let config = std::fs::read(folder("t5-relu").join("config.json")).expect("readable");
    let config: Value = serde_json::from_slice(&config).expect("JSON");
    config["decoder_start_token_id"].as_u64().expect("a start")
}

/// transformers reads these in code that all models share: without causality, a token of this model changes by nats.
#[test]
fn fields_of_shared_code_are_refused_by_name() {
    let source = folder("llama-gqa-tied");
    let text = std::fs::read_to_string(source.join("config.json")).expect("a configuration");
    for (field, value) in
        [("is_causal", Value::Bool(false)), ("transformers_weights", "other.safetensors".into())]
    {
        let copy = copy_with(&source, |_| {});
        let mut config: Value = serde_json::from_str(&text).expect("JSON");
        config[field] = value;
        std::fs::write(copy.path().join("config.json"), config.to_string()).expect("written");
        check_refused(copy.path(), &["config.json", field]);
    }
}
