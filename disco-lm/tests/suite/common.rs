//! Helpers of the language models' tests: golden models, the backend, and comparisons.

use std::path::PathBuf;

use disco_lm::{Backend, Device};
use serde_json::Value;

/// The decoder-only models of the golden folder: tiny random models with their reference values.
pub(crate) const DECODERS: [&str; 5] = ["gpt2", "llama-gqa-tied", "llama-untied-rope3", "qwen2", "qwen3"];

/// The encoder-decoder models of the golden folder.
pub(crate) const ENCODER_DECODERS: [&str; 2] = ["t5-relu", "t5-gated-untied"];

/// Decoder-only models with sliding windows, which the golden folder does not have: `reference/tiny.py` made them.
pub(crate) const WINDOWED: [&str; 3] = ["mistral-window", "qwen2-window", "gemma3"];

/// Phi-3 has a window too, and its matrices fused; OLMo 2 is tuned by automatic differentiation. `reference/tiny.py` made both.
pub(crate) const ADDED: [&str; 2] = ["phi3", "olmo2"];

/// All language models that there are reference values for.
pub(crate) fn language_models() -> impl Iterator<Item = &'static str> {
    DECODERS.into_iter().chain(ENCODER_DECODERS).chain(WINDOWED).chain(ADDED)
}

/// The folder of a golden model: under `DISCO_GOLDEN`, or the copy in the repository. [`WINDOWED`] models are next to
/// their script.
pub(crate) fn folder(name: &str) -> PathBuf {
    if WINDOWED.contains(&name) || ADDED.contains(&name) {
        return PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/reference")).join(name);
    }
    let root = std::env::var_os("DISCO_GOLDEN")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../golden")), PathBuf::from);
    root.join(name)
}

/// The reference values of a golden model.
pub(crate) fn golden(name: &str) -> Value {
    let path = folder(name).join("golden.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("golden.json is JSON")
}

/// The backend of the tests: the one that `DISCO_BACKEND` names, by default flex.
pub(crate) fn backend() -> Backend {
    let name = std::env::var("DISCO_BACKEND").unwrap_or_else(|_| Backend::Flex.name().into());
    name.parse().unwrap_or_else(|error| panic!("DISCO_BACKEND: {error}"))
}

/// The device of [`backend`].
pub(crate) fn device() -> Device {
    backend().device().unwrap_or_else(|error| panic!("{error}"))
}

/// The factor by which the tolerances of [`assert_close`] are multiplied on the backend of the tests.
///
/// The tolerances are meant for sums of f32 products in any order, which flex, libtorch and wgpu (seen on Mesa's llvmpipe)
/// compute. CUDA's matmuls may round their operands to TF32, with 10 bits of mantissa instead of 23.
fn slack() -> f64 {
    match backend() {
        Backend::Cuda => 100.0,
        _ => 1.0,
    }
}

/// A list of token ids.
pub(crate) fn ids(value: &Value) -> Vec<u32> {
    value.as_array().expect("ids").iter().map(|id| id.as_u64().expect("an id") as u32).collect()
}

/// A list of numbers; null stands for `-inf`.
pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    let values = value.as_array().expect("numbers").iter();
    values.map(|value| value.as_f64().unwrap_or(f64::NEG_INFINITY)).collect()
}

/// Checks numbers one by one, to an absolute tolerance, which is multiplied by the backend's [`slack`]; infinities must
/// be equal.
#[track_caller]
pub(crate) fn assert_close(what: &str, actual: &[f64], expected: &[f64], tolerance: f64) {
    let tolerance = tolerance * slack();
    assert_eq!(actual.len(), expected.len(), "{what}: length");
    for (index, (actual, expected)) in actual.iter().zip(expected).enumerate() {
        let same = actual == expected || (actual - expected).abs() <= tolerance;
        assert!(same, "{what}[{index}]: {actual} is not within {tolerance} of {expected}");
    }
}
