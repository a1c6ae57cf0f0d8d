//! The policy over listed choices: its gradient, and tuning that is exact.

use std::collections::BTreeMap;

use disco_core::{Contexts, Distribution, Scorer, Streams, scorer};
use disco_lm::{ChoicePolicy, Choices, Completion, Decoding, LmPolicy, Lora};
use disco_tuner::{
    BatchItem, Checkpointed, Checkpoints, InMemory, Optimizer, PendingGradient, Policy, Problem, Sampling,
    Tensors, Tuner, TunerConfig, Update,
};

use crate::{
    choices::{CONTEXT, TEXTS, embedded},
    common::assert_close,
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

fn policy(end_token: bool) -> ChoicePolicy<String> {
    let policy = LmPolicy::new(embedded(Decoding::default()));
    ChoicePolicy::new(policy, by_context(end_token)).expect("a policy")
}

fn contexts() -> Vec<String> {
    vec![CONTEXT.to_string(), OTHER.to_string()]
}

/// All choices of both contexts, with a weight each.
fn weighted(policy: &ChoicePolicy<String>) -> Vec<(String, Completion, f64)> {
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
fn plain() -> Optimizer {
    Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 }
}

fn sgd(learning_rate: f64) -> Update {
    Update { optimizer: plain(), learning_rate, max_gradient_norm: None }
}

/// `sum_i w_i ln q(x_i|c_i)`.
fn value(policy: &ChoicePolicy<String>, items: &[(String, Completion, f64)]) -> f64 {
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

/// As the test of the same name in `policy.rs`, with and without end tokens.
#[test]
fn the_gradient_is_that_of_finite_differences() {
    for end_token in [true, false] {
        let mut ahead = policy(end_token);
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

/// The shares that a survey might have: decreasing in the order of the list.
fn survey(policy: &ChoicePolicy<String>) -> impl Scorer<String, Completion> + use<> {
    let lists: BTreeMap<String, Vec<Completion>> = contexts()
        .into_iter()
        .map(|context| (context.clone(), policy.space(&context).expect("a space").outcomes().to_vec()))
        .collect();
    scorer(move |context: &String, answer: &Completion| {
        let at = lists[context].iter().position(|other| other == answer).expect("a choice");
        -0.7 * at as f64 + 5.0
    })
}

/// `f(pi/p)` of `D_f(pi||p) = sum_x p f(pi/p)`, by `ln(pi/p)`.
type Generator = fn(f64) -> f64;

/// KL(p||pi), KL(pi||p), and Jensen-Shannon as the mean of both KL divergences from the mixture.
const DIVERGENCES: [(&str, Generator); 3] = [
    ("forward-kl", |l| -l),
    ("reverse-kl", |l| l.exp() * l),
    ("js", |l| 0.5 * (-((1.0 + l.exp()) / 2.0).ln() + l.exp() * (l - ((1.0 + l.exp()) / 2.0).ln()))),
];

/// The divergence of the policy from the target, summed over the contexts.
fn distance(
    generator: Generator,
    policy: &ChoicePolicy<String>,
    target: &impl Scorer<String, Completion>,
) -> f64 {
    let of = |context: String| {
        let space = policy.space(&context).expect("a space");
        let target = space.normalise(target, &context).expect("a target");
        let log_policy = space.log_scores(policy, &context).expect("scores");
        let ratios = log_policy.iter().zip(target.as_log_probs()).map(|(policy, target)| policy - target);
        target.probabilities().iter().zip(ratios).map(|(p, ratio)| p * generator(ratio)).sum::<f64>()
    };
    contexts().into_iter().map(of).sum()
}

fn config() -> TunerConfig {
    TunerConfig {
        steps: 24,
        contexts_per_step: 2,
        learning_rate: 4e-3,
        optimizer: plain(),
        sampling: Sampling::Enumerated,
        metrics_every: 0,
        divergence: "forward-kl".parse().expect("a divergence"),
        ..TunerConfig::default()
    }
}

#[test]
fn tuning_by_all_choices_reaches_the_target() {
    let contexts = Contexts::new(contexts()).expect("contexts");
    let mut tuned = policy(true);
    let (target, spaces) = (survey(&tuned), tuned.clone());
    let before = distance(DIVERGENCES[0].1, &tuned, &target);
    let problem = Problem::new(&contexts, &target).with_space(move |context| Ok(spaces.space(context)?));
    let tuner = Tuner::new(TunerConfig { metrics_every: 24, ..config() }).expect("settings");
    let mut observed = InMemory::default();
    tuner.run(&mut tuned, &problem, &mut observed).expect("a run");
    let after = distance(DIVERGENCES[0].1, &tuned, &target);
    assert!(before > 1.0 && after < 1e-6, "{before} before, {after} after");
    let report = observed.reports().last().expect("a report");
    assert_eq!((report.samples, report.metrics["kl_target_policy"].std_error), (7, Some(0.0)));
}

/// Descent with a small step follows the exact gradient of each divergence: it falls at every step.
#[test]
fn the_divergence_falls_at_every_small_step() {
    let contexts = Contexts::new(contexts()).expect("contexts");
    for ((divergence, generator), learning_rate) in DIVERGENCES.into_iter().zip([1e-3, 1e-3, 4e-3]) {
        let mut tuned = policy(true);
        let (target, spaces) = (survey(&tuned), tuned.clone());
        let problem = Problem::new(&contexts, &target).with_space(move |context| Ok(spaces.space(context)?));
        let parsed = divergence.parse().expect("a divergence");
        let config = TunerConfig { steps: 8, learning_rate, divergence: parsed, ..config() };
        let tuner = Tuner::new(config).expect("settings");
        let mut run = tuner.start(&mut tuned, &problem).expect("a run");
        let mut last = distance(generator, run.policy(), &target);
        while run.step().expect("a step").is_some() {
            let now = distance(generator, run.policy(), &target);
            assert!(now < last, "{divergence}, step {}: {last}, then {now}", run.done());
            last = now;
        }
    }
}

/// A hard constraint, an adapter, and a decoding that excludes a choice.
#[test]
fn adapters_are_tuned_away_from_a_forbidden_choice() {
    let contexts = Contexts::single(CONTEXT.to_string());
    let lora = Lora { rank: 4, target_modules: vec!["q_proj".into(), "v_proj".into()], ..Lora::default() };
    let base = embedded(Decoding { top_k: 300, ..Decoding::default() });
    let choices = Choices::new([" the", " not", " a", "\u{e9}"]).expect("choices").without_end_token();
    let mut tuned =
        ChoicePolicy::new(LmPolicy::lora(&base, &lora).expect("an adapter"), choices).expect("a policy");
    let space = tuned.space(&CONTEXT.to_string()).expect("a space");
    let answers: Vec<&Completion> = space.outcomes().iter().collect();
    let log_probs =
        |tuned: &ChoicePolicy<String>| tuned.log_probs(&CONTEXT.to_string(), &answers).expect("scores");
    assert_eq!(log_probs(&tuned)[3], f64::NEG_INFINITY, "not among the 300 most probable tokens");
    let target = scorer(|_: &String, answer: &Completion| match answer.text.as_str() {
        " not" => f64::NEG_INFINITY,
        " the" => 1.0,
        _ => 0.0,
    });
    let known = space.clone();
    let problem = Problem::new(&contexts, &target).with_space(move |_| Ok(known.clone()));
    for metrics_every in [0, 1] {
        let config = TunerConfig {
            steps: 30,
            learning_rate: 0.02,
            optimizer: Optimizer::default(),
            divergence: "js".parse().expect("a divergence"),
            metrics_every,
            ..config()
        };
        Tuner::new(config).expect("settings").run(&mut tuned, &problem, &mut ()).expect("a run");
    }
    let found: Vec<f64> = log_probs(&tuned).iter().map(|log_prob| log_prob.exp()).collect();
    // The target gives the excluded choice a probability that the policy cannot have.
    let share = 1f64.exp() / (1f64.exp() + 1.0);
    assert_close("shares", &[found[0], found[1], found[3]], &[share, 0.0, 0.0], 0.02);
}

/// Steps from samples have the same policy, with far more samples than choices.
#[test]
fn tuning_by_samples_comes_near_the_target_too() {
    let contexts = Contexts::new(contexts()).expect("contexts");
    let mut tuned = policy(true);
    let target = survey(&tuned);
    let problem = Problem::new(&contexts, &target);
    let before = distance(DIVERGENCES[0].1, &tuned, &target);
    let config = TunerConfig { steps: 10, samples_per_step: 2000, sampling: Sampling::Online, ..config() };
    Tuner::new(config).expect("settings").run(&mut tuned, &problem, &mut ()).expect("a run");
    let after = distance(DIVERGENCES[0].1, &tuned, &target);
    assert!(after < before / 20.0, "{before} before, {after} after");
}

#[test]
fn an_interrupted_run_goes_on_to_the_bit() {
    let contexts = Contexts::new(contexts()).expect("contexts");
    let target = survey(&policy(true));
    let bits = |tuned: &ChoicePolicy<String>| -> Vec<u64> {
        let items = weighted(tuned);
        items.iter().map(|item| value(tuned, std::slice::from_ref(item)).to_bits()).collect()
    };
    let run = |steps: u64, folder: &std::path::Path| {
        let mut tuned = policy(true);
        let spaces = tuned.clone();
        let problem = Problem::new(&contexts, &target).with_space(move |context| Ok(spaces.space(context)?));
        let tuner = Tuner::new(TunerConfig { steps, ..config() }).expect("settings");
        let checkpoints = Checkpoints::new(folder, 2, 1).expect("checkpoints");
        let run = match checkpoints.steps().expect("steps").is_empty() {
            true => tuner.start(&mut tuned, &problem).expect("a run").with_checkpoints(&checkpoints),
            false => tuner.resume(&mut tuned, &problem, &checkpoints),
        };
        run.expect("a run").drive(&mut ()).expect("driven");
        bits(&tuned)
    };
    let [whole, parts] = [(); 2].map(|()| tempfile::tempdir().expect("a temporary folder"));
    let expected = run(6, whole.path());
    run(2, parts.path());
    assert_eq!(run(6, parts.path()), expected);
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
