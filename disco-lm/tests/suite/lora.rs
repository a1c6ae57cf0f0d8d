//! LoRA adapters agree with PEFT, with finite differences, and with the merged weights.
//!
//! `reference/adapters.py` made the adapters in `reference/adapters`, and PEFT's reference values.

use std::{collections::BTreeSet, path::PathBuf, process::Command};

use disco_core::{Distribution, Streams};
use disco_lm::{Generation, Lora, Precision, TokenModel, TokenPolicy};
use disco_tuner::{Adam, BatchItem, Checkpointed, Optimizer, PendingGradient, Policy, Update};
use serde_json::Value;
use tempfile::TempDir;

use crate::common::{assert_close, device, folder, ids, numbers};

/// Reference and model both compute in f32.
const SEQUENCE_TOLERANCE: f64 = 1e-4;
const GRADIENT_NORM_TOLERANCE: f64 = 1e-3;
/// Allowed difference between an adapter beside the weights and merged into them: another order of the same f32 sums.
const MERGED_TOLERANCE: f64 = 2e-5;

/// Golden models with an adapter made by PEFT: fused and single modules, `Conv1D`, rank-stabilised, on some layers.
const ADAPTED: [&str; 3] = ["llama-gqa-tied", "gpt2", "qwen3"];

pub(crate) fn reference(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/reference/adapters")).join(name)
}

pub(crate) struct Case {
    golden: Value,
    context: Vec<u32>,
    samples: Vec<Vec<u32>>,
    pub(crate) base: TokenModel,
}

pub(crate) fn case(name: &str) -> Case {
    // The adapters were made for the golden models in the repository, whatever `DISCO_GOLDEN` names.
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../golden")).join(name);
    let text = std::fs::read_to_string(folder.join("golden.json")).expect("a golden model");
    let golden: Value = serde_json::from_str(&text).expect("golden.json is JSON");
    let samples: Vec<Vec<u32>> = golden["samples"].as_array().expect("samples").iter().map(ids).collect();
    let max_new_tokens = samples.iter().map(Vec::len).max().expect("a sample");
    let generation = Generation { max_new_tokens, ..Generation::default() };
    let base = TokenModel::load(&folder, &device(), generation).expect("a golden model loads");
    Case { context: ids(&golden["context_ids"]), samples, golden, base }
}

impl Case {
    pub(crate) fn log_probs(&self, model: &impl Distribution<Vec<u32>, Vec<u32>>) -> Vec<f64> {
        model.log_probs(&self.context, &self.samples.iter().collect::<Vec<_>>()).expect("scores")
    }

    /// Accumulates `sum_i coef_i grad log pi(x_i)`; returns the log-probabilities of that pass.
    fn accumulate(&self, policy: &mut TokenPolicy) -> Vec<f64> {
        let batch: Vec<_> =
            self.samples.iter().map(|sample| BatchItem { context: &self.context, sample }).collect();
        let mut seen = Vec::new();
        let mut weigh = |log_probs: &[f64]| {
            seen = log_probs.to_vec();
            Ok(numbers(&self.golden["coef"]))
        };
        policy.accumulate(&batch, &mut weigh).expect("a gradient");
        seen
    }
}

fn update(learning_rate: f64) -> Update {
    let optimizer = Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 };
    Update { optimizer, learning_rate, max_gradient_norm: None }
}

fn check_norms(what: &str, policy: &TokenPolicy, reference: &Value) {
    let pending = policy.pending().expect("the pending gradient");
    let norms = reference["gradient_l2"].as_object().expect("norms");
    assert_eq!(pending.keys().collect::<BTreeSet<_>>(), norms.keys().collect::<BTreeSet<_>>(), "{what}");
    for (name, norm) in norms {
        let actual = pending[name].iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        let expected = norm.as_f64().expect("a norm");
        assert_close(&format!("{what} {name}"), &[actual / expected], &[1.0], GRADIENT_NORM_TOLERANCE);
    }
}

#[test]
fn adapters_made_by_peft_score_and_differentiate_as_there() {
    for name in ADAPTED {
        let case = case(name);
        let folder = reference(name);
        let text = std::fs::read_to_string(folder.join("reference.json")).expect("a reference");
        let expected: Value = serde_json::from_str(&text).expect("the reference is JSON");
        let model = case.base.with_adapter(&folder).expect("PEFT's adapter loads");
        let log_probs = numbers(&expected["log_probs"]);
        assert_close(name, &case.log_probs(&model), &log_probs, SEQUENCE_TOLERANCE);
        assert_close(name, &case.log_probs(&model.merged()), &log_probs, SEQUENCE_TOLERANCE);
        let mut policy = TokenPolicy::new(model);
        assert_close(name, &case.accumulate(&mut policy), &log_probs, SEQUENCE_TOLERANCE);
        check_norms(name, &policy, &expected);
    }
}

/// Runs where `DISCO_HF_PYTHON` names a Python with torch, transformers and peft.
#[test]
fn peft_loads_what_was_saved() {
    let Some(python) = std::env::var_os("DISCO_HF_PYTHON") else {
        eprintln!("skipped: DISCO_HF_PYTHON names no Python with torch, transformers and peft");
        return;
    };
    let saved = TempDir::new().expect("a temporary folder");
    let mut script = Command::new(&python);
    script.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    script.arg("disco-lm/tests/suite/reference/adapters.py");
    let mut tuned = Vec::new();
    for (index, (name, modules)) in [
        ("llama-gqa-tied", vec!["all-linear"]),
        ("llama-gqa-tied", vec!["k_proj"]),
        ("gpt2", vec!["all-linear"]),
        ("gpt2", vec!["attn.c_proj", "c_fc"]),
    ]
    .into_iter()
    .enumerate()
    {
        let case = case(name);
        let target_modules = modules.into_iter().map(String::from).collect();
        let lora = Lora { rank: 2, alpha: 5.0, target_modules, seed: 3 };
        let mut policy = TokenPolicy::lora(&case.base, &lora).expect("an adapter");
        for _ in 0..2 {
            case.accumulate(&mut policy);
            policy.step(&update(1e-2)).expect("a step");
        }
        let adapter = saved.path().join(index.to_string());
        policy.model().save_adapter(&adapter).expect("saved");
        script.arg(format!("golden/{name}")).arg(adapter);
        let log_probs = case.accumulate(&mut policy);
        tuned.push((name, policy, log_probs));
    }
    let output = script.output().expect("DISCO_HF_PYTHON is a program");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected: Vec<Value> = serde_json::from_slice(&output.stdout).expect("values");
    assert_eq!(expected.len(), tuned.len());
    for ((name, policy, log_probs), expected) in tuned.iter().zip(&expected) {
        assert_close(name, log_probs, &numbers(&expected["log_probs"]), SEQUENCE_TOLERANCE);
        check_norms(name, policy, expected);
    }
}

#[test]
fn a_new_adapter_changes_nothing_and_is_tuned_alone() {
    for name in ["llama-gqa-tied", "gpt2", "qwen2"] {
        let case = case(name);
        let before = case.log_probs(&case.base);
        let mut policy = TokenPolicy::lora(&case.base, &Lora::default()).expect("an adapter");
        assert_close(name, &case.log_probs(&policy), &before, 0.0);
        let objective = |log_probs: &[f64]| -> f64 {
            log_probs.iter().zip(numbers(&case.golden["coef"])).map(|(log_prob, coef)| log_prob * coef).sum()
        };
        assert_close(name, &case.accumulate(&mut policy), &before, SEQUENCE_TOLERANCE);
        let pending = policy.pending().expect("pending");
        assert!(pending.keys().all(|name| name.contains(".lora_")), "{:?}", pending.keys());
        policy.step(&update(1e-3)).expect("a step");
        let after = case.log_probs(&policy);
        assert!(objective(&after) < objective(&before), "{name}: a descent of the weighted sum");
        assert_close(name, &case.log_probs(&policy.model().merged()), &after, MERGED_TOLERANCE);
        assert_close(name, &case.log_probs(&case.base), &before, 0.0);
        // The same code draws and scores with the adapter beside the frozen weights.
        let drawn = policy.sample(&case.context, &Streams::new(1, 6)).expect("samples");
        let values: Vec<&Vec<u32>> = drawn.iter().map(|sample| &sample.value).collect();
        let returned: Vec<f64> = drawn.iter().map(|sample| sample.log_prob).collect();
        let scored = policy.log_probs(&case.context, &values).expect("scores");
        assert_close(name, &scored, &returned, SEQUENCE_TOLERANCE);
    }
}

/// Along the gradient, as for full tuning, `f(x + h g) - f(x - h g)` is `2 h |g|^2` up to third order.
#[test]
fn the_gradient_of_an_adapter_is_that_of_finite_differences() {
    for name in ["llama-gqa-tied", "t5-gated-untied"] {
        check_finite_differences(name);
    }
}

fn check_finite_differences(name: &str) {
    let case = case(name);
    let coefficients = numbers(&case.golden["coef"]);
    let value = |policy: &TokenPolicy| -> f64 {
        case.log_probs(policy).iter().zip(&coefficients).map(|(log_prob, coef)| log_prob * coef).sum()
    };
    let lora = Lora { rank: 4, seed: 1, ..Lora::default() };
    let mut ahead = TokenPolicy::lora(&case.base, &lora).expect("an adapter");
    // One step away from the start, at which the gradient of every A is zero.
    case.accumulate(&mut ahead);
    ahead.step(&update(1e-3)).expect("a step");
    case.accumulate(&mut ahead);
    let pending = ahead.pending().expect("pending");
    assert!(pending.values().all(|values| values.iter().any(|value| *value != 0.0)), "{name}");
    let square: f64 = pending.values().flatten().map(|value| f64::from(*value).powi(2)).sum();
    let h = 1e-3 / square.sqrt();
    let mut behind = ahead.clone();
    behind.step(&update(h)).expect("a step");
    ahead.step(&update(-h)).expect("a step");
    let slope = (value(&ahead) - value(&behind)) / (2.0 * h);
    // f32 leaves about three digits of the difference.
    assert_close(name, &[slope / square], &[1.0], 0.02);
}

#[test]
fn an_adapter_policy_saves_only_the_adapter_and_continues_to_the_bit() {
    let case = case("gpt2");
    let adam = Update { optimizer: Optimizer::Adam(Adam::default()), ..update(1e-2) };
    let new = || TokenPolicy::lora(&case.base, &Lora::default()).expect("an adapter");
    let step = |policy: &mut TokenPolicy| {
        case.accumulate(policy);
        policy.step(&adam).expect("a step");
    };
    let mut straight = new();
    step(&mut straight);
    let saved = TempDir::new().expect("a temporary folder");
    straight.save(saved.path()).expect("saved");
    let written: u64 = std::fs::read_dir(saved.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").metadata().expect("metadata").len())
        .sum();
    let full = TempDir::new().expect("a temporary folder");
    TokenPolicy::new(case.base.clone()).save(full.path()).expect("saved");
    let weights = std::fs::metadata(full.path().join("parameters.safetensors")).expect("metadata").len();
    assert!(written < 2 * weights, "{written} bytes with the optimizer's state, of a model of {weights}");
    let mut resumed = new();
    resumed.load(saved.path()).expect("loaded");
    for _ in 0..2 {
        step(&mut straight);
        step(&mut resumed);
    }
    let bits = |policy: &TokenPolicy| -> Vec<u64> {
        case.log_probs(policy).iter().map(|log_prob| log_prob.to_bits()).collect()
    };
    assert_eq!(bits(&resumed), bits(&straight));
    let mut other = TokenPolicy::lora(&case.base, &Lora { rank: 2, ..Lora::default() }).expect("an adapter");
    other.load(saved.path()).expect_err("the saved adapter has another rank");
}

#[test]
fn a_saved_adapter_comes_back_and_a_saved_model_has_it_merged() {
    let case = case("qwen3");
    let lora =
        Lora { rank: 2, alpha: 3.5, target_modules: vec!["q_proj".into(), "mlp.up_proj".into()], seed: 9 };
    let mut policy = TokenPolicy::lora(&case.base, &lora).expect("an adapter");
    case.accumulate(&mut policy);
    policy.step(&update(1e-2)).expect("a step");
    let tuned = case.log_probs(&policy);
    let saved = TempDir::new().expect("a temporary folder");
    let adapter = saved.path().join("adapter");
    policy.model().save_adapter(&adapter).expect("saved");
    let again = case.base.with_adapter(&adapter).expect("loaded");
    assert_close("beside", &case.log_probs(&again), &tuned, 0.0);
    assert_eq!((again.lora().expect("an adapter").rank, again.lora().expect("an adapter").alpha), (2, 3.5));

    std::fs::copy(folder("qwen3").join("config.json"), saved.path().join("config.json")).expect("copied");
    again.save_weights(saved.path(), Precision::F32).expect("saved");
    let merged = TokenModel::load(saved.path(), &device(), case.base.generation().clone()).expect("loaded");
    assert_close("merged", &case.log_probs(&merged), &tuned, MERGED_TOLERANCE);
}
