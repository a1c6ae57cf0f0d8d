//! Metadata of GGUF files that change what a model computes, and files that are not read, whose cause is named. The values are those of
//! the same model as a folder with the same setting, which `configurations.rs` compares with transformers; how a key is read is taken from
//! llama.cpp's `llama-model.cpp`.

use std::path::{Path, PathBuf};

use disco_lm::{Error, Generation, TokenModel};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{assert_close, device, folder};

/// Allowed difference in a logit, as for the golden folders.
const TOLERANCE: f64 = 2e-4;

const NAME: &str = "llama-gqa-tied";

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/reference").join(format!("gguf-{NAME}.gguf"))
}

fn load(path: &Path) -> Result<TokenModel, Error> {
    TokenModel::load(path, &device(), Generation { max_new_tokens: 4, ..Generation::default() })
}

/// The bytes of a metadata entry.
fn entry(key: &str, value: &Value) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let typed = match value {
        Value::String(value) => [8u32.to_le_bytes().to_vec(), text(value)].concat(),
        Value::Bool(value) => [7u32.to_le_bytes().to_vec(), vec![u8::from(*value)]].concat(),
        value if value.is_u64() => {
            let number = value.as_u64().expect("a whole number") as u32;
            [4u32.to_le_bytes(), number.to_le_bytes()].concat()
        }
        value => {
            let number = value.as_f64().expect("a number") as f32;
            [6u32.to_le_bytes(), number.to_le_bytes()].concat()
        }
    };
    [text(key), typed].concat()
}

/// A copy of the file with more metadata. One more entry makes its length a multiple of the alignment, so that the tensors, whose
/// places count from the end of the header, stay where they are.
fn with_entries(entries: &[(&str, Value)]) -> TempDir {
    let mut bytes = std::fs::read(file()).expect("readable");
    let count = u64::from_le_bytes(bytes[16..24].try_into().expect("8 bytes"));
    bytes[16..24].copy_from_slice(&(count + entries.len() as u64 + 1).to_le_bytes());
    let mut more: Vec<u8> = entries.iter().flat_map(|(key, value)| entry(key, value)).collect();
    let padding = 32 - (more.len() + entry("pad", &json!("")).len()) % 32;
    more.extend(entry("pad", &" ".repeat(padding).into()));
    bytes.splice(24..24, more);
    let copy = TempDir::new().expect("a temporary folder");
    std::fs::write(copy.path().join("model.gguf"), bytes).expect("writable");
    copy
}

/// The logits of the golden folder with another `rope_scaling`.
fn expected(mut scaling: Value) -> Vec<Vec<f64>> {
    let copy = TempDir::new().expect("a temporary folder");
    let source = folder(NAME);
    let weights = "model.safetensors";
    std::fs::copy(source.join(weights), copy.path().join(weights)).expect("copied");
    let config = std::fs::read(source.join("config.json")).expect("readable");
    let mut config: Value = serde_json::from_slice(&config).expect("JSON");
    if scaling.is_object() {
        // It takes the place of the base that stands in `rope_parameters`.
        scaling["rope_theta"] = config["rope_parameters"]["rope_theta"].clone();
    }
    config["rope_scaling"] = scaling;
    std::fs::write(copy.path().join("config.json"), config.to_string()).expect("writable");
    logits(copy.path())
}

fn logits(path: &Path) -> Vec<Vec<f64>> {
    let ids: Vec<u32> = (2..26).collect();
    let rows = load(path).expect("loads").logits(&ids).expect("logits");
    rows.into_iter().map(|row| row.into_iter().map(f64::from).collect()).collect()
}

#[test]
fn rotary_scalings_are_read_as_llama_cpp_reads_them() {
    let linear = json!({"rope_type": "linear", "factor": 4.0});
    let yarn = json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16});
    let mut weighed = yarn.clone();
    weighed["attention_factor"] = (0.5 * (0.1 * 4f64.ln() + 1.0)).into();
    let mut other_bounds = yarn.clone();
    other_bounds["beta_fast"] = 8.0.into();
    other_bounds["beta_slow"] = 2.0.into();
    let kind = |kind: &str| ("llama.rope.scaling.type", json!(kind));
    let factor = ("llama.rope.scaling.factor", json!(4.0));
    let original = ("llama.rope.scaling.original_context_length", json!(16));
    let cases = [
        // The older key, alone; the newer one takes precedence.
        (vec![("llama.rope.scale_linear", json!(4.0))], linear.clone()),
        (vec![("llama.rope.scale_linear", json!(9.0)), factor.clone()], linear.clone()),
        // A factor without a type is linear.
        (vec![factor.clone()], linear.clone()),
        (vec![kind("linear"), factor.clone()], linear),
        (vec![kind("none"), factor.clone()], Value::Null),
        (vec![kind("linear")], Value::Null),
        (vec![("llama.rope.scaling.factor", json!(0.0))], Value::Null),
        (vec![kind("yarn"), factor.clone(), original.clone()], yarn),
        (
            vec![
                kind("yarn"),
                factor.clone(),
                original.clone(),
                ("llama.rope.scaling.attn_factor", json!(0.5)),
            ],
            weighed,
        ),
        (
            vec![
                kind("yarn"),
                factor,
                original,
                ("llama.rope.scaling.yarn_beta_fast", json!(8.0)),
                ("llama.rope.scaling.yarn_beta_slow", json!(2.0)),
            ],
            other_bounds,
        ),
    ];
    for (entries, scaling) in cases {
        let found = logits(&with_entries(&entries).path().join("model.gguf"));
        for (found, expected) in found.iter().zip(expected(scaling)) {
            assert_close(&format!("{entries:?}"), found, &expected, TOLERANCE);
        }
    }
}

#[test]
fn metadata_that_nothing_here_reads_is_refused_if_it_matters() {
    for (key, value) in [
        ("llama.rope.scaling.type", json!("longrope")),
        ("llama.rope.scaling.yarn_ext_factor", json!(0.5)),
        ("llama.rope.scaling.yarn_log_multiplier", json!(0.1)),
        ("llama.expert_count", json!(8)),
        ("llama.logit_scale", json!(0.5)),
        ("llama.attention.scale", json!(0.25)),
        ("llama.attention.causal", json!(false)),
        ("llama.final_logit_softcapping", json!(30.0)),
    ] {
        let error =
            load(&with_entries(&[(key, value)]).path().join("model.gguf")).expect_err(key).to_string();
        assert!(error.contains(&format!("`{key}` is")), "{error}");
    }
    let idle =
        [("llama.expert_count", json!(0)), ("llama.vocab_size", json!(7)), ("general.name", json!("x"))];
    load(&with_entries(&idle).path().join("model.gguf")).expect("nothing that matters");
}

#[test]
fn files_of_other_kinds_are_named() {
    let bytes = std::fs::read(file()).expect("readable");
    let with = |from: usize, to: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[from..from + to.len()].copy_from_slice(to);
        bytes
    };
    // The code of the first tensor's type is after its name, the number of its dimensions, and these.
    let name = b"token_embd.weight";
    let at = (0..bytes.len()).find(|at| bytes[*at..].starts_with(name)).expect("there") + name.len() + 4 + 16;
    let safetensors = std::fs::read(folder(NAME).join("model.safetensors")).expect("readable");
    for (content, word) in [
        (with(4, &[0, 0, 0, 3]), "big-endian"),
        (with(4, &[1, 0, 0, 0]), "version 1; allowed: 2, 3"),
        (with(0, b"tjgg"), "ggjt"),
        (with(0, b"lmgg"), "from before GGUF"),
        (with(at, &[16, 0, 0, 0]), "IQ2_XXS (16)"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n".to_vec(), "git lfs pull"),
        (b"<!doctype html><title>404</title>".to_vec(), "page of a website"),
        (b"PK\x03\x04and the rest of an archive".to_vec(), "zip archive"),
        (safetensors, "a safetensors file"),
    ] {
        let folder = TempDir::new().expect("a temporary folder");
        let path = folder.path().join("model.gguf");
        std::fs::write(&path, content).expect("written");
        let error = load(&path).expect_err(word).to_string();
        assert!(error.contains(word) && !error.contains("damaged"), "{error}");
    }
    let split = with_entries(&[("split.count", json!(3)), ("split.no", json!(0))]);
    let error = load(&split.path().join("model.gguf")).expect_err("split").to_string();
    assert!(error.contains("part 1 of 3") && error.contains("llama-gguf-split --merge"), "{error}");
    // A folder of a GGUF file, also one of that name; and a file without the extension.
    let named = TempDir::new().expect("a temporary folder");
    let inside = named.path().join("model.gguf");
    std::fs::create_dir(&inside).expect("made");
    std::fs::copy(file(), inside.join("model-Q8_0.gguf")).expect("copied");
    let error = load(&inside).expect_err("a folder").to_string();
    assert!(error.contains("model-Q8_0.gguf") && error.contains("the path of the GGUF file"), "{error}");
    std::fs::copy(file(), named.path().join("blob")).expect("copied");
    load(&named.path().join("blob")).expect("a GGUF file by its content");
}
