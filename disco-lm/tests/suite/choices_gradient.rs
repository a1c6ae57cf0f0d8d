//! The policy over listed choices: its gradient.

use std::collections::BTreeMap;

use disco_core::{Distribution, Streams};
use disco_lm::{ChoicePolicy, Choices, Completion, Decoding, Generation, LanguageModel, LmPolicy};
use disco_tuner::{BatchItem, Checkpointed, Optimizer, PendingGradient, Policy, Tensors, Update};
use serde_json::json;

use crate::{
    choices::{CONTEXT, END, TEXTS, embedded, newline, with_ends},
    common::{assert_close, device},
};

/// Elements of gradients are of the order of 1 to 10, computed in f32.
const GRADIENT_TOLERANCE: f64 = 1e-4;

const OTHER: &str = "KING RICHARD:\nMy";

fn by_context(end_token: bool) -> Choices<String> {
    let choices = Choices::by_context(|context: &String| match context.as_str() {
        CONTEXT => Ok(TEXTS[..3].iter().map(ToString::to_string).collect()),
        _ => Ok(vec![" lord".into(), " gracious lord".into(), " horse".into(), " kingdom".into()]),
    });
    if end_token { choices } else { choices.without_end_token() }
}

pub(crate) fn policy(end_token: bool) -> ChoicePolicy<String> {
    policy_of(embedded(Decoding::default()), end_token)
}

fn policy_of(model: LanguageModel, end_token: bool) -> ChoicePolicy<String> {
    ChoicePolicy::new(LmPolicy::new(model), by_context(end_token)).expect("a policy")
}

pub(crate) fn contexts() -> Vec<String> {
    vec![CONTEXT.to_string(), OTHER.to_string()]
}

/// All choices of both contexts, with a weight each.
pub(crate) fn weighted(policy: &ChoicePolicy<String>) -> Vec<(String, Completion, f64)> {
    let weights = [0.7, -1.3, 0.4, 0.2, -0.9, 1.1, 0.3];
    let all = contexts().into_iter().flat_map(|context| {
        let space = policy.space(&context).expect("a space");
        space.outcomes().iter().map(|x| (context.clone(), x.clone())).collect::<Vec<_>>()
    });
    all.zip(weights).map(|((context, sample), weight)| (context, sample, weight)).collect()
}

fn accumulate(policy: &mut impl Policy<String, Completion>, items: &[(String, Completion, f64)]) {
    let batch: Vec<_> = items.iter().map(|(context, sample, _)| BatchItem { context, sample }).collect();
    let weights: Vec<f64> = items.iter().map(|(.., weight)| *weight).collect();
    let mut rest = weights.as_slice();
    let mut weigh = |log_probs: &[f64]| {
        let (next, others) = rest.split_at(log_probs.len());
        rest = others;
        Ok(next.to_vec())
    };
    policy.accumulate(&batch, &mut weigh).expect("a gradient");
}

fn flat(tensors: &Tensors) -> Vec<f64> {
    tensors.values().flatten().map(|value| f64::from(*value)).collect()
}

/// Gradient descent.
pub(crate) fn plain() -> Optimizer {
    Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 }
}

fn sgd(learning_rate: f64) -> Update {
    Update { optimizer: plain(), learning_rate, max_gradient_norm: None }
}

/// `sum_i w_i ln q(x_i|c_i)`.
pub(crate) fn value(policy: &ChoicePolicy<String>, items: &[(String, Completion, f64)]) -> f64 {
    let term = |(context, sample, weight): &(String, Completion, f64)| {
        weight * policy.log_probs(context, &[sample]).expect("a score")[0]
    };
    items.iter().map(term).sum()
}

/// The gradient of the language model for the weights `w_x - q(x) sum_y w_y`, with `q` from its own scores.
#[test]
fn the_gradient_is_the_language_models_with_centred_weights() {
    let mut tuned = policy(true);
    let items = weighted(&tuned);
    // In batches that part the contexts, and with a sample that comes twice.
    for part in items.chunks(3) {
        accumulate(&mut tuned, part);
    }
    let again = [(items[1].0.clone(), items[1].1.clone(), 0.25)];
    accumulate(&mut tuned, &again);

    let mut plain = LmPolicy::new(embedded(Decoding::default()));
    let mut by_context: BTreeMap<&str, Vec<(&Completion, f64)>> = BTreeMap::new();
    for (at, (context, sample, weight)) in items.iter().enumerate() {
        let weight = weight + if at == 1 { 0.25 } else { 0.0 };
        by_context.entry(context).or_default().push((sample, weight));
    }
    for (context, samples) in by_context {
        let refs: Vec<&Completion> = samples.iter().map(|(sample, _)| *sample).collect();
        let log_probs = plain.model().log_probs(context, &refs).expect("scores");
        let mass: f64 = log_probs.iter().map(|log_prob| log_prob.exp()).sum();
        let total: f64 = samples.iter().map(|(_, weight)| weight).sum();
        let centred: Vec<(String, Completion, f64)> = samples
            .iter()
            .zip(&log_probs)
            .map(|((sample, weight), log_prob)| {
                (context.to_string(), (*sample).clone(), weight - log_prob.exp() / mass * total)
            })
            .collect();
        accumulate(&mut plain, &centred);
    }
    let [found, expected] =
        [tuned.pending().expect("pending"), plain.pending().expect("pending")].map(|tensors| flat(&tensors));
    assert_close("gradient", &found, &expected, GRADIENT_TOLERANCE);
    assert!(found.iter().any(|value| value.abs() > 0.1));
}

/// As the test of the same name in `policy.rs`, with an end token, with two, and without.
#[test]
fn the_gradient_is_that_of_finite_differences() {
    let folder = with_ends(&json!([END, newline()]));
    let two = LanguageModel::load(folder.path(), &device(), Generation::default()).expect("loads");
    for mut ahead in [policy(true), policy_of(two, true), policy(false)] {
        let items = weighted(&ahead);
        accumulate(&mut ahead, &items);
        let gradient = flat(&ahead.pending().expect("pending"));
        let square: f64 = gradient.iter().map(|value| value * value).sum();
        let mut behind = ahead.clone();
        let h = 3e-3 / square.sqrt();
        behind.step(&sgd(h)).expect("a step");
        ahead.step(&sgd(-h)).expect("a step");
        let slope = (value(&ahead, &items) - value(&behind, &items)) / (2.0 * h);
        assert_close("slope along the gradient", &[slope / square], &[1.0], 0.02);
    }
}

#[test]
fn equal_weights_in_the_measure_of_the_policy_have_no_gradient() {
    let mut tuned = policy(true);
    let items: Vec<(String, Completion, f64)> = weighted(&tuned)
        .into_iter()
        .map(|(context, sample, _)| {
            let q = tuned.log_probs(&context, &[&sample]).expect("a score")[0].exp();
            (context, sample, 3.0 * q)
        })
        .collect();
    accumulate(&mut tuned, &items);
    let gradient = flat(&tuned.pending().expect("pending"));
    assert!(gradient.iter().all(|value| value.abs() < 1e-12));
}

#[test]
fn the_pending_gradient_can_be_read_replaced_and_cleared() {
    let mut source = policy(true);
    let items = weighted(&source);
    accumulate(&mut source, &items);
    let gradient = source.pending().expect("pending");
    assert_eq!(source.pending().expect("pending"), gradient, "reading changes nothing");
    let mut sink = policy(true);
    accumulate(&mut sink, &items[..2]);
    sink.replace_pending(gradient.clone()).expect("replaced");
    assert_eq!(sink.pending().expect("pending"), gradient);
    Policy::clear(&mut sink);
    accumulate(&mut sink, &items);
    Policy::clear(&mut sink);
    assert!(flat(&sink.pending().expect("pending")).iter().all(|value| *value == 0.0));
    // A frozen copy and a snapshot stay as they were.
    let (frozen, snapshot) = (source.freeze().expect("frozen"), source.snapshot().expect("a snapshot"));
    let before = value(&source, &items);
    source.step(&sgd(0.01)).expect("a step");
    assert_ne!(value(&source, &items), before);
    assert_eq!(value(&snapshot, &items), before);
    let of_frozen: f64 = items
        .iter()
        .map(|(context, sample, weight)| weight * frozen.log_probs(context, &[sample]).expect("a score")[0])
        .sum();
    assert_eq!(of_frozen, before);
    // Loading earlier parameters forgets the scores of later ones.
    let folder = tempfile::tempdir().expect("a temporary folder");
    snapshot.save(folder.path()).expect("saved");
    source.load(folder.path()).expect("loaded");
    assert_eq!(value(&source, &items), before);
    assert_eq!(source.sample(&contexts()[0], &Streams::new(1, 9)).expect("samples").len(), 9);
}

#[test]
fn what_is_not_on_the_list_is_refused() {
    let mut tuned = policy(true);
    let other = tuned.model().completion(vec![5, 0]).expect("a completion");
    let items = weighted(&tuned);
    let batch = [&items[0].1, &other].map(|sample| BatchItem { context: &items[0].0, sample });
    let error = tuned.accumulate(&batch, &mut |_| Ok(vec![1.0; 2])).expect_err("not on the list").to_string();
    assert!(error.contains("not one of its choices") && error.contains("sample 1"), "{error}");
    let error = tuned.accumulate(&batch[..1], &mut |_| Ok(vec![])).expect_err("too few weights").to_string();
    assert!(error.contains("weights of a batch"), "{error}");
}
