//! A token model as a policy: its gradient, its optimizer, its checkpoints.

use std::collections::BTreeMap;

use crate::{
    common::{assert_close, device, folder, golden, ids},
    spelled::{byte_level_tokenizer, spellings},
};
use disco_core::{Distribution, Streams};
use disco_lm::{Generation, Grammar, Lora, TokenModel, TokenPolicy};
use disco_tuner::{
    Adam, BatchItem, Checkpointed, Optimizer, PendingGradient, Policy, Tensors, Update, WeightDecay,
};
use tempfile::TempDir;

const MODEL: &str = "llama-gqa-tied";

fn policy() -> TokenPolicy {
    let generation = Generation { max_new_tokens: 7, ..Generation::default() };
    TokenPolicy::new(TokenModel::load(folder(MODEL), &device(), generation).expect("a golden model loads"))
}

fn samples() -> (Vec<u32>, Vec<Vec<u32>>) {
    let golden = golden(MODEL);
    let samples = golden["samples"].as_array().expect("samples").iter().map(ids).collect();
    (ids(&golden["context_ids"]), samples)
}

fn accumulate(policy: &mut TokenPolicy, weights: &[f64]) {
    let (context, samples) = samples();
    let batch: Vec<_> = samples.iter().map(|sample| BatchItem { context: &context, sample }).collect();
    policy.accumulate(&batch, &mut |_| Ok(weights.to_vec())).expect("a gradient");
}

fn flat(tensors: &Tensors) -> Vec<f64> {
    tensors.values().flatten().map(|value| f64::from(*value)).collect()
}

fn update(optimizer: Optimizer) -> Update {
    Update { optimizer, learning_rate: 1e-3, max_gradient_norm: None }
}

/// Along the gradient, `f(x + h g) - f(x - h g)` is `2 h |g|^2` up to third order. f32 leaves about three
/// digits of the difference.
#[test]
fn the_gradient_is_that_of_finite_differences() {
    let (context, samples) = samples();
    let refs: Vec<&Vec<u32>> = samples.iter().collect();
    let weights = [0.7, -1.3, 0.4, 2.0];
    let value = |policy: &TokenPolicy| -> f64 {
        let log_probs = policy.log_probs(&context, &refs).expect("scores");
        log_probs.iter().zip(weights).map(|(log_prob, weight)| weight * log_prob).sum()
    };
    let mut ahead = policy();
    accumulate(&mut ahead, &weights);
    let gradient = flat(&ahead.pending().expect("pending"));
    let square: f64 = gradient.iter().map(|value| value * value).sum();
    // A step of plain descent moves against the gradient by the learning rate.
    let mut behind = ahead.clone();
    let h = 3e-4 / square.sqrt();
    let plain = Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 };
    let step = |learning_rate| Update { learning_rate, ..update(plain.clone()) };
    behind.step(&step(h)).expect("a step");
    ahead.step(&step(-h)).expect("a step");
    let slope = (value(&ahead) - value(&behind)) / (2.0 * h);
    assert_close("slope along the gradient", &[slope / square], &[1.0], 0.02);
}

/// As above. OLMo 2 is differentiated automatically.
#[test]
fn the_gradient_under_a_grammar_is_that_of_finite_differences() {
    let grammar = Grammar::regex("[a-j][0-9](ab)?").expect("a grammar");
    for (name, is_lora) in [(MODEL, false), (MODEL, true), ("olmo2", false)] {
        let generation = Generation { max_new_tokens: 6, ..Generation::default() };
        let base = TokenModel::load(folder(name), &device(), generation).expect("the model loads");
        let masked = base.under_grammar(&grammar, &byte_level_tokenizer()).expect("the grammar fits");
        let masked = if is_lora { masked.with_lora(&Lora::default()).expect("an adapter") } else { masked };
        assert!(masked.grammar().is_some(), "an adapter keeps the grammar");
        let context = vec![5, 6, 7];
        let end = (0..3).find(|id| base.is_end(*id)).expect("an end token");
        let sample = |text| {
            let mut tokens = spellings(text).remove(0);
            tokens.pop();
            [tokens, vec![end]].concat()
        };
        let samples: Vec<Vec<u32>> = ["a1", "c5ab", "j0"].map(sample).to_vec();
        let refs: Vec<&Vec<u32>> = samples.iter().collect();
        let weights = [0.7, -1.3, 2.0];
        let mut ahead = TokenPolicy::new(masked);
        let batch: Vec<_> = samples.iter().map(|sample| BatchItem { context: &context, sample }).collect();
        ahead.accumulate(&batch, &mut |_| Ok(weights.to_vec())).expect("a gradient");
        let value = |policy: &TokenPolicy| -> f64 {
            let log_probs = policy.log_probs(&context, &refs).expect("scores");
            log_probs.iter().zip(weights).map(|(log_prob, weight)| weight * log_prob).sum()
        };
        let square: f64 = flat(&ahead.pending().expect("pending")).iter().map(|value| value * value).sum();
        let mut behind = ahead.clone();
        let h = 3e-3 / square.sqrt();
        let plain = Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 };
        let step = |learning_rate| Update { learning_rate, ..update(plain.clone()) };
        behind.step(&step(h)).expect("a step");
        ahead.step(&step(-h)).expect("a step");
        let slope = (value(&ahead) - value(&behind)) / (2.0 * h);
        assert_close(&format!("{name}, adapter: {is_lora}"), &[slope / square], &[1.0], 0.02);
    }
}

#[test]
fn a_gradient_in_parts_is_the_gradient_of_the_whole() {
    let (context, samples) = samples();
    let mut whole = policy();
    accumulate(&mut whole, &[0.7, -1.3, 0.4, 2.0]);
    let mut parts = policy();
    for (sample, weight) in samples.iter().zip([0.7, -1.3, 0.4, 2.0]) {
        parts
            .accumulate(&[BatchItem { context: &context, sample }], &mut |_| Ok(vec![weight]))
            .expect("a gradient");
    }
    let [whole, parts] = [whole, parts].map(|policy| flat(&policy.pending().expect("pending")));
    // Elements are of the order of 1 to 10, computed in f32.
    assert_close("gradient", &parts, &whole, 1e-4);
}

#[test]
fn contexts_in_one_batch_give_the_sum_of_their_gradients() {
    let contexts = [vec![5, 6, 7], vec![8]];
    let sample = vec![9, 10, 2];
    let mut together = policy();
    let batch: Vec<_> = contexts.iter().map(|context| BatchItem { context, sample: &sample }).collect();
    together.accumulate(&batch, &mut |_| Ok(vec![1.0, -2.0])).expect("a gradient");
    let mut apart = policy();
    for (item, weight) in batch.iter().zip([1.0, -2.0]) {
        apart.accumulate(&[*item], &mut |_| Ok(vec![weight])).expect("a gradient");
    }
    let [together, apart] = [together, apart].map(|policy| flat(&policy.pending().expect("pending")));
    assert_close("gradient", &together, &apart, 1e-4);
}

/// The reference takes the same steps with the tuner's own optimizers in f64, on the same gradients.
#[test]
fn optimizers_agree_with_the_f64_reference() {
    let adam = Adam { weight_decay: 0.1, ..Adam::default() };
    for optimizer in
        [Optimizer::Adam(adam), Optimizer::AdamW(adam), Optimizer::Sgd { momentum: 0.9, weight_decay: 0.01 }]
    {
        let mut policy = policy();
        let update = Update { max_gradient_norm: Some(0.5), ..update(optimizer) };
        let name = "model.layers.0.mlp.down_proj.weight";
        let mut reference = parameter(&policy, name);
        let mut moments = disco_tuner::OptimizerState::new(reference.len());
        for step in 0..3 {
            accumulate(&mut policy, &[0.3, -0.2 * f64::from(step), 0.1, 0.4]);
            let pending = policy.pending().expect("pending");
            let norm = flat(&pending).iter().map(|value| value * value).sum::<f64>().sqrt();
            let gradient: Vec<f64> = pending[name].iter().map(|value| f64::from(*value)).collect();
            let scale = update.clip_scale(norm);
            moments
                .descend(&update, scale, WeightDecay::Apply, &mut reference, &gradient)
                .expect("equal lengths");
            let updated = policy.step(&update).expect("a step");
            assert_close("norm", &[updated.gradient_norm / norm], &[1.0], 1e-5);
        }
        assert_close(&format!("{update:?}"), &parameter(&policy, name), &reference, 1e-6);
    }
}

fn parameter(policy: &TokenPolicy, name: &str) -> Vec<f64> {
    parameters(policy).remove(name).expect("a tensor of this name").1
}

/// Shape and values of every parameter.
fn parameters(policy: &TokenPolicy) -> BTreeMap<String, (Vec<usize>, Vec<f64>)> {
    let saved = TempDir::new().expect("a temporary folder");
    policy.model().save_weights(saved.path(), disco_lm::Precision::F32).expect("saved");
    let bytes = std::fs::read(saved.path().join("model.safetensors")).expect("readable");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("valid");
    let values = |data: &[u8]| {
        data.as_chunks::<4>().0.iter().map(|word| f64::from(f32::from_le_bytes(*word))).collect::<Vec<_>>()
    };
    let tensors = tensors.iter();
    tensors.map(|(name, view)| (name.to_owned(), (view.shape().to_vec(), values(view.data())))).collect()
}

/// Without a gradient, weight decay moves only the matrices: neither norms nor biases.
#[test]
fn weight_decay_is_of_matrices_alone() {
    for model in ["gpt2", "llama-gqa-tied"] {
        for optimizer in [
            Optimizer::Sgd { momentum: 0.0, weight_decay: 0.5 },
            Optimizer::AdamW(Adam { weight_decay: 0.5, ..Adam::default() }),
        ] {
            let loaded = TokenModel::load(folder(model), &device(), Generation::default());
            let mut policy = TokenPolicy::new(loaded.expect("a golden model loads"));
            let before = parameters(&policy);
            policy.step(&Update { learning_rate: 0.1, ..update(optimizer) }).expect("a step");
            let after = parameters(&policy);
            assert!(before.values().any(|(shape, _)| shape.len() == 1), "{model} has norms");
            for (name, (shape, values)) in before {
                let share = if shape.len() == 2 { 0.95 } else { 1.0 };
                let expected: Vec<f64> = values.iter().map(|value| share * value).collect();
                let tolerance = if shape.len() == 2 { 1e-6 } else { 0.0 };
                assert_close(&format!("{model}: {name}"), &after[&name].1, &expected, tolerance);
            }
        }
    }
}

#[test]
fn a_saved_policy_continues_to_the_bit() {
    let step = |policy: &mut TokenPolicy| {
        accumulate(policy, &[0.3, -0.2, 0.1, 0.4]);
        policy.step(&update(Optimizer::default())).expect("a step");
    };
    let mut straight = policy();
    step(&mut straight);
    let saved = TempDir::new().expect("a temporary folder");
    straight.save(saved.path()).expect("saved");
    let mut resumed = policy();
    resumed.load(saved.path()).expect("loaded");
    for _ in 0..3 {
        step(&mut straight);
        step(&mut resumed);
    }
    let [straight, resumed] = [straight, resumed].map(|policy| {
        let drawn = policy.sample(&vec![1, 2], &Streams::new(0, 20)).expect("samples");
        drawn.into_iter().map(|sample| (sample.value, sample.log_prob.to_bits())).collect::<Vec<_>>()
    });
    assert_eq!(resumed, straight);
}

#[test]
fn a_gradient_that_is_no_number_changes_nothing() {
    let mut policy = policy();
    let before = policy.log_probs(&vec![1], &[&vec![3, 2]]).expect("a score");
    let mut pending = policy.pending().expect("pending");
    pending.values_mut().next().expect("a tensor")[0] = f32::NAN;
    policy.replace_pending(pending).expect("replaced");
    let error = policy.step(&update(Optimizer::default())).expect_err("not finite").to_string();
    assert!(error.contains("norm of the gradient"), "{error}");
    assert_eq!(policy.log_probs(&vec![1], &[&vec![3, 2]]).expect("a score"), before);
    accumulate(&mut policy, &[1.0; 4]);
    policy.step(&update(Optimizer::default())).expect("the state is untouched");
}

#[test]
fn the_pending_gradient_can_be_read_and_replaced() {
    let mut source = policy();
    accumulate(&mut source, &[1.0, 0.5, 0.0, -1.0]);
    let gradient = source.pending().expect("pending");
    let mut sink = policy();
    sink.replace_pending(gradient.clone()).expect("replaced");
    assert_eq!(sink.pending().expect("pending"), gradient);
    sink.clear();
    assert!(flat(&sink.pending().expect("pending")).iter().all(|value| *value == 0.0));

    let mut short = gradient.clone();
    short.values_mut().next().expect("a tensor").pop();
    sink.replace_pending(short).expect_err("a tensor too short");
    let mut more = gradient;
    more.insert("what.weight".into(), vec![]);
    let error = sink.replace_pending(more).expect_err("an unknown tensor").to_string();
    assert!(error.contains("what.weight"), "{error}");
}

#[test]
fn what_is_no_sequence_of_the_policy_is_refused() {
    let mut policy = policy();
    let error =
        policy.accumulate(&[BatchItem { context: &vec![1], sample: &vec![1, 3] }], &mut |_| Ok(vec![1.0]));
    assert!(error.expect_err("cut too early").to_string().contains("not one of its sequences"));
    let error = policy.accumulate(&[BatchItem { context: &vec![1], sample: &vec![2] }], &mut |_| Ok(vec![]));
    assert!(error.expect_err("too few weights").to_string().contains("weights of a batch"));
}
