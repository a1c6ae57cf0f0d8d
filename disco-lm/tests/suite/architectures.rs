//! Features of single architectures: encoders, sliding windows, tied output matrices.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use crate::{
    common::{ADDED, ENCODER_DECODERS, WINDOWED, assert_close, device, folder},
    tiny,
};
use disco_core::Distribution;
use disco_lm::{Error, Generation, Precision, TokenModel, TokenPolicy};
use disco_tuner::{BatchItem, Optimizer, PendingGradient, Policy, Update};
use tempfile::TempDir;

fn load(folder: &std::path::Path) -> Result<TokenModel, Error> {
    let generation = Generation { max_new_tokens: 8, ..Generation::default() };
    TokenModel::load(folder, &device(), generation)
}

/// Elements of the gradient are of the order of 1 to 100, computed in f32 by sums of another order.
const GRADIENT_TOLERANCE: f64 = 1e-3;

/// An encoder's padding, and a window's, must not reach the gradient.
#[test]
fn contexts_of_several_lengths_give_the_sum_of_their_gradients() {
    for name in ENCODER_DECODERS.into_iter().chain(WINDOWED).chain(ADDED) {
        let model = load(&folder(name)).expect("the model loads");
        let contexts = [vec![5, 6, 7, 8, 9, 10, 11], vec![8], vec![12, 13, 14]];
        let samples = [vec![9, 10, 1], vec![11, 12, 13, 14, 15, 16, 17, 1], vec![1]];
        let weights = [1.0, -2.0, 0.5];
        let batch: Vec<_> =
            contexts.iter().zip(&samples).map(|(context, sample)| BatchItem { context, sample }).collect();
        let mut together = TokenPolicy::new(model.clone());
        together.accumulate(&batch, &mut |_| Ok(weights.to_vec())).expect("a gradient");
        let mut apart = TokenPolicy::new(model);
        for (item, weight) in batch.iter().zip(weights) {
            apart.accumulate(&[*item], &mut |_| Ok(vec![weight])).expect("a gradient");
        }
        let [together, apart] = [together, apart].map(|policy| policy.pending().expect("pending"));
        for (tensor, values) in together {
            let [values, expected] = [&values, &apart[&tensor]]
                .map(|values| values.iter().copied().map(f64::from).collect::<Vec<_>>());
            assert_close(&format!("{name} {tensor}"), &values, &expected, GRADIENT_TOLERANCE);
        }
    }
}

/// With a window of three in each of two layers, a token depends on the four tokens before it, and on no others.
#[test]
fn a_window_forgets_what_lies_behind_it() {
    let folder = TempDir::new().expect("a temporary folder");
    tiny::write_windowed(folder.path(), 0);
    let model = load(folder.path()).expect("the model loads");
    let last = |ids: &[u32]| -> Vec<f64> {
        let logits = model.logits(ids).expect("logits").pop().expect("a row");
        logits.into_iter().map(f64::from).collect()
    };
    let whole = last(&[1, 2, 3, 1, 2, 3, 2]);
    // The first two tokens are out of reach; the third is not.
    assert_close("beyond", &last(&[3, 3, 3, 1, 2, 3, 2]), &whole, 0.0);
    let within = last(&[1, 2, 1, 1, 2, 3, 2]);
    assert!(within.iter().zip(&whole).any(|(a, b)| (a - b).abs() > 1e-4), "the third token counts");
}

/// Some configurations of T5 say that the output matrix is tied although it is not: the file's weights decide.
#[test]
fn the_output_matrix_of_t5_is_tied_if_the_file_has_it_so() {
    let folder = TempDir::new().expect("a temporary folder");
    tiny::write_t5(folder.path(), 0);
    let untied = load(folder.path()).expect("the model loads");
    let path = folder.path().join("model.safetensors");
    let bytes = std::fs::read(&path).expect("readable");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("valid");
    let shared = tensors.tensor("shared.weight").expect("an embedding");
    let with_head = |head: Option<safetensors::tensor::TensorView<'_>>| {
        let others = tensors.iter().filter(|(name, _)| *name != "lm_head.weight");
        let head = head.map(|head| ("lm_head.weight", head));
        let tensors: Vec<_> = others.chain(head).collect();
        safetensors::serialize_to_file(tensors, None, &path).expect("writable");
        load(folder.path()).expect("the model loads")
    };
    let without = with_head(None);
    let twice = with_head(Some(shared));
    assert_eq!(untied.parameters(), without.parameters() + 4 * 16);
    assert_eq!(twice.parameters(), without.parameters());

    // The untied model is saved as it is, and loaded again.
    untied.save_weights(folder.path(), Precision::F32).expect("saved");
    let again = load(folder.path()).expect("the model loads");
    let [old, new] = [untied, again].map(|model| model.next_logits(&[1, 2], &[3, 0]).expect("logits"));
    assert_eq!(old, new);
}

#[test]
fn settings_of_t5_and_of_windows_are_named() {
    for (write, field, value, message) in [
        (tiny::write_t5 as fn(&std::path::Path, u64), "feed_forward_proj", "tanh".into(), "gated-gelu"),
        (tiny::write_t5, "decoder_start_token_id", 4.into(), "decoder_start_token_id"),
        (tiny::write_t5, "relative_attention_num_buckets", 6.into(), "a multiple of 4"),
        (tiny::write_t5, "relative_attention_max_distance", 4.into(), "relative_attention_max_distance"),
        (tiny::write_t5, "num_layers", 0.into(), "number of encoder layers"),
        (tiny::write_windowed, "sliding_window", 0.into(), "sliding_window"),
        (tiny::write_windowed, "sliding_window", "wide".into(), "sliding_window"),
    ] {
        let folder = TempDir::new().expect("a temporary folder");
        write(folder.path(), 0);
        let path = folder.path().join("config.json");
        let mut config: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).expect("readable")).expect("JSON");
        config[field] = value;
        std::fs::write(path, config.to_string()).expect("writable");
        let error = load(folder.path()).expect_err(message).to_string();
        assert!(error.contains(message), "{error}");
    }
}

/// Configurations of architectures that are read in part: each setting that is not is refused by its name.
#[test]
fn settings_of_phi3_that_are_not_computed_are_named() {
    for (name, field, value, message) in [
        ("phi3", "partial_rotary_factor", serde_json::json!(0.75), "partial_rotary_factor"),
        (
            "phi3",
            "rope_parameters",
            serde_json::json!({"rope_type": "longrope", "rope_theta": 1e4}),
            "longrope",
        ),
        (
            "phi3",
            "rope_parameters",
            serde_json::json!({"partial_rotary_factor": 0.5}),
            "partial_rotary_factor",
        ),
        ("phi3", "sliding_window", 0.into(), "sliding_window"),
        ("phi3", "hidden_act", "gelu".into(), "hidden_act"),
        ("olmo2", "hidden_act", "relu".into(), "hidden_act"),
        ("olmo2", "rope_parameters", serde_json::json!({"rope_type": "longrope", "factor": 4.0}), "longrope"),
    ] {
        let copy = TempDir::new().expect("a temporary folder");
        let source = folder(name);
        std::fs::copy(source.join("model.safetensors"), copy.path().join("model.safetensors"))
            .expect("copied");
        let text = std::fs::read_to_string(source.join("config.json")).expect("readable");
        let mut config: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        config[field] = value;
        std::fs::write(copy.path().join("config.json"), config.to_string()).expect("writable");
        let error = load(copy.path()).expect_err(message).to_string();
        assert!(error.contains(message) && error.contains("config.json"), "{error}");
    }
}

/// Where `DISCO_HF_PYTHON` names a Python with torch and transformers.
#[test]
fn transformers_loads_and_scores_what_was_tuned_and_saved() {
    let Some(python) = std::env::var_os("DISCO_HF_PYTHON") else {
        eprintln!("skipped: DISCO_HF_PYTHON names no Python with torch and transformers");
        return;
    };
    let untied = TempDir::new().expect("a temporary folder");
    tiny::write_t5(untied.path(), 0);
    let golden = ENCODER_DECODERS.into_iter().chain(WINDOWED).chain(ADDED).map(folder);
    let mut cases = Vec::new();
    for source in golden.chain([untied.path().to_path_buf()]) {
        let mut policy = TokenPolicy::new(load(&source).expect("the model loads"));
        let (context, sample) = (vec![2, 3, 2, 1, 3], vec![2, 3, 2, 2, 3, 2, 3, 2]);
        let batch = [BatchItem { context: &context, sample: &sample }];
        policy.accumulate(&batch, &mut |_| Ok(vec![-1.0])).expect("a gradient");
        let optimizer = Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 };
        let update = Update { optimizer, learning_rate: 1e-2, max_gradient_norm: Some(1.0) };
        policy.step(&update).expect("a step");
        let saved = TempDir::new().expect("a temporary folder");
        policy.model().save_weights(saved.path(), Precision::F32).expect("saved");
        std::fs::copy(source.join("config.json"), saved.path().join("config.json")).expect("copied");
        let log_prob = policy.log_probs(&context, &[&sample]).expect("a score")[0];
        cases.push((saved, context, sample, log_prob));
    }
    let mut script = Command::new(&python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/reference/scores.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let mut input = script.stdin.take().expect("piped");
    for (folder, context, tokens, _) in &cases {
        let line = serde_json::json!({"folder": folder.path(), "context": context, "tokens": tokens});
        writeln!(input, "{line}").expect("Python reads");
    }
    drop(input);
    let output = script.wait_with_output().expect("Python ends");
    assert!(output.status.success(), "the script failed");
    let scored: Vec<f64> = String::from_utf8(output.stdout)
        .expect("text")
        .lines()
        .map(|line| line.parse().expect("a number"))
        .collect();
    let expected: Vec<f64> = cases.iter().map(|(_, _, _, log_prob)| *log_prob).collect();
    assert_close("log-probability by transformers", &scored, &expected, 1e-4);
}
